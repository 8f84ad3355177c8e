from __future__ import annotations

import numpy as np
import pytest

from energy_opt.measure import steady
from tests.measure.fakes import ConstantPower, Scripted, Time


def test_warm_up_ends_when_three_windows_agree() -> None:
    clock = Time()
    # Windows are 5 calls of 20 ms or more: 0.1, 0.1, 0.1, ... settle after the two slow windows have passed.
    runner = Scripted(clock, *[0.4] * 5, *[0.2] * 5, 0.1)
    found = steady.warm_up(runner, limit_s=60, clock=clock)
    assert found.settled
    assert found.calls == 25  # 2 slow windows and 3 that agree
    assert found.seconds == pytest.approx(0.4 * 5 + 0.2 * 5 + 0.1 * 15)


def test_warm_up_that_never_settles_says_so_and_keeps_to_its_time() -> None:
    clock = Time()
    runner = Scripted(clock, *[0.1 * 1.1**i for i in range(200)])
    found = steady.warm_up(runner, limit_s=5, clock=clock)
    assert not found.settled
    assert found.seconds < 10


def test_one_call_longer_than_all_the_time_is_warmed_up_once() -> None:
    clock = Time()
    runner = Scripted(clock, 100.0)
    assert steady.warm_up(runner, limit_s=1, clock=clock).calls == 1


def test_calls_in_one_loop_are_timed_and_metered() -> None:
    clock = Time()
    meter = ConstantPower(clock, 50.0)
    found = steady.measure(Scripted(clock, 0.1), meter, 2.0, clock)
    assert found.latency_s == pytest.approx(0.1)
    assert found.energy_j == pytest.approx(5.0)  # 50 W for 0.1 s
    assert found.energy_calls == len(found.latencies_s)


def test_the_meters_least_window_is_met_with_a_margin() -> None:
    clock = Time()
    meter = ConstantPower(clock, 50.0, least_s=7.0)
    found = steady.measure(Scripted(clock, 0.1), meter, 1.0, clock)
    assert meter.windows[0].seconds >= 7.0 * 1.05 - 1e-9
    assert found.energy_j == pytest.approx(5.0)


def test_queued_calls_are_waited_for_one_by_one_and_metered_in_a_row() -> None:
    clock = Time()
    meter = ConstantPower(clock, 80.0)
    found = steady.measure(Scripted(clock, 0.1, queued=True), meter, 1.0, clock)
    assert found.latency_s == pytest.approx(0.1)
    assert found.energy_j == pytest.approx(8.0)
    assert found.energy_calls > 1


def test_a_window_much_longer_than_its_calls_is_said() -> None:
    clock = Time()
    short = steady.measure(
        Scripted(clock, 0.1), ConstantPower(clock, 50.0, after_s=0.5), 1.0, clock
    )
    assert "idle device" in short.notes[0]
    long = steady.measure(
        Scripted(clock, 0.1), ConstantPower(clock, 50.0, after_s=0.1), 60.0, clock
    )
    assert not long.notes


def test_unavailable_energy_is_none_with_the_reason() -> None:
    clock = Time()
    found = steady.measure(Scripted(clock, 0.1), ConstantPower(clock, None), 1.0, clock)
    assert found.energy_j is None
    assert found.reason == "the sensor is asleep"
    assert steady.measure(Scripted(clock, 0.1), None, 1.0, clock).energy_j is None


def test_the_interval_holds_the_central_nine_tenths() -> None:
    found = steady.Steady(steady.Warmup(1, 1.0, True), np.arange(1, 102) / 100)
    assert found.latency_s == pytest.approx(0.51)
    assert found.latency_s_interval == pytest.approx((0.06, 0.96))


def test_what_was_timed_survives_an_interrupt() -> None:
    clock = Time()

    class Stopped(Scripted):
        at = 30

        def run(self) -> None:
            super().run()
            if self.calls == self.at:
                raise KeyboardInterrupt

    with pytest.raises(steady.Interrupted) as caught:
        steady.measure(Stopped(clock, 0.1), ConstantPower(clock, 50.0), 60.0, clock)
    # 15 calls warm up (three windows that agree at once), the 30th fails.
    assert len(caught.value.steady.latencies_s) == 14
    assert caught.value.steady.energy_j is None
    Stopped.at = 15
    with pytest.raises(KeyboardInterrupt) as early:
        steady.measure(Stopped(clock, 0.1), None, 60.0, clock)
    assert not isinstance(early.value, steady.Interrupted)


@pytest.mark.parametrize(
    ("values", "expected"), [([1.0], None), ([1.0, 3.0], 2**0.5 / 2), ([0.0, 0.0], None)]
)
def test_spread_is_the_relative_standard_deviation(
    values: list[float], expected: float | None
) -> None:
    # of 1 and 3: mean 2, sample deviation sqrt(2)
    assert steady.spread(values) == (None if expected is None else pytest.approx(expected))
