"""A log as a meter: the window's times on the machine's clock are found in what a logger wrote meanwhile."""

from __future__ import annotations

from pathlib import Path

from energy_opt.errors import MeterError
from energy_opt.measure.meters.clock import Clock, SystemClock
from energy_opt.measure.meters.logs import read_log
from energy_opt.measure.meters.meter import Boundary, Meter, Window
from energy_opt.measure.meters.trace import Trace


class LogMeter(Meter):
    """Windows over a power log that another program keeps writing, such as a wall meter's.

    The log must be dated, or `start_s` given (seconds since 1970 of its first row). `offset_s` is by how much the
    logger's clock is ahead of this machine's. After a window the meter waits up to `patience_s` for the log to reach
    its end.
    """

    name = "log"

    def __init__(
        self,
        path: str | Path,
        *,
        boundary: Boundary | None = None,
        gpu: str | int | None = None,
        start_s: float | None = None,
        offset_s: float = 0.0,
        patience_s: float = 5.0,
        clock: Clock | None = None,
    ) -> None:
        self.path = Path(path)

        def read() -> Trace:
            return read_log(self.path, boundary=boundary, gpu=gpu, start_s=start_s)

        self._read = read
        self.offset_s = offset_s
        self.patience_s = patience_s
        self.clock = clock or SystemClock()
        trace = self._read()
        if not trace.dated:
            raise MeterError(
                f"{path}: its times count from its own start; give start_s, the date of its first row in seconds "
                "since 1970"
            )
        self.boundary = trace.boundary
        self.least_window_s = 4 * trace.spacing_s

    def begin(self, window: Window) -> None:
        """Note the date."""
        window.state = self.clock.epoch()

    def finish(self, window: Window) -> None:
        """Wait for the log to cover the window, and integrate it.

        Raises:
            MeterError: the window is too short, or the log has no readings for it.
        """
        start, end = window.state + self.offset_s, self.clock.epoch() + self.offset_s
        window.seconds = end - start
        self.check_length(window)
        deadline = self.clock.now() + self.patience_s
        trace = self._read()
        while trace.end_s < end and self.clock.now() < deadline:
            self.clock.sleep(min(max(trace.spacing_s, 0.05), 1.0))
            trace = self._read()
        window.energy_j, quality = trace.measure(start, end)
        window.quality = quality.noting(*trace.notes, "by a log; the clocks are taken to agree")
