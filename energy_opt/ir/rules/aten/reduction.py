"""Reductions and distances: FLOPs per input element, and per result where a division, root or logarithm follows."""

from __future__ import annotations

import math
from collections.abc import Callable

from energy_opt.ir.dims import product
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import axis_of, given, result, shape
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import elements, per_input, per_output


def _reduction(table: str, per_element: int, per_result: int = 0) -> None:
    aten("reduction", table)(per_input(per_element, per_result))


_reduction("sum prod amax amin argmax argmin all any _is_all_true _is_any_true trace bincount", 1)
_reduction("sum_to_size _grad_sum_to_size hash_tensor segment_reduce", 1)
_reduction("mean", 1, 1)  # sum; divide
_reduction("aminmax _aminmax", 2)  # two comparisons
_reduction("nansum count_nonzero is_nonzero", 2)  # compare, add
_reduction("nanmean", 2, 1)
_reduction("frobenius_norm norm_except_dim", 2, 1)  # square, sum; root
_reduction("histc", 3)  # subtract, scale, add
_reduction("dist", 3, 1)  # subtract, power, sum; root
_reduction("var", 4, 1)  # sum, subtract, square, sum; divide
_reduction("std var_mean", 4, 2)  # and a root, or the mean
_reduction("std_mean", 4, 3)
_reduction("logsumexp special_logsumexp", 4, 2)  # max, subtract, exp, sum; log, add the max


@aten("reduction", "cov corrcoef")
def covariance(op: Op) -> Work:
    """Centred rows of x[n, m], each by each: a multiply-add per pair of elements."""
    return Work(other_flops=product((2, elements(op.y), shape(op, 0, 1)[-1])))


@aten("reduction", "max min")
def extreme(op: Op) -> Work:
    """A comparison per element of a reduction; of two tensors, per result."""
    if given(op, 1):
        return Work(other_flops=elements(op.y), kind="elementwise")
    return Work(other_flops=elements(op.x))


def powers(order: object) -> tuple[int, int]:
    """FLOPs of a vector norm per element and per result: absolute or square or power, sum or maximum; a root."""
    if isinstance(order, (int, float)) and (order in (0, 1) or math.isinf(order)):
        return 2, 0
    return (2, 1) if order in (None, 2, "fro") else (3, 1)


def _norm(argument: str) -> Callable[[Op], Work]:
    def norm(op: Op) -> Work:
        """A vector norm of the order that the argument gives, 2 where it is left out."""
        return per_input(*powers(op.attr(argument)))(op)

    return norm


aten("reduction", "norm native_norm")(_norm("p"))
aten("reduction", "linalg_vector_norm linalg__powsum")(_norm("ord"))


@aten("elementwise", "renorm*")
def renorm(op: Op) -> Work:
    """A norm of each slice, then a product."""
    per_element, _ = powers(op.attr("p"))
    return Work(other_flops=(per_element + 1) * elements(op.y))


@aten("reduction", "cosine_similarity")
def cosine_similarity(op: Op) -> Work:
    """Three dot products along the dim of the broadcast operands; two roots, two bounds, two divisions."""
    rank = op.y.rank + 1
    axis = axis_of(op, rank, 1, "dim") - rank
    lengths = [t.dims[axis] for t in (op.x, op.need(1)) if t.rank >= -axis]
    length = next((dim for dim in lengths if dim != 1), 1)
    return Work(other_flops=product((elements(op.y), 6 * length + 6)))


@aten("reduction", "pairwise_distance")
def pairwise_distance(op: Op) -> Work:
    """Along the last dim: subtract, add eps, power, sum; a root."""
    return Work(other_flops=product((elements(op.y), 4 * shape(op, 0, 1)[-1] + 1)))


@aten("reduction", "_pdist_forward pdist")
def pairs_of_rows(op: Op) -> Work:
    """Every pair of rows of x[n, m]: subtract, power, sum for each of m; a root."""
    return Work(other_flops=product((elements(op.y), 3 * shape(op, 0, 1)[-1] + 1)))


@aten("reduction", "_pdist_backward _cdist_backward")
def pairs_backward(op: Op) -> Work:
    """For every pair of rows and column of the operand: subtract, power, divide, multiply, add."""
    return Work(other_flops=product((5, elements(op.x), result(op, 0, 1)[-1])))


aten("elementwise", "_segment_reduce_backward value_selecting_reduction_backward")(per_output(1))
aten("elementwise", "cumprod_backward")(per_output(4))  # 2 products, a sum, a division
aten("elementwise", "cummaxmin_backward")(per_output(1))
