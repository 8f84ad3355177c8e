"""Sorting and selection: n log2 n comparisons, logarithms rounded up."""

from __future__ import annotations

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import axis_of, shape
from energy_opt.ir.rules.formulas import elements, log2, nbytes
from energy_opt.ir.rules.registry import rule

OVERLAP = 12
"""FLOPs of the intersection over union of two boxes: 4 extremes, 4 differences and sums, 3 products, a division."""


@rule("sort", "TopK")
def top_k(op: Op) -> Work:
    """n log2 n comparisons per row of n."""
    dims = shape(op, 0, 1)
    return Work(
        other_flops=product((elements(op.x), log2(dims[axis_of(op, len(dims), -1)]))),
        bytes_read=nbytes(op.x),
    )


@rule("sort", "Unique", "com.microsoft::Unique")
def unique(op: Op) -> Work:
    """n log2 n comparisons of all elements."""
    count = elements(op.x)
    return Work(other_flops=product((count, log2(count))))


def suppression(op: Op, scores: int, boxes: Dim) -> Work:
    """Per batch and class a sort of the boxes, and one overlap per box: how many pairs meet depends on the data."""
    count = elements(op.need(scores))
    return Work(other_flops=total((product((count, log2(boxes))), product((OVERLAP, count)))))


@rule("sort", "NonMaxSuppression")
def non_max_suppression(op: Op) -> Work:
    """scores[batch, classes, boxes]."""
    return suppression(op, 1, shape(op, 1, 1)[-1])


@rule("sort", "EfficientNMS_TRT")
def efficient_suppression(op: Op) -> Work:
    """scores[batch, boxes, classes]."""
    return suppression(op, 1, shape(op, 1, 2)[1])
