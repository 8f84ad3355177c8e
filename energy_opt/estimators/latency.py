"""Seconds of rows of work: a roofline with kernel starts, and with tiles and waves where problem sizes are known.

Everything works on floats, on `points` arrays and on `[draws, 1]` coefficients alike, by broadcasting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_opt.estimators.coefficients import ENGINE, Tiles, TimeModel
from energy_opt.estimators.device import Device
from energy_opt.estimators.work import RowWork, least_matmul_flops
from energy_opt.ir.dims import Value
from energy_opt.ir.row import Row

TILES = ((32, 32), (64, 32), (64, 64), (128, 32), (128, 64), (128, 128), (256, 128))
"""Output tiles (m, n) that a matrix kernel may choose from.

Source: NVIDIA, "Matrix Multiplication Background User's Guide", section 3; small ones as CUTLASS has them.
"""

NARROW = frozenset({"float8", "int8", "float4", "int4"})
_TILED = frozenset({"matmul", "conv"})


@dataclass(frozen=True, slots=True)
class RowTime:
    """Coefficients of one row on one device; arrays where they were drawn."""

    peak: float
    bandwidth: float
    units: int
    tiled: bool
    norm: int
    tiles: Tiles
    start_s: Value
    per_matmul_flop_s: Value
    per_other_flop_s: Value
    per_byte_s: Value


def row_time(row: Row, device: Device, model: TimeModel) -> RowTime:
    """The central coefficients of the row on the device."""
    kind = model.kind(row.kind)
    peak = device.peak(row.dtype)
    engine = peak > ENGINE * device.vector_flops_per_s
    share = getattr(kind, matrix_field(device, row.dtype))
    return RowTime(
        peak=peak,
        bandwidth=device.mem_bw_bytes_per_s,
        units=device.units,
        tiled=device.kind == "gpu"
        and row.kind in _TILED
        and {name for name, _ in row.sizes} >= {"m", "n", "k"},
        norm=model.norm,
        tiles=model.engine_tiles if engine else model.vector_tiles,
        start_s=kind.start_s * row.kernels,
        per_matmul_flop_s=1.0 / (peak * share),
        per_other_flop_s=1.0 / (device.vector_flops_per_s * kind.vector),
        per_byte_s=1.0 / (device.mem_bw_bytes_per_s * kind.memory),
    )


def matrix_field(device: Device, dtype: str) -> str:
    """Which of a kind's fractions applies to matrix arithmetic in the type: `compute`, `tensor` or `narrow`."""
    if device.peak(dtype) <= ENGINE * device.vector_flops_per_s:
        return "compute"
    return "narrow" if device.arithmetic(dtype) in NARROW else "tensor"


def compute_seconds(work: RowWork, at: RowTime) -> Value:
    """Seconds of the arithmetic alone: matrix arithmetic in whole tiles and waves, and the rest."""
    seconds = 0.0 if _zero(work.other_flops) else work.other_flops * at.per_other_flop_s
    if _zero(work.matmul_flops):
        return seconds
    flops = tiled_flops(work, at) if at.tiled else work.matmul_flops
    return seconds + flops * at.per_matmul_flop_s


def tiled_flops(work: RowWork, at: RowTime) -> Value:
    """FLOPs a full device would do in the time of the best tile: never fewer than the row's matmul FLOPs.

    Source: wave quantisation as in NVIDIA, "Matrix Multiplication Background User's Guide", section 5.
    """
    sizes = work.sizes
    b, m, n, k = sizes.get("b", 1.0), sizes["m"], sizes["n"], sizes["k"]
    best: Value | None = None
    for tile_m, tile_n in TILES:
        # 2 FLOPs per multiply-add; a wave keeps every unit busy with one tile each.
        edge = 1.0 + at.tiles.edge * (1.0 / tile_m + 1.0 / tile_n)
        per_wave = (k + at.tiles.depth) * (2.0 * tile_m * tile_n * edge * at.units)
        waves = np.ceil(m * (1.0 / tile_m)) * (np.ceil(n * (1.0 / tile_n)) * b) * (1.0 / at.units)
        flops = (waves + at.tiles.weight * (np.ceil(waves) - waves)) * per_wave
        best = flops if best is None else np.minimum(best, flops)
    assert best is not None
    # Sizes that cover less than the row's work (a fused row) must not hide the rest.
    return np.maximum(best, work.matmul_flops)


def memory_seconds(work: RowWork, at: RowTime) -> Value:
    """Seconds of the memory traffic alone."""
    return work.bytes * at.per_byte_s


def bound_seconds(work: RowWork, at: RowTime) -> Value:
    """The datasheet's bound: no execution is faster than its matrix FLOPs at peak or its bytes at full bandwidth.

    FLOPs are those of the quickest algorithm: 3x3 convolutions by Winograd's transforms take a quarter of them.
    """
    compute = least_matmul_flops(work) * (1.0 / at.peak)
    return np.maximum(compute, work.bytes * (1.0 / at.bandwidth))


def busy_seconds(work: RowWork, at: RowTime) -> Value:
    """Seconds of one execution without the kernel start: compute and memory overlap, as far as `norm` lets them."""
    compute, memory = compute_seconds(work, at), memory_seconds(work, at)
    if _zero(compute):
        return memory
    total, halvings = compute * compute + memory * memory, 1
    if at.norm > 2:
        square, other = compute * compute, memory * memory
        for _ in range(at.norm.bit_length() - 2):
            square, other, halvings = square * square, other * other, halvings + 1
        total = square + other
    for _ in range(halvings):
        total = np.sqrt(total)
    return total


def _zero(value: Value) -> bool:
    return isinstance(value, float) and value == 0.0
