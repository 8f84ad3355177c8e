"""Reductions: FLOPs per input element, and per result where a division, root or logarithm follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from energy_opt.ir.dims import product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import shape
from energy_opt.ir.rules.formulas import QUANTIZE, elements, nbytes, part, per_input
from energy_opt.ir.rules.registry import rule


def reduction(per_element: int, per_result: int = 0) -> Callable[[Op], Work]:
    """A rule for a reduction; the axes are read by the host."""
    counted = per_input(per_element, per_result)
    return lambda op: replace(counted(op), bytes_read=nbytes(op.x))


rule("reduction", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ArgMax", "ArgMin")(
    reduction(1)
)
rule("reduction", "com.microsoft::ReduceSumInteger", "com.microsoft::IsAllFinite")(reduction(1))
rule("reduction", "ReduceMean")(reduction(1, 1))  # sum; divide
rule("reduction", "ReduceL1", "ReduceSumSquare")(reduction(2))  # abs or square, sum
rule("reduction", "ReduceL2")(reduction(2, 1))  # square, sum; root
rule("reduction", "ReduceLogSum")(reduction(1, 1))  # sum; log
rule("reduction", "ReduceLogSumExp")(reduction(4, 2))  # max, subtract, exp, sum; log, add the max
rule("reduction", "com.microsoft::QLinearReduceMean")(reduction(1, 1 + QUANTIZE))
rule("reduction", "com.microsoft::DynamicTimeWarping")(
    reduction(4)
)  # two minima, a sum, a choice to trace


@rule("reduction", "Det")
def determinant(op: Op) -> Work:
    """LU decomposition of n x n matrices, 2/3 n^3 each."""
    return Work(other_flops=part(product((2, elements(op.x), shape(op, 0, 2)[-1])), 3))


@rule("reduction", "com.microsoft::Inverse")
def inverse(op: Op) -> Work:
    """Inverses of n x n matrices, 2 n^3 each."""
    return Work(other_flops=product((2, elements(op.x), shape(op, 0, 2)[-1])))


@rule("reduction", "com.microsoft::HyperConnectionPreMix")
def premix(op: Op) -> Work:
    """scale * sum of streams times gates: 2 per element of the streams, 1 per result."""
    return Work(other_flops=total((2 * elements(op.x), elements(op.y))))
