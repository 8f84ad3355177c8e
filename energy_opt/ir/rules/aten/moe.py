"""Grouped products: rows sorted by expert, each group by its own matrix. Only the experts that can be met are read."""

from __future__ import annotations

from dataclasses import replace

import sympy

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work, bytes_of
from energy_opt.ir.rules.arguments import given, integer, shape
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import elements, least, matmul, nbytes, plus
from energy_opt.ir.rules.registry import rule


def grouped(op: Op) -> Work:
    """Of a[rows, k] by b[experts, k, n], 2*rows*k*n; of other ranks, rows, columns or the depth are in groups.

    How rows fall to experts is data: `m` is the mean of those that are met, min(rows, experts).
    """
    a, b = shape(op, 0, 2), shape(op, 1, 2)
    if len(a) == 2 and len(b) == 3:
        return _by_expert(op, a[0], 1, b[0], b[2], a[1])
    if len(a) == 3 and len(b) == 2:  # groups of columns
        return matmul(1, a[1], b[1], a[2])
    if len(a) == 2 and len(b) == 2:  # groups of the depth: a matrix of the result each
        return matmul(1, a[0], b[1], a[1])
    return matmul(a[0], a[-2], b[-1], a[-1])


def _by_expert(op: Op, rows: Dim, stacked: int, count: Dim, n: Dim, k: Dim) -> Work:
    """Work of `rows` spread over experts whose weights are stacked in one input."""
    active, weight = least(rows, count), op.need(stacked)
    mean = -(-rows // active) if isinstance(rows, int) and isinstance(active, int) and active > 0 \
        else sympy.ceiling(rows / active) if active != 0 else 0  # fmt: skip
    others = [tensor for index, tensor in enumerate(op.inputs) if index != stacked]
    expert_bytes = bytes_of(product(weight.dims[1:]), weight.dtype)
    return Work(
        product((2, rows, n, k)),
        bytes_read=total((nbytes(*others), product((active, expert_bytes)))),
        sizes=(("b", active), ("m", mean), ("n", n), ("k", k)),
    )


@rule("moe", "aten::_grouped_mm", "transformers::grouped_mm_fallback")
def grouped_product(op: Op) -> Work:
    """The product, and a bias at input 3."""
    return plus(grouped(op), given(op, 3) * elements(op.y))


@aten("moe", "_scaled_grouped_mm")
def grouped_scaled(op: Op) -> Work:
    """The product of 8-bit operands, its scale, the bias at input 5 and a scale of the result at 6."""
    return plus(grouped(op), (1 + given(op, 5) + given(op, 6)) * elements(op.y))


@aten("moe", "_scaled_grouped_mm_v2")
def grouped_scaled_by_lists(op: Op) -> Work:
    """The same with lists of scales, after which the offsets and the bias come."""
    bias = 3 + integer(op, "scale_a", 1) + integer(op, "scale_b", 1)
    return plus(grouped(op), (1 + given(op, bias)) * elements(op.y))


@rule("moe", "transformers::grouped_mm_fallback_backward")
def grouped_backward(op: Op) -> Work:
    """x[rows, k], weight[experts, k, n], offsets, grad[rows, n]: two products; the whole gradient is written."""
    x, b = shape(op, 0, 2), shape(op, 1, 3)
    once = _by_expert(op, x[0], 1, b[0], b[2], x[1])
    return replace(once, matmul_flops=2 * once.matmul_flops)
