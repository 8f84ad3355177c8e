"""From a log to samples: medians over visits, drift that anchors saw, what is left out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from energy_opt.calibrate import drift
from energy_opt.calibrate.backend import Setting, Timing
from energy_opt.calibrate.collect import collect, failure_of, line_of
from energy_opt.calibrate.schedule import Point, Schedule, schedule
from tests.calibrate.points import ANCHOR, gelu, linear, seconds_of

MEMORY_ANCHOR = gelu(2048, 1024)


def _lines(plan: Schedule, slow: Any = lambda visit: 1.0, **more: Any) -> list[dict[str, Any]]:
    return [
        line_of(
            visit, Timing(seconds_of(visit.point) * slow(visit), **more), spent_s=float(visit.index)
        )
        for visit in plan.visits
    ]


def test_the_median_over_visits_counts() -> None:
    point = linear(64)
    plan = schedule([point], passes=3)
    factors = [1.0, 1.1, 7.0]  # one visit was interrupted
    found = collect(_lines(plan, lambda visit: factors[visit.round]), "eager")
    assert found.samples[0].latency_s == pytest.approx([1.1 * seconds_of(point)])
    assert found.points == 1


def test_samples_hold_the_work_of_their_primitives() -> None:
    found = collect(_lines(schedule([linear(8, 16, 32), linear(9, 16, 32), gelu(10, 20)])), "eager")
    by_kind = {part.kind: part for part in found.samples}
    matmul = by_kind["matmul"]
    assert sorted(matmul.work.matmul_flops) == [2 * 8 * 16 * 32, 2 * 9 * 16 * 32]
    assert sorted(matmul.work.sizes["m"]) == [8, 9]
    assert matmul.op == "linear"
    assert set(matmul.group) == {"aten::linear 16x32"}
    # 10 x 20 floats read and written
    assert by_kind["elementwise"].work.bytes.tolist() == [2 * 10 * 20 * 4]


def test_energy_that_nobody_metered_is_nan_and_never_zero() -> None:
    found = collect(_lines(schedule([linear(8)])), "eager")
    assert np.isnan(found.samples[0].energy_j).all()
    assert np.isnan(found.samples[0].power_w).all()
    metered = collect(_lines(schedule([linear(8)]), energy_j=0.5, power_w=100.0), "eager")
    assert metered.samples[0].energy_j.tolist() == [0.5]


def test_zeros_and_chosen_kernels_are_no_samples() -> None:
    point = linear(8)
    variants = [
        Point(point.primitive, Setting(data="zeros")),
        Point(point.primitive, Setting(attention="math")),
    ]
    found = collect(_lines(schedule([point, *variants])), "eager")
    assert found.points == 1


def test_tf32_is_a_type_of_its_own() -> None:
    point = linear(8)
    found = collect(
        _lines(schedule([point, Point(point.primitive, Setting(math="tf32"))])), "eager"
    )
    assert {part.dtype for part in found.samples} == {"float32", "tf32"}


def test_what_failed_is_named_and_counted() -> None:
    plan = schedule([linear(8), gelu(4)])
    lines = [
        failure_of(visit, "no such kernel", 0.0)
        if visit.point.primitive.row.op == "gelu"
        else line_of(visit, Timing(1e-5), 0.0)
        for visit in plan.visits
    ]
    found = collect(lines, "eager")
    assert list(found.failed.values()) == ["no such kernel"]
    assert found.unrunnable == {"elementwise float32": 1}
    assert found.points == 1


def _drifting(slow: Any) -> list[dict[str, Any]]:
    points = [linear(m) for m in range(1, 201)]
    return _lines(schedule(points, anchors=[ANCHOR, MEMORY_ANCHOR], every=10), slow)


def test_slow_drift_is_taken_out() -> None:
    # The machine gets 10 % slower in the course of the run: 0.1 of its 240 visits.
    lines = _drifting(lambda visit: math.exp(0.1 * visit.index / 240))
    found = collect(lines, "eager")
    truth = np.array(sorted(seconds_of(linear(m)) for m in range(1, 201)))
    off = np.sort(found.samples[0].latency_s) / truth
    assert found.marked == 0
    # What is left is a common factor (the usual state is that of the middle) and the coarseness of the anchors.
    assert np.ptp(np.log(off)) < 0.02
    assert np.ptp([math.log(line["latency_s"] / seconds_of(linear(int(line["sizes"]["m"])))) for line in lines
                   if line["role"] == "point"]) > 0.09  # fmt: skip


def test_noise_of_anchors_is_not_taken_for_drift() -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.03, 1000)
    seen = drift.anchors(_drifting(lambda visit: math.exp(noise[visit.index])))
    # Twice the noise of a median of three is exceeded by chance at few of the 21 anchors, and then by little.
    assert max(np.mean(slow != 0.0) for slow in seen.slowness.values()) < 0.25
    assert seen.largest < 0.08


def test_a_stretch_on_another_machine_is_left_out() -> None:
    lines = _drifting(lambda visit: 1.5 if 80 <= visit.index < 160 else 1.0)
    found = collect(lines, "eager")
    assert 40 <= found.marked <= 100
    assert found.drift == pytest.approx(0.5, abs=0.01)
    by_m = dict(zip(found.samples[0].work.sizes["m"], found.samples[0].latency_s, strict=True))
    # What is kept near the edges of the stretch may be off by what an anchor is wide; nothing by the full half.
    assert max(by_m[m] / seconds_of(linear(int(m))) for m in by_m) < 1.2


def test_clocks_move_arithmetic_and_leave_memory_alone() -> None:
    points = [linear(m, 512, 512) for m in range(256, 306)] + [
        gelu(m, 1024) for m in range(1000, 1050)
    ]
    plan = schedule(points, anchors=[ANCHOR, MEMORY_ANCHOR], every=10)
    factor = lambda visit: (  # noqa: E731
        math.exp(0.1 * visit.index / 120) if visit.point.primitive.row.kind == "matmul" else 1.0
    )
    found = collect(_lines(plan, factor), "eager")
    for part in found.samples:
        truth = np.array([seconds_of(p) for p in points if p.primitive.row.kind == part.kind])
        off = np.log(np.sort(part.latency_s) / np.sort(truth))
        assert np.ptp(off) < 0.03


def test_throttling_and_clocks_are_told() -> None:
    lines = _lines(schedule([linear(8), linear(9)]), clocks_hz=1.5e9, throttled=("power cap",))
    found = collect(lines, "eager")
    assert found.throttled == {"power cap": 2}
    assert found.clocks_hz["median"] == 1.5e9


def test_idle_of_the_first_session_and_host_of_the_last_count() -> None:
    lines = [
        {"event": "idle", "idle": {"bare_w": 70.0, "context_w": None, "error": None}},
        {"event": "idle", "idle": {"bare_w": 90.0, "context_w": 110.0, "error": None}},
        {
            "event": "host",
            "cost": {"eager": {"launch_s": 5e-6, "view_s": 1e-6, "run_s": 0.0, "overlaps": True}},
        },
    ]
    found = collect(lines, "eager")
    assert (found.idle.bare_w, found.idle.context_w) == (70.0, 110.0)
    assert found.host["eager"].launch_s == 5e-6
