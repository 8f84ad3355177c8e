from __future__ import annotations

import os
import subprocess
import sys

from energy_opt.measure import drift
from energy_opt.measure.drift import Expected
from tests.measure.fakes import ConstantPower, Time

RANGE = Expected(100.0, 90.0, 110.0)


def events(powers: list[float | None], patience: int = 2) -> list[str]:
    clock = Time()
    meter = ConstantPower(clock, 0.0)
    rest = iter(powers)

    def sleep(seconds: float) -> None:
        meter.power_w = next(rest)
        clock.now += seconds

    watched = drift.watch(
        meter, RANGE, window_s=1.0, patience=patience, windows=len(powers), sleep=sleep, clock=clock
    )
    return [event.kind for event in watched]


def test_one_window_outside_is_no_drift() -> None:
    assert events([100, 130, 100, 60, 100]) == ["reading"] * 5


def test_as_many_in_a_row_as_the_patience_are() -> None:
    assert events([100, 130, 125, 125]) == ["reading", "reading", "reading", "drift", "reading"]
    assert events([130, 50], patience=3) == ["reading", "reading"]
    # Above and below count alike: the job is not where it was expected.
    assert events([130, 50]) == ["reading", "reading", "drift"]


def test_it_is_back_after_as_many_inside() -> None:
    kinds = events([130, 130, 100, 130, 100, 101, 100])
    assert kinds.count("drift") == 1
    assert kinds[-2:] == ["back", "reading"]
    assert kinds.index("back") == 7  # the 6th window, behind one drift


def test_a_window_that_says_nothing_neither_drifts_nor_ends_it() -> None:
    assert events([130, None, 130]) == ["reading", "unavailable", "reading", "drift"]


def test_the_end_of_the_process_is_the_end() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    clock = Time()
    watched = list(
        drift.watch(
            ConstantPower(clock, 1.0), RANGE, pid=ended.pid, sleep=lambda s: None, clock=clock
        )
    )
    assert [event.kind for event in watched] == ["ended"]
    assert str(ended.pid) in watched[0].reason


def test_a_process_that_waits_to_be_reaped_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        while drift.alive(child.pid):
            pass
    finally:
        child.wait()
    assert drift.alive(os.getpid())
