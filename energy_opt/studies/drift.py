"""watch_job: is a running job's power what the prediction for its model says?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from energy_opt.errors import MeterError, UsageError
from energy_opt.estimators.device import Device
from energy_opt.estimators.estimate import Estimate
from energy_opt.measure import drift
from energy_opt.measure.drift import Event, Expected
from energy_opt.measure.meters import NullMeter
from energy_opt.measure.runners import target as targets
from energy_opt.studies import metering
from energy_opt.studies.analyze import analyze
from energy_opt.studies.detect import profile_of

__all__ = ["JobWatch", "watch_job"]


@dataclass
class JobWatch:
    """A watch that is about to begin: what is expected, by which meter, and the events when it is iterated.

    Iterating meters the device until the job ends; leaving the loop closes the meter.
    """

    expected: Expected
    estimate: Estimate
    meter: dict[str, Any]
    rule: str
    notes: list[str]
    events: Iterator[Event]

    def __iter__(self) -> Iterator[Event]:
        return self.events


def watch_job(
    model: Any,
    inputs: Any = None,
    *,
    target: str = "cpu",
    device: str | Device | None = None,
    meter: Any = "auto",
    pid: int | None = None,
    rate_per_s: float | None = None,
    window_s: float = 10.0,
    patience: int = 3,
    windows: int | None = None,
    runtime: str | None = None,
    dynamic: Any = None,
    settings: Mapping[str, Any] | None = None,
    dims: Mapping[str, Any] | None = None,
    **sizes: Any,
) -> JobWatch:
    """Meter a job that runs elsewhere on the target, and say when its power leaves what is predicted for `model`.

    The job is taken to run one inference after the other; with `rate_per_s` it runs that many a second and idles in
    between. The range is that of the predicted joules over the predicted time. A meter sees the whole device, so other
    jobs on it are part of the power. `pid` is the process whose end ends the watch.

    Raises:
        UsageError: no such process or target, or a rate that the prediction says is out of reach.
        MeterError: no meter is available.
    """
    if not window_s > 0 or patience < 1 or (windows is not None and windows < 1):
        raise UsageError(
            "watching needs a window of more than 0 s, a patience and a number of windows of at least 1"
        )
    if pid is not None and not drift.alive(pid):
        raise UsageError(
            f"there is no process {pid}; leave --pid out to watch the device whatever runs on it"
        )
    where = targets.find(target)
    notes: list[str] = []
    profile: str | Device
    profile, said = profile_of(where) if device is None else (device, "")
    estimate = analyze(
        model, inputs, device=profile, runtime=runtime,
        dynamic=dynamic, settings=settings, dims={**(dims or {}), **sizes},
    )  # fmt: skip
    if said:
        notes.append(said)
    expected = expect(estimate, rate_per_s)
    stack = contextlib.ExitStack()
    chosen = stack.enter_context(
        metering.open_meters(meter, where, estimate.device, notes, host=True)
    )
    if chosen is None or isinstance(chosen, NullMeter):
        stack.close()
        raise MeterError(
            f"watching needs a meter; {getattr(chosen, 'reason', 'none was asked for')}"
        )

    def events() -> Iterator[Event]:
        with stack:
            yield from drift.watch(
                chosen, expected, window_s=window_s, patience=patience, pid=pid, windows=windows
            )

    rule = (
        f"drift: the mean power of {patience} windows in a row of {window_s:g} s is outside "
        f"{expected.low_w:.3g} to {expected.high_w:.3g} W"
    )
    return JobWatch(expected, estimate, metering.facts(chosen), rule, notes, events())


def expect(estimate: Estimate, rate_per_s: float | None) -> Expected:
    """The mean power of a job in W: back to back, or at a rate with idle power in between.

    Raises:
        UsageError: more inferences a second than the prediction has time for.
    """
    latency_s, energy_j = float(estimate.latency_s), float(estimate.energy_j)
    low_j, high_j = (float(end) for end in estimate.energy_j_interval)
    if rate_per_s is None:
        return Expected(energy_j / latency_s, low_j / latency_s, high_j / latency_s)
    if not 0 < rate_per_s <= 1 / estimate.latency_s_interval[0]:
        raise UsageError(
            f"{rate_per_s:g} inferences a second are out of reach: the prediction is {latency_s:.3g} s for each"
        )
    device = estimate.device
    idle_w = device.idle_context_w or device.idle_w
    if idle_w is None:
        raise UsageError(
            f"{device.name}: its profile has no idle power, so a rate says nothing of the mean power"
        )
    idle = idle_w * max(0.0, 1 - rate_per_s * latency_s)
    return Expected(*(idle + rate_per_s * joules for joules in (energy_j, low_j, high_j)))
