from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from energy_opt.calibrate import ort
from energy_opt.calibrate.backend import Setting, Timing, Unrunnable
from energy_opt.calibrate.draw import Means, Sizes
from energy_opt.calibrate.ort_draw import MENU, draw
from energy_opt.calibrate.ort_models import RandomMemory, composite
from energy_opt.calibrate.ort_primitives import Node, chain, one
from energy_opt.calibrate.ort_profile import LEAST_S, Profiling, kernel_times, run_times
from energy_opt.calibrate.ort_session import opened, session_options
from energy_opt.calibrate.primitives import TensorSpec
from energy_opt.calibrate.schedule import Point, schedule
from energy_opt.errors import CalibrationError

SMALL = Means(flops=2e7, nbytes=1e6, batch=2)
X = TensorSpec((2, 6))


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(ort, "MEMORY_MEGABYTES", 4)
    made = ort.OrtBackend(threads=1)
    made._profiling = Profiling()
    yield made
    made.close()


def pointed(primitives: Iterable[Any]) -> list[Point]:
    return [Point(primitive) for primitive in primitives]


def leaky(x: Any) -> Any:
    return np.where(x > 0, x, 0.01 * x)  # 0.01 is ONNX's default


def kernel(name: str, op: str, microseconds: int, *, shared: bool = False) -> dict[str, Any]:
    stats = {"main_thread": {"block_size": [1] if shared else []}}
    args = {"op_name": op, "thread_scheduling_stats": stats}
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": args}


END = {"cat": "Session", "name": "SequentialExecutor::Execute", "dur": 1}


def test_a_profile_is_taken_apart_by_primitive() -> None:
    run = [
        kernel("in1.0", "Neg", 50),
        kernel("ReorderInput", "ReorderInput", 70),
        kernel("p1.o0_nchwc", "Conv", 100, shared=True),
        kernel("ReorderOutput", "ReorderOutput", 80),
        kernel("in1.f0", "Reshape", 5),
        kernel("out1.0", "Slice", 6),
        kernel("in0.0", "Neg", 50),
        kernel("BiasGelu", "BiasGelu", 20),  # fused, and so without the primitive's name
        kernel("out0.0", "Slice", 6),
        kernel("out0.1", "Slice", 6),
        {"cat": "Node", "name": "p0.0_fence_before", "dur": 9},
        END,
    ]
    times = kernel_times([*run, *run, *run], 3, 1, Profiling(3e-6, 5e-6))
    # two of three runs count; half a microsecond is cut off on average
    assert times[0] == pytest.approx([17.5e-6] * 2)
    assert times[1] == pytest.approx([95.5e-6] * 2)
    assert times[2] == []  # it was never run
    assert run_times(run) == pytest.approx([(50 + 70 + 100 + 80 + 5 + 6 + 50 + 20 + 12 + 5) * 1e-6])
    assert kernel_times([kernel("p0.0", "Add", 1), kernel("out0.0", "Slice", 1), END], 1, 0, Profiling(3e-6)) == [
        [LEAST_S]
    ]  # fmt: skip


def test_the_typical_time_is_near_the_median_and_between_whole_microseconds() -> None:
    found = ort.typical([4e-6, 5e-6, 4e-6, 5e-6, 4e-6, 5e-6, 900e-6])
    assert 4e-6 < found.latency_s < 5e-6
    assert found.repeats == 7
    assert math.isfinite(ort.typical([1e-5, 9e-5]).latency_s)


def test_what_a_composite_computes_is_what_its_primitives_do() -> None:
    product = one("MatMul", [X, TensorSpec((6, 3), role="weight")], TensorSpec((2, 3)))
    two = one("Split", [X, TensorSpec((2,), "int64", "index")], *[TensorSpec((2, 3))] * 2,
              constants={1: (3, 3)}, axis=-1)  # fmt: skip
    made = composite([product, two], RandomMemory(1, 0))
    session = opened(made, session_options(1))
    left, first, second = session.run(None, made.feeds)
    given = made.feeds["gp1.i0"]
    # operands are written by a LeakyRelu before; of a result only its first element is read
    assert (first, second) == (pytest.approx(leaky(given)[0, 0]), pytest.approx(leaky(given)[0, 3]))
    weights = RandomMemory(1, 0)
    x0, w0 = weights.array(X), weights.array(TensorSpec((6, 3), role="weight"))
    np.testing.assert_allclose(left, [leaky(x0)[0] @ w0[:, 0]], rtol=1e-5)


def test_every_node_of_the_menu_runs_and_is_timed(backend: Any) -> None:
    sizes = Sizes(2, "float32", SMALL)
    primitives = []
    for _, _, make in MENU:
        for _ in range(200):
            made = make(sizes)
            try:
                fits = made.nbytes <= SMALL.nbytes and made.row.matmul_flops <= SMALL.flops
            except CalibrationError:
                continue
            if fits:
                primitives.append(made)
                break
    assert len(primitives) == len(MENU)
    points = pointed({p.key: p for p in primitives}.values())
    plan = schedule(points)
    backend.expect(plan)
    for visit in plan.visits:
        timing = backend.time(backend.prepare(visit.point.primitive, visit.round))
        assert timing.latency_s > 0


def test_neighbours_in_the_schedule_share_a_session(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def profile(made: Any, count: int) -> list[list[float]]:
        opened.append(count)
        return [[1e-5] * 9] * count

    monkeypatch.setattr(backend, "_profile", profile)
    points = pointed(draw(95, means=SMALL))
    plan = schedule(points, passes=2)
    backend.expect(plan)
    for visit in plan.visits:
        backend.time(backend.prepare(visit.point.primitive, visit.round))
    assert sum(opened) == len(plan)  # nothing is timed twice
    assert max(opened) == ort.TOGETHER
    backend.time(backend.prepare(points[0].primitive, 77))  # what nobody expected is timed alone
    assert opened[-1] == 1


def test_what_cannot_be_run_is_named_and_the_others_are_timed(backend: Any) -> None:
    half = TensorSpec((2, 6), "bfloat16")
    bad = one("Erf", [half], half)
    good = one("Erf", [X], X)
    points = pointed([bad, good])
    backend.expect(schedule(points))
    with pytest.raises(Unrunnable, match=r"Erf: .*Could not find an implementation"):
        backend.time(backend.prepare(bad, 0))
    assert backend.time(backend.prepare(good, 0)).latency_s > 0
    with pytest.raises(Unrunnable, match="one way only"):
        backend.prepare(good, 0, Setting(math="tf32"))
    twice = chain(good, Node("Erf", ("o0",), ("y",)), y=X)
    assert backend.time(backend.prepare(twice, 0)).latency_s > 0


def test_calibrating_gives_a_profile_of_that_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")  # the processor's name and load are asked there
    from energy_opt.calibrate.run import calibrate_device

    monkeypatch.setattr(ort, "MEMORY_MEGABYTES", 4)
    monkeypatch.setattr(ort, "MEANS", SMALL)
    # how long things took is this machine's mood
    monkeypatch.setattr(ort, "typical", lambda seconds, at_s: Timing(1e-5, len(seconds), at_s=at_s))
    backend, points, anchors = ort.open_target(force=True, count=140)
    device = calibrate_device(
        "cpu", output=tmp_path / "here.json", backend=backend, points=points, anchors=anchors
    )
    assert {fitted.runtime for fitted in device.fits} == {"onnxruntime"}
    kinds = {fitted.kind for fitted in device.fits}
    assert {"matmul", "conv", "elementwise", "copy"} <= kinds
    found = next(fitted for fitted in device.fits if (fitted.kind, fitted.op) == ("conv", ""))
    assert found.time is not None
    assert found.time.errors.mape < 0.1
    assert device.host["onnxruntime"].run_s > 0
