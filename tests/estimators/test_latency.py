from __future__ import annotations

import numpy as np
import pytest

from energy_opt.estimators.coefficients import Tiles
from energy_opt.estimators.device import Device
from energy_opt.estimators.latency import (
    RowTime,
    bound_seconds,
    busy_seconds,
    compute_seconds,
    row_time,
    tiled_flops,
)
from energy_opt.estimators.work import WorkTable
from tests.estimators.rows import BATCH, gemm, row


def _at(**changes: object) -> RowTime:
    """A device of 10 units, 1 TFLOP/s and 100 GB/s that attains its peaks."""
    values: dict[str, object] = {
        "peak": 1e12,
        "bandwidth": 1e11,
        "units": 10,
        "tiled": True,
        "norm": 2,
        "tiles": Tiles(weight=1.0, edge=0.0, depth=0.0),
        "start_s": 0.0,
        "per_matmul_flop_s": 1e-12,
        "per_other_flop_s": 1e-12,
        "per_byte_s": 1e-11,
    }
    return RowTime(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("b", "m", "n", "k", "flops"),
    [
        # 10 tiles of 256x128 on 10 units: one full wave, nothing is padded
        (10, 256, 128, 64, 2 * 10 * 256 * 128 * 64),
        # one 32x32 tile occupies a wave of 10 units
        (1, 32, 32, 8, 10 * 2 * 32 * 32 * 8),
        # a single row is padded to a tile of 32 rows; 10 tiles of 32x32 make a wave
        (1, 1, 320, 8, 10 * 2 * 32 * 32 * 8),
        # every product needs a tile of its own whatever its size, so 11 tiles: two waves of the smallest
        (11, 32, 32, 8, 2 * 10 * 2 * 32 * 32 * 8),
    ],
)
def test_tiles_and_waves(b: int, m: int, n: int, k: int, flops: float) -> None:
    (work,) = WorkTable([gemm(b, m, n, k)])({})
    assert tiled_flops(work, _at()) == flops


def test_a_wave_weight_of_zero_counts_partial_waves() -> None:
    (work,) = WorkTable([gemm(1, 32, 32, 8)])({})
    assert tiled_flops(work, _at(tiles=Tiles(weight=0.0, edge=0.0, depth=0.0))) == pytest.approx(
        2 * 32 * 32 * 8
    )


def test_sizes_smaller_than_the_work_hide_nothing() -> None:
    odd = row("matmul", flops=1e9, sizes={"m": 32, "n": 32, "k": 1})
    (work,) = WorkTable([odd])({})
    assert tiled_flops(work, _at()) == 1e9


@pytest.mark.parametrize(("norm", "expected"), [(2, 5.0), (4, 337**0.25), (8, 72097**0.125)])
def test_compute_and_memory_join_in_a_p_norm(norm: int, expected: float) -> None:
    # 3 s of arithmetic and 4 s of traffic: 3^4 + 4^4 = 337, 3^8 + 4^8 = 72097
    (work,) = WorkTable([row("elementwise", other=3e12, read=4e11)])({})
    assert busy_seconds(work, _at(norm=norm)) == pytest.approx(expected)


def test_matrix_and_other_arithmetic_add() -> None:
    (work,) = WorkTable([row("attention", flops=2e12, other=1e12)])({})
    assert compute_seconds(work, _at(tiled=False)) == pytest.approx(3.0)


def test_the_bound_is_the_larger_of_peak_and_bandwidth() -> None:
    compute, memory = WorkTable([row(flops=2e12, read=1e11), row(flops=1e12, read=3e11)])({})
    assert bound_seconds(compute, _at()) == 2.0
    assert bound_seconds(memory, _at()) == 3.0


def test_symbols_are_evaluated_for_floats_and_arrays_alike() -> None:
    table = WorkTable([gemm(1, 32 * BATCH, 64, 128, times=BATCH)])
    (many,) = table({"batch": np.arange(1, 5)})
    for index in range(4):
        (one,) = table({"batch": index + 1})
        assert np.broadcast_to(many.matmul_flops, 4)[index] == one.matmul_flops
        assert np.broadcast_to(many.count, 4)[index] == one.count == index + 1


def test_matrix_engines_have_their_own_efficiency() -> None:
    device = Device.load("a100-sxm4-40gb")
    kind = device.coefficients().time.kind("matmul")
    single = row_time(gemm(1, 8, 8, 8), device, device.coefficients().time)
    half = row_time(gemm(1, 8, 8, 8, "float16"), device, device.coefficients().time)
    assert single.per_matmul_flop_s == pytest.approx(1 / (19.49e12 * kind.compute))
    assert half.per_matmul_flop_s == pytest.approx(1 / (312e12 * kind.tensor))


def test_a_view_has_no_kernel_start() -> None:
    device = Device.load("t4")
    assert row_time(row("view", kernels=0), device, device.coefficients().time).start_s == 0
