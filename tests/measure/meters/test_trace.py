"""Power traces: energy of any part of them, gaps, and what is not there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_opt.errors import MeterError
from energy_opt.measure.meters import Trace
from energy_opt.measure.meters.clock import VirtualClock
from energy_opt.measure.meters.replay import FakeGpu, ReplayMeter


def ramp(count: int = 101) -> Trace:
    """0 to 100 W in 10 s, a reading every 0.1 s."""
    time_s = np.linspace(0, 10, count)
    return Trace(time_s, 10 * time_s, "system")


# The integral of 10 t is 5 t².
@pytest.mark.parametrize(
    ("start", "end", "joules"),
    [
        (None, None, 500),
        (0, 10, 500),
        (2, 4, 60),
        (0.05, 0.15, 0.1),
        (3.33, 3.34, 5 * (3.34**2 - 3.33**2)),
    ],
)
def test_energy_of_a_part(start: float | None, end: float | None, joules: float) -> None:
    assert ramp().energy_j(start, end) == pytest.approx(joules, rel=1e-3)


@given(
    st.lists(st.floats(0.02, 1), min_size=6, max_size=30), st.floats(0.1, 0.9), st.integers(0, 9)
)
def test_parts_add_up(steps: list[float], cut: float, seed: int) -> None:
    time_s = np.cumsum(steps)
    trace = Trace(time_s, np.random.default_rng(seed).uniform(10, 300, len(steps)), "board")
    start, end = trace.start_s, trace.end_s
    middle = start + cut * (end - start)
    try:
        parts = trace.energy_j(start, middle) + trace.energy_j(middle, end)
    except MeterError:
        return  # a part lies mostly in a gap
    assert parts == pytest.approx(trace.energy_j())


@pytest.mark.parametrize(("start", "end"), [(-0.1, 5), (5, 10.1), (20, 30)])
def test_nothing_is_extrapolated(start: float, end: float) -> None:
    with pytest.raises(MeterError, match=r"the log covers 0\.0+ to 10\.0+ s"):
        ramp().energy_j(start, end)


def gapped(missing_s: float) -> Trace:
    time_s = np.arange(0, 10, 0.1)
    keep = (time_s < 4) | (time_s > 4 + missing_s)
    return Trace(time_s[keep], np.where(time_s[keep] < 5, 100.0, 200.0), "board")


def test_a_gap_is_bridged_and_said() -> None:
    true_j = 100 * 5 + 200 * 4.5  # to 9.5 s
    joules, quality = gapped(2.0).measure(0, 9.5)
    assert any("2.2 s of 9.5 s lie in gaps" in note for note in quality.notes)
    assert abs(joules / true_j - 1) <= quality.relative_error
    assert quality.relative_error > gapped(0.0).measure(0, 9.5)[1].relative_error
    assert not gapped(0.0).measure(0, 9.5)[1].notes
    assert not gapped(2.0).measure(7, 9)[1].notes


def test_what_happened_in_a_gap_is_in_the_stated_error() -> None:
    # 100 W until 2 s and 300 W until 3 s, with no reading in that second: a straight line makes it 200 W.
    time_s = np.concatenate((np.arange(0, 2.01, 0.1), np.arange(3, 8.01, 0.1)))
    trace = Trace(time_s, np.where(time_s < 2.5, 100.0, 300.0), "board")
    joules, quality = trace.measure(0, 8)
    assert abs(joules / (200 + 6 * 300) - 1) <= quality.relative_error < 0.15


def test_a_gap_that_is_most_of_the_window_is_refused() -> None:
    with pytest.raises(MeterError, match="no readings"):
        gapped(2.0).energy_j(3.5, 6.5)


def test_noise_is_within_the_stated_error() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(50):
        time_s = np.arange(0, 5, 0.1)
        joules, quality = Trace(time_s, rng.normal(200, 30, len(time_s)), "board").measure(0, 4.9)
        covered += abs(joules / (200 * 4.9) - 1) <= quality.relative_error
    assert covered >= 45


def test_a_moving_average_is_unrolled() -> None:
    # 100 W until 5 s, 300 W after; each reading is the mean over the second before it.
    time_s = np.arange(0, 12, 0.05)
    readings = 100 + 200 * np.clip(time_s - 5, 0, 1)
    trace = Trace(time_s, readings, "board", averaging_s=1.0)
    assert trace.energy_j(5, 8) == pytest.approx(900, rel=1e-6)
    assert trace.energy_j(3, 8) == pytest.approx(2 * 100 + 3 * 300, rel=1e-6)
    plain = Trace(time_s, readings, "board")
    assert plain.energy_j(5, 8) == pytest.approx(800, rel=0.01)  # half a second at 200 W less


BAD = [
    ([0, 1], [5], "two lists of one length"),
    ([0], [5], "1 readings"),
    ([0, 1, 1], [5, 5, 5], "reading 2 is not later"),
    ([0, 2, 1], [5, 5, 5], "reading 2 is not later"),
    ([0, 1], [5, -1], "reading 1 is -1 W"),
    ([0, 1], [5, float("nan")], "not a finite number"),
]


@pytest.mark.parametrize(("times", "powers", "says"), BAD)
def test_traces_that_make_no_sense(times: list[float], powers: list[float], says: str) -> None:
    with pytest.raises(MeterError, match=says):
        Trace(np.array(times), np.array(powers), "board")


def test_the_boundary_is_one_of_three() -> None:
    with pytest.raises(MeterError, match="board, package, system"):
        Trace(np.array([0, 1]), np.array([1, 1]), "rack")  # type: ignore[arg-type]
    with pytest.raises(MeterError, match="end after it starts"):
        ramp().energy_j(4, 4)


def test_a_trace_played_as_a_meter() -> None:
    trace = ramp()
    meter = ReplayMeter(trace)
    meter.clock.sleep(2)
    with meter.window() as window:
        meter.clock.sleep(2)
    assert window.energy_j == pytest.approx(60)
    assert window.boundary == "system"
    with pytest.raises(MeterError, match="covers"), meter.window():
        meter.clock.sleep(20)


def test_a_trace_played_as_a_gpu() -> None:
    time_s = np.arange(0, 5, 0.5)
    trace = Trace(time_s, np.full(10, 300.0), "board")
    clock = VirtualClock()
    gpu = FakeGpu.of_trace(trace, clock)
    assert gpu.energy_j(5.0) - gpu.energy_j(0.0) == pytest.approx(1500)
    assert gpu.busy_until_s == pytest.approx(5.0)
