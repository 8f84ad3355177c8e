"""Steady state: run something until its time no longer drifts, then time and meter it for long enough.

Warm-up ends when the medians of the last three windows agree within 5 %, or when it has taken as long as the
measurement was asked to take, which is said. A window is at least five calls and 50 ms.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from energy_opt.measure.runners import Runner

AGREE = 0.05
"""How far the medians of the last windows of the warm-up may be apart, as a fraction."""
WINDOWS = 3
_WINDOW_CALLS = 5
_WINDOW_S = 0.05
LEVEL = 0.9
"""Share of the calls between the ends of a latency's interval."""
_MARGIN = 1.05
"""A window a little longer than the meter's shortest, so that it is never refused for a tick."""
_MOST_CALLS = 2_000_000

Clock = Callable[[], float]


class Meter(Protocol):
    """What is asked of a meter here; see `energy_opt.measure.meters`."""

    least_window_s: float

    def window(self, sync: Callable[[], None] | None = None) -> AbstractContextManager[Any]:
        """A window of metering, open while the context is."""
        ...


@dataclass(frozen=True)
class Warmup:
    """How the warm-up went: calls, seconds, and whether the windows agreed."""

    calls: int
    seconds: float
    settled: bool


@dataclass(frozen=True)
class Steady:
    """Seconds and joules of one call in steady state.

    `latencies_s[calls]` are of single calls, each waited for. `energy_j` is per call, None where the meter cannot say,
    with the reason. `window` is the meter's own, with its boundary, quality and what else it saw.
    """

    warmup: Warmup
    latencies_s: np.ndarray[Any, np.dtype[np.float64]]
    energy_j: float | None = None
    energy_calls: int = 0
    seconds: float = 0.0
    reason: str = ""
    window: Any = None
    notes: tuple[str, ...] = field(default=())

    @property
    def latency_s(self) -> float:
        """The median of single calls, in seconds."""
        return float(np.median(self.latencies_s))

    @property
    def latency_s_interval(self) -> tuple[float, float]:
        """Seconds between which the central `LEVEL` of the calls lie."""
        low, high = np.quantile(self.latencies_s, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)


class Interrupted(KeyboardInterrupt):
    """The person stopped a measurement; `steady` is what was measured until then, without energy."""

    def __init__(self, steady: Steady) -> None:
        super().__init__()
        self.steady = steady


def warm_up(runner: Runner, limit_s: float, clock: Clock = time.perf_counter) -> Warmup:
    """Run until the medians of the last windows agree, `limit_s` at most, though never less than one call."""
    start = clock()
    medians: list[float] = []
    calls = 0
    while True:
        window: list[float] = []
        opened = clock()
        while len(window) < _WINDOW_CALLS or clock() - opened < _WINDOW_S:
            window.append(_timed(runner, clock))
            if clock() - start > limit_s:
                break
        calls += len(window)
        medians.append(float(np.median(window)))
        spent = clock() - start
        last = medians[-WINDOWS:]
        if len(last) == WINDOWS and max(last) <= min(last) * (1 + AGREE):
            return Warmup(calls, spent, True)
        if spent >= limit_s:
            return Warmup(calls, spent, False)


def measure(
    runner: Runner, meter: Meter | None, seconds: float, clock: Clock = time.perf_counter
) -> Steady:
    """Warm up, then time calls for `seconds`, or for as long as the meter needs, under the meter.

    Where calls are queued, as on a GPU, single calls are timed first, each waited for; the meter then sees calls in a
    row. Elsewhere both are one loop.

    Raises:
        ModelError: the model fails.
        MeterError: the meter refuses the window.
        Interrupted: Ctrl-C after the first call; it holds the calls until then.
    """
    warmup = warm_up(runner, seconds, clock)
    latencies: list[float] = []
    try:
        return _metered(runner, meter, seconds, clock, warmup, latencies)
    except KeyboardInterrupt as stop:
        if not latencies:
            raise
        reason = "it was stopped before the meter's window was full"
        raise Interrupted(Steady(warmup, np.array(latencies), reason=reason)) from stop


def _metered(
    runner: Runner,
    meter: Meter | None,
    seconds: float,
    clock: Clock,
    warmup: Warmup,
    latencies: list[float],
) -> Steady:
    if meter is None:
        _loop(runner, seconds, clock, latencies)
        return Steady(warmup, np.array(latencies), reason="no meter")
    least = max(seconds, _MARGIN * meter.least_window_s)
    if not runner.queued:
        with meter.window(sync=runner.wait) as window:
            start = clock()
            _loop(runner, least, clock, latencies)
            spent = clock() - start
        return _steady(warmup, latencies, len(latencies), spent, window)
    _loop(runner, seconds, clock, latencies)
    with meter.window(sync=runner.wait) as window:
        start = clock()
        calls = 0
        while not calls or (clock() - start < least and calls < _MOST_CALLS):
            runner.run()
            calls += 1
        runner.wait()
        spent = clock() - start
    return _steady(warmup, latencies, calls, spent, window)


def _timed(runner: Runner, clock: Clock) -> float:
    start = clock()
    runner.run()
    runner.wait()
    return clock() - start


def _loop(runner: Runner, seconds: float, clock: Clock, into: list[float]) -> None:
    """Add the seconds of single calls, for that long; at least one."""
    start = clock()
    while not into or (clock() - start < seconds and len(into) < _MOST_CALLS):
        into.append(_timed(runner, clock))


def _steady(
    warmup: Warmup, seconds: Sequence[float], calls: int, spent: float, window: Any
) -> Steady:
    latencies = np.array(seconds)
    energy = window.energy_j
    if energy is None:
        reason = str(getattr(window, "reason", "") or "the meter does not say why")
        return Steady(warmup, latencies, None, calls, spent, reason, window)
    seen = float(window.seconds)
    # A meter that closes at its last tick saw less than the loop: then its mean power stands for all of it. One that
    # waits for the next tick saw all of the loop and the rest of the tick, which a long window makes small.
    joules = energy * spent / seen if 0 < seen < spent else energy
    notes: tuple[str, ...] = ()
    if seen > 1.05 * spent:
        notes = (
            f"the meter's window ({seen:.3g} s) is longer than the calls in it ({spent:.3g} s): the energy holds that "
            "much of an idle device; measure for longer",
        )
    return Steady(warmup, latencies, joules / calls, calls, spent, "", window, notes)


def spread(values: Sequence[float]) -> float | None:
    """The standard deviation of trials as a fraction of their mean; None of fewer than two."""
    if len(values) < 2:
        return None
    mean = float(np.mean(values))
    return float(np.std(values, ddof=1)) / mean if mean and math.isfinite(mean) else None
