"""Watching a running job through a meter: is its power where it was expected, and since when is it not?

The rule: a job drifts when the mean power of N windows in a row lies outside the expected range, and is back when N in
a row lie inside. One window outside is a reading, and no drift.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from energy_opt.errors import MeterError
from energy_opt.measure.steady import Meter

Kind = Literal["reading", "drift", "back", "unavailable", "ended"]


@dataclass(frozen=True)
class Expected:
    """Mean power that is expected, in W, and the range in which it may lie."""

    power_w: float
    low_w: float
    high_w: float


@dataclass(frozen=True)
class Event:
    """What one window showed. `power_w` is its mean power, None where the meter could not say, with the reason.

    `outside` counts the windows in a row that were outside the range, this one included.
    """

    kind: Kind
    time_s: float
    power_w: float | None = None
    outside: int = 0
    reason: str = ""


def watch(
    meter: Meter,
    expected: Expected,
    *,
    window_s: float = 10.0,
    patience: int = 3,
    pid: int | None = None,
    windows: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Event]:
    """Meter window after window, until the process `pid` ends, or for that many `windows`, or for ever.

    Every window gives a `reading`, or `unavailable`; `drift` and `back` come after the reading that decides them.
    """
    began = clock()
    outside = inside = 0
    drifting = False
    seen = 0
    while windows is None or seen < windows:
        if pid is not None and not alive(pid):
            yield Event("ended", clock() - began, reason=f"process {pid} has ended")
            return
        power_w, reason = _mean_power(meter, max(window_s, meter.least_window_s), sleep)
        seen += 1
        now = clock() - began
        if power_w is None:
            yield Event("unavailable", now, outside=outside, reason=reason)
            continue
        within = expected.low_w <= power_w <= expected.high_w
        outside, inside = (0, inside + 1) if within else (outside + 1, 0)
        yield Event("reading", now, power_w, outside)
        if not drifting and outside >= patience:
            drifting = True
            yield Event("drift", now, power_w, outside)
        elif drifting and inside >= patience:
            drifting = False
            yield Event("back", now, power_w)


def alive(pid: int) -> bool:
    """Whether there is a process of that id; one of another user is there, too, and one that waits to be reaped not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name in parentheses may hold anything, so the state is looked for behind it.
            return file.read().rpartition(")")[2].split()[:1] != ["Z"]
    except OSError:
        return True


def _mean_power(
    meter: Meter, window_s: float, sleep: Callable[[float], None]
) -> tuple[float | None, str]:
    try:
        with meter.window() as window:
            sleep(window_s)
    except MeterError as error:
        return None, str(error)
    if window.mean_power_w is None:
        return None, str(window.reason)
    return float(window.mean_power_w), ""
