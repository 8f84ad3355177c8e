"""A processor without counters: power between idle and most by how busy it was. A model, and labelled as one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from energy_opt.errors import MeterError
from energy_opt.measure.meters.clock import Clock, SystemClock
from energy_opt.measure.meters.meter import Boundary, Meter, Quality, Window
from energy_opt.measure.runners.target import processors

ERROR = 0.35
"""How far the straight line may be off: families of one generation differ by this much at equal load (SPECpower)."""
_STAT = Path("/proc/stat")


class ModelledMeter(Meter):
    """P = idle_w + (most_w - idle_w) * share of the processors' time that was busy.

    `idle_w` and `most_w` (W) are facts of the device, for all its `cores`. `of` is whose time counts: this process and
    its threads, or the whole host (Linux). Idle power is inside either way.

    Source: the form of SPECpower and Cloud Carbon Footprint ("Average Watts", between minimum and maximum).
    """

    name = "modelled"
    provenance = "modelled"

    def __init__(
        self,
        idle_w: float,
        most_w: float,
        *,
        cores: int | None = None,
        of: Literal["process", "host"] = "process",
        boundary: Boundary = "package",
        clock: Clock | None = None,
        busy_s: Callable[[], float] | None = None,
        least_window_s: float = 0.1,
    ) -> None:
        if not 0 <= idle_w <= most_w or most_w <= 0:
            raise MeterError(
                f"meter modelled: idle {idle_w} W and most {most_w} W; give 0 <= idle <= most, in W, for all cores"
            )
        self.idle_w, self.most_w = idle_w, most_w
        self.cores = cores or processors()
        self.boundary = boundary
        self.clock = clock or SystemClock()
        self.least_window_s = least_window_s
        self._of = of
        self._busy_s = busy_s or (time.process_time if of == "process" else _host_busy_s)

    def begin(self, window: Window) -> None:
        """Read the processor time."""
        window.state = (self.clock.now(), self._busy_s())

    def finish(self, window: Window) -> None:
        """Read the processor time again, and price it."""
        start_s, start_busy_s = window.state
        busy_s = self._busy_s() - start_busy_s
        window.seconds = self.clock.now() - start_s
        self.check_length(window)
        share = min(max(busy_s / (window.seconds * self.cores), 0.0), 1.0)
        window.utilisation = share
        window.energy_j = (self.idle_w + (self.most_w - self.idle_w) * share) * window.seconds
        window.quality = Quality(
            ERROR, "modelled", 2,
            (f"not measured: {self.idle_w:.4g} to {self.most_w:.4g} W by the time of the {self._of}",),
        )  # fmt: skip


def _host_busy_s() -> float:
    try:
        first = _STAT.read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        raise MeterError(f"meter modelled: {_STAT} cannot be read here; use of='process'") from None
    user, nice, system, _idle, _iowait, irq, softirq = (int(part) for part in first[:7])
    return float(user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
