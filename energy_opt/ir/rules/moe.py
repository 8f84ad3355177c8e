"""Mixtures of experts: only the experts that a token is routed to compute, and only those met are read."""

from __future__ import annotations

from dataclasses import replace

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work, bytes_of
from energy_opt.ir.rules.arguments import given, integer, shape, text
from energy_opt.ir.rules.formulas import (
    DEQUANTIZE,
    SOFTMAX,
    activation_flops,
    divide,
    least,
    nbytes,
)
from energy_opt.ir.rules.registry import rule


def experts(rows: Dim, k: int, count: Dim, weights: Dim, hidden: Dim, inter: Dim) -> Work:
    """FLOPs of k experts of `weights` parameters each for every row: 2 * rows * k * weights."""
    routed = product((k, rows))
    sizes = (
        ("b", least(routed, count)),
        ("m", rows),
        ("k", k),
        ("experts", count),
        ("weights", weights),
        ("hidden", hidden),
        ("inter", inter),
    )
    return Work(matmul_flops=product((2, routed, weights)), sizes=sizes)


def _mixture(
    op: Op, places: tuple[int, ...], beside: tuple[int, ...], bits: tuple[int, ...]
) -> Work:
    """`places` are the inputs of stacked weights[experts, ..]; `beside` is what else is stacked by expert."""
    x, k, count = shape(op, 0, 1), max(integer(op, "k", 1), 1), shape(op, 1, 2)[-1]
    rows, packed = product(x[:-1]), bits != (0, 0, 0)
    weights = [
        product((*op.need(i).dims[1:], divide(8, b) if packed else 1))
        for i, b in zip(places, bits, strict=True)
        if i in places[:2] or given(op, i)
    ]
    routed, width = product((k, rows)), divide(weights[1], x[-1])  # fc2 is [width, hidden]
    work, active = experts(rows, k, count, total(weights), x[-1], width), least(routed, count)
    activation = activation_flops(text(op, "activation_type", "relu")) + (len(weights) > 2)
    flops = total(
        (
            product((SOFTMAX, rows, count)),
            product((activation, routed, width)),
            product((2, routed, x[-1])),  # each expert's result, weighted and summed
            product((DEQUANTIZE * packed, active, total(weights))),
        )
    )
    stacked = [t for i in (*places, *beside) if (t := op.input(i)) is not None and t.shape]
    per_expert = total(bytes_of(product(t.dims[1:]), t.dtype) for t in stacked)
    read = total((nbytes(op.x, op.need(1)), product((per_expert, active))))
    return replace(work, other_flops=flops, bytes_read=read)


@rule("moe", "com.microsoft::MoE")
def moe(op: Op) -> Work:
    """fc1, fc2 and an optional fc3 at inputs 2, 4, 6, with biases after each."""
    return _mixture(op, (2, 4, 6), (3, 5, 7), (0, 0, 0))


@rule("moe", "com.microsoft::QMoE")
def moe_quantised(op: Op) -> Work:
    """Packed weights at inputs 2, 5, 8 with scales, biases and zero points; active weights are dequantised once."""
    default = integer(op, "expert_weight_bits", 4)
    bits = tuple(integer(op, f"fc{i}_expert_weight_bits", default) for i in (1, 2, 3))
    return _mixture(op, (2, 5, 8), (3, 4, 6, 7, 9, 10, 11, 12, 13), bits)
