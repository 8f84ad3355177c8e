"""Distances between all pairs of rows: a product where torch makes one of it, else arithmetic per element."""

from __future__ import annotations

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import integer, shape
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import elements, matmul, plus

_FEW_ROWS = 25
"""Up to so many rows on both sides torch computes Euclidean distances without a product (`compute_mode` 0)."""


@aten("matmul", "cdist _cdist_forward")
def distances(op: Op) -> Work:
    """x1[.., p, d] and x2[.., r, d]: Euclidean ones of many rows by |a|^2 + |b|^2 - 2ab, else element by element."""
    a, b = shape(op, 0, 2), shape(op, 1, 2)
    mode = integer(op, "compute_mode", 0)
    few = all(isinstance(dim, int) and dim <= _FEW_ROWS for dim in (a[-2], b[-2]))
    if op.attr("p", 2.0) == 2 and (mode == 1 or (mode == 0 and not few)):
        return by_product(op)
    return _pairs(op, product((elements(op.y), a[-1])))


@aten("matmul", "_euclidean_dist")
def by_product(op: Op) -> Work:
    """The product; 4 per pair (two sums, a clamp, a root), a square and a sum per element."""
    a, b = shape(op, 0, 2), shape(op, 1, 2)
    norms = 2 * total((elements(op.x), elements(op.need(1))))
    work = matmul(product(op.y.dims[:-2]), a[-2], b[-2], a[-1])
    return plus(work, total((4 * elements(op.y), norms)))


def _pairs(op: Op, terms: Dim) -> Work:
    """Subtract, take the size or the power, sum; a general p takes the power of an absolute difference."""
    p = op.attr("p", 2.0)
    per_term = 3 if p in (0, 1, 2) or str(p) == "inf" else 4
    roots = 0 if p in (0, 1) or str(p) == "inf" else 1
    flops = total((product((per_term, terms)), roots * elements(op.y)))
    return Work(other_flops=flops, kind="reduction")
