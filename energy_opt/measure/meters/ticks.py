"""Counters that move in steps: finding the step, and what is known between two of them."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from energy_opt.measure.meters.clock import Clock

PAUSE_S = 2e-4
"""Between two looks at a counter whose tick is not known: short beside any of NVML's (20 to 100 ms)."""


@dataclass(frozen=True)
class Tick:
    """A step of a counter: its new value, when it came (in seconds), and by how much that may be off."""

    time_s: float
    value: int
    slack_s: float


@dataclass(frozen=True)
class Rhythm:
    """How a counter ticks: the median length of a step in seconds and how far steps are from it."""

    length_s: float
    jitter_s: float

    @property
    def pause_s(self) -> float:
        """Between two looks, in s: a hundredth of a step, so that waiting for one costs little CPU time."""
        return min(max(self.length_s / 100, 1e-4), 1e-3)


def next_tick(
    read: Callable[[], int],
    clock: Clock,
    timeout_s: float,
    *,
    known: int | None = None,
    known_s: float | None = None,
    pause_s: float = PAUSE_S,
) -> Tick | None:
    """The next step of a counter, or None if none came within `timeout_s`. `known` is its value at `known_s`."""
    start = clock.now()
    before = start if known_s is None else known_s
    value = read() if known is None else known
    while True:
        began = clock.now()
        new = read()
        now = clock.now()
        if new != value:
            # It may have changed any time after the look before began, and before this one was over.
            return Tick((before + now) / 2, new, (now - before) / 2)
        if now - start > timeout_s:
            return None
        before = began
        clock.sleep(pause_s)


def rhythm(
    read: Callable[[], int], clock: Clock, *, count: int = 6, timeout_s: float = 1.0
) -> Rhythm | None:
    """How a counter ticks, from `count` steps in a row; None if it stands still."""
    times: list[float] = []
    known: int | None = None
    for _ in range(count + 1):
        tick = next_tick(read, clock, timeout_s, known=known)
        if tick is None:
            return None
        known = tick.value
        times.append(tick.time_s)
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    length = statistics.median(steps)
    return Rhythm(length, max(abs(step - length) for step in steps))


@dataclass(frozen=True)
class Split:
    """Energy of a window that ended between two ticks, its bound on the error (both J), and the ticks seen."""

    energy_j: float
    error_j: float
    ticks: int


def split(
    first: Tick,
    end_s: float,
    at_end: int,
    last: Tick,
    beat: Rhythm,
    *,
    unit_j: float,
    unsteady: float,
) -> Split:
    """Energy between the tick `first` and the moment `end_s`, which lies between two ticks.

    At `end_s` the counter read `at_end`, its value at the tick before; `last` is the tick after. Up to the tick before,
    the counter itself says the energy. What is left, less than a tick, is taken to run at the mean power so far, and is
    never more than the last step gave. `unsteady` is by how much, as a fraction, the power of that rest may differ.
    """
    before_s = min(max(last.time_s - beat.length_s, first.time_s), end_s)
    inner_j = (at_end - first.value) * unit_j
    step_j = (last.value - at_end) * unit_j
    rest_s = end_s - before_s
    blur_s = first.slack_s + last.slack_s + beat.jitter_s
    ticks = round((before_s - first.time_s) / beat.length_s)
    if ticks >= 1:
        power_w = inner_j / (before_s - first.time_s)
        rest_j = min(power_w * rest_s, step_j)
        # A tick that came late lends its blur to one end and takes it from the other, at most once each.
        error_j = power_w * blur_s * (1 + rest_s / (before_s - first.time_s)) + unsteady * rest_j
    else:
        # No whole step lies inside: the share of the one step that covers the window is anybody's guess.
        power_w = step_j / max(last.time_s - before_s, 1e-9)
        rest_j = power_w * rest_s
        error_j = max(rest_j, step_j - rest_j) + power_w * blur_s
    return Split(inner_j + rest_j, error_j + unit_j, ticks)
