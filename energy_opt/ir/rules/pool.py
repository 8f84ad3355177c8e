"""Pooling and sampling. A pool counts one operation per kernel element and output, padding included."""

from __future__ import annotations

import math
from collections.abc import Callable

from energy_opt.ir.dims import product
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import integer, integers, result, shape, text
from energy_opt.ir.rules.formulas import (
    QUANTIZE,
    elements,
    interpolation,
    nbytes,
    per_input,
    per_output,
)
from energy_opt.ir.rules.registry import rule

_LAYOUTS = ("", "com.microsoft.nchwc::", "com.ms.internal.nhwc::")


def pool(per_element: int, per_result: int = 0) -> Callable[[Op], Work]:
    """A rule for a pool over `kernel_shape`."""

    def pooled(op: Op) -> Work:
        kernel = integers(op, "kernel_shape")
        if not kernel or min(kernel) < 1:
            raise ValueError(f"a pool with kernel_shape {kernel}")
        return Work(other_flops=(per_element * math.prod(kernel) + per_result) * elements(op.y))

    return pooled


for _layout in _LAYOUTS:
    rule("pool", f"{_layout}MaxPool", f"{_layout}AveragePool")(pool(1))
    rule("pool", f"{_layout}GlobalMaxPool", f"{_layout}GlobalAveragePool")(per_input(1))
rule("pool", "com.microsoft::NhwcMaxPool")(pool(1))
rule("pool", "com.microsoft::MaxpoolWithMask")(pool(2))  # mask, compare
rule("pool", "LpPool", "com.ms.internal.nhwc::LpPool")(pool(2, 1))  # power, sum; root
rule("pool", "GlobalLpPool", "com.ms.internal.nhwc::GlobalLpPool")(per_input(2, 1))
rule("pool", "com.microsoft::QLinearAveragePool", "com.ms.internal.nhwc::QLinearAveragePool")(
    pool(1, QUANTIZE)
)
rule("pool", "com.microsoft::QLinearGlobalAveragePool")(per_input(1, QUANTIZE))
# How many elements a region holds depends on the data: one comparison per result is the least.
rule("pool", "MaxRoiPool")(per_output(1))


@rule(
    "resize",
    "RoiAlign",
    "com.microsoft::CropAndResize",
    "PyramidROIAlign_TRT",
    "MultilevelCropAndResize_TRT",
)
def region_samples(op: Op) -> Work:
    """Bilinear samples and their average or maximum; an adaptive sampling_ratio (0) is taken as 1."""
    samples = max(integer(op, "sampling_ratio", 1), 1) ** 2
    return Work(other_flops=samples * (interpolation("linear", 2) + 1) * elements(op.y))


@rule("resize", "GridSample", "com.microsoft::GridSample", "com.ms.internal.nhwc::GridSample")
def grid_sample(op: Op) -> Work:
    """One interpolation per result over as many dims as the grid has coordinates."""
    return Work(
        other_flops=interpolation(text(op, "mode", "linear"), len(shape(op, 0, 3)) - 2)
        * elements(op.y)
    )


@rule(
    "resize", "Resize", "Upsample", "com.ms.internal.nhwc::Resize", "com.microsoft.nchwc::Upsample"
)
def resize(op: Op) -> Work:
    """One interpolation per result over the dims that change; nearest moves elements and computes nothing."""
    x, y = op.x.dims, op.y.dims
    changed = sum(1 for before, after in zip(x, y, strict=False) if before != after)
    flops = interpolation(text(op, "mode", "nearest"), changed)
    numbers = all(isinstance(dim, int) for dim in (*x, *y))  # which compare
    smaller = numbers and product(y) < product(x)
    sampled = flops == 0 and smaller
    read = nbytes(op.y) if sampled else nbytes(op.x)
    return Work(
        other_flops=flops * elements(op.y), bytes_read=read, kind=None if changed else "copy"
    )


@rule("elementwise", "AffineGrid")
def affine_grid(op: Op) -> Work:
    """d products and d sums per coordinate of a d-dimensional grid."""
    rank = len(result(op, 0, 3)) - 2
    return Work(other_flops=2 * rank * elements(op.y), bytes_read=nbytes(op.x))
