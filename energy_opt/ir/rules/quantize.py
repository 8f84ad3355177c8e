"""Quantisation: quantise = divide, round, add zero point, saturate (4); dequantise = subtract, multiply (2)."""

from __future__ import annotations

from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given
from energy_opt.ir.rules.formulas import DEQUANTIZE, QUANTIZE, elements, per_output
from energy_opt.ir.rules.registry import rule

rule("quantize", "DynamicQuantizeLinear")(per_output(2 + QUANTIZE))  # min and max, quantise
rule("quantize", "com.microsoft::QuantizeWithOrder")(per_output(QUANTIZE - 1))  # no zero point
rule("quantize", "com.microsoft::DequantizeWithOrder")(per_output(DEQUANTIZE - 1))
rule("quantize", "com.microsoft::DequantizeBFP")(
    per_output(DEQUANTIZE - 1)
)  # one shared exponent, no zero point
rule("quantize", "com.microsoft::QLinearAdd", "com.microsoft::QLinearMul")(
    per_output(2 * DEQUANTIZE + 1 + QUANTIZE)
)
rule("quantize", "com.microsoft::QLinearWhere")(per_output(DEQUANTIZE + 1 + QUANTIZE))
rule("quantize", "com.microsoft::QLinearLeakyRelu")(per_output(DEQUANTIZE + 2 + QUANTIZE))
rule("quantize", "com.microsoft::QLinearSigmoid")(per_output(DEQUANTIZE + 4 + QUANTIZE))
rule("quantize", "com.microsoft::QOrderedGelu")(per_output(DEQUANTIZE - 1 + 5 + QUANTIZE - 1))
rule("quantize", "com.microsoft::QLinearConcat")(per_output(DEQUANTIZE + QUANTIZE))


@rule("quantize", "QuantizeLinear", "com.microsoft::QuantizeLinear")
def quantize(op: Op) -> Work:
    """4 FLOPs per element, 3 without a zero point."""
    return Work(other_flops=(QUANTIZE - 1 + given(op, 2)) * elements(op.y))


@rule("quantize", "DequantizeLinear", "com.microsoft::DequantizeLinear")
def dequantize(op: Op) -> Work:
    """2 FLOPs per element, 1 without a zero point."""
    return Work(other_flops=(DEQUANTIZE - 1 + given(op, 2)) * elements(op.y))


@rule("quantize", "com.microsoft::QuantizeBFP")
def quantize_block_float(op: Op) -> Work:
    """A maximum per block, then scale, round, saturate: 4 per element of the input."""
    return Work(other_flops=4 * elements(op.x))
