"""Primitives and a machine for tests of the calibration engine."""

from __future__ import annotations

from collections.abc import Callable

from energy_opt.calibrate.backend import Idle, Timing
from energy_opt.calibrate.primitives import Primitive, TensorSpec
from energy_opt.calibrate.replay import ReplayBackend
from energy_opt.calibrate.schedule import Point
from energy_opt.estimators.runtime import HostCost


def linear(m: int, n: int = 64, k: int = 64, *, energy: bool = False) -> Point:
    weight = TensorSpec((n, k), role="weight")
    inputs = (TensorSpec((m, k)), weight)
    return Point(Primitive("aten::linear", "", (), inputs, (TensorSpec((m, n)),)), energy=energy)


def gelu(rows: int, width: int = 64) -> Point:
    x = TensorSpec((rows, width))
    return Point(Primitive("aten::gelu", "", (), (x,), (x,)))


ANCHOR = linear(128, 128, 128)


def seconds_of(point: Point) -> float:
    """5 microseconds, and what the work takes at 100 GFLOP/s and 10 GB/s."""
    work = point.primitive.work
    return 5e-6 + float(work.matmul_flops) / 1e11 + float(work.bytes) / 1e10


def machine(
    points: list[Point],
    *,
    passes: int = 1,
    answer: Callable[[str, int], Timing] | None = None,
    visit_s: float = 0.01,
) -> ReplayBackend:
    known = {point.key: seconds_of(point) for point in [*points, ANCHOR]}
    return ReplayBackend(
        answer or (lambda key, number: Timing(known[key])),
        {"device": "a machine", "kind": "cpu", "libraries": {"torch": "1"}},
        HostCost(launch_s=2e-6, view_s=1e-6, overlaps=False),
        Idle(),
        passes=passes,
        visit_s=visit_s,
    )
