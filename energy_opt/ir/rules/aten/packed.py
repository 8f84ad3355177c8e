"""Products of scaled, packed and sparse weights in PyTorch.

Weights that are packed into an object are not among the operands: their bytes are what their sizes say.
"""

from __future__ import annotations

from dataclasses import replace

from energy_opt.ir.dims import product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given, integer, result, shape, text
from energy_opt.ir.rules.aten.matmul import into, plain
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import (
    DEQUANTIZE,
    QUANTIZE,
    activation_flops,
    elements,
    matmul,
    nbytes,
    part,
    plus,
)
from energy_opt.ir.rules.registry import rule


@aten("matmul", "_scaled_mm")
def scaled(op: Op) -> Work:
    """The product of 8-bit operands, its scale, the bias at input 4 and a scale of the result at 5."""
    return plus(plain(op), (1 + given(op, 4) + given(op, 5)) * elements(op.y))


@aten("matmul", "_scaled_mm_v2")
def scaled_by_lists(op: Op) -> Work:
    """The same with lists of scales, after which the bias comes."""
    bias = 2 + integer(op, "scale_a", 1) + integer(op, "scale_b", 1)
    return plus(plain(op), (1 + given(op, bias)) * elements(op.y))


@aten("matmul", "_weight_int8pack_mm")
def weight_int8(op: Op) -> Work:
    """A product with 8-bit weights, and one scale per result."""
    return plus(into(op), elements(op.y))


@aten(
    "matmul",
    "_weight_int4pack_mm _weight_int4pack_mm_for_cpu _weight_int4pack_mm_with_scales_and_zeros",
)
def weight_int4(op: Op) -> Work:
    """A product with packed 4-bit weights that are dequantised once; their packed bytes are read once."""
    return plus(into(op), product((DEQUANTIZE, shape(op, 0, 1)[-1], result(op, 0, 1)[-1])))


@aten("matmul", "_mixed_dtypes_linear")
def weight_mixed(op: Op) -> Work:
    """A product with integer weights, one scale per result, the bias at input 3 and the activation."""
    extra = 1 + given(op, 3) + activation_flops(op.attr("activation"))
    return plus(into(op), extra * elements(op.y))


@aten("matmul", "_dyn_quant_matmul_4bit")
def weight_int4_dynamic(op: Op) -> Work:
    """Range (min, max) and quantisation of the input, the product with packed 4-bit weights, one scale per result."""
    return plus(into(op), total(((2 + QUANTIZE) * elements(op.x), elements(op.y))))


@aten("matmul", "fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation")
def fbgemm_int8(op: Op) -> Work:
    """The input quantised, the product with the packed weight at input 2, one scale per result, the bias at 4."""
    work = plus(
        into(op), total(((2 + QUANTIZE) * elements(op.x), (1 + given(op, 4)) * elements(op.y)))
    )
    return replace(work, bytes_read=nbytes(op.x, *op.inputs[2:]))


@aten("matmul", "fbgemm_linear_fp16_weight fbgemm_linear_fp16_weight_fp32_activation")
def fbgemm_fp16(op: Op) -> Work:
    """A product with a packed float16 weight, and the bias at input 2."""
    return plus(into(op), given(op, 2) * elements(op.y))


@rule("matmul", "mkldnn::_linear_pointwise", "mkl::_mkl_linear")
def onednn(op: Op) -> Work:
    """A product with a reordered weight, what is added to it (the operands after the weight), an activation."""
    extra = activation_flops(text(op, "attr", "none")) + max(0, len(op.inputs) - 2)
    return plus(into(op), extra * elements(op.y))


_LINEAR_BYTES = {
    1: "linear linear_relu linear_leaky_relu linear_tanh linear_dynamic linear_relu_dynamic",
    2: "linear_dynamic_fp16 linear_relu_dynamic_fp16",
}
"""Bytes of an element of the packed weight."""


@rule(
    "matmul", *(f"quantized::{name}" for names in _LINEAR_BYTES.values() for name in names.split())
)
def packed_linear(op: Op) -> Work:
    """A product with a weight that is no operand; inputs are quantised where dynamic, results requantised where not."""
    name = op.op_type
    work, size = into(op), 2 if name.endswith("fp16") else 1
    around = (
        0 if size == 2
        else total(((2 + QUANTIZE) * elements(op.x), elements(op.y))) if "dynamic" in name
        else QUANTIZE * elements(op.y)
    )  # fmt: skip
    activation = next((a for a in ("leaky_relu", "relu", "tanh") if a in name), "").replace("_", "")
    x, y = op.x.dims, op.y.dims
    read = total((nbytes(*op.inputs), product((size, x[-1], y[-1] if y else 1))))
    flops = total((around, (1 + activation_flops(activation)) * elements(op.y)))
    return replace(plus(work, flops), bytes_read=read)


@aten("matmul", "_sparse_semi_structured_linear")
def half_sparse_linear(op: Op) -> Work:
    """A weight of which 2 in 4 elements are kept: half of the products, the bias at input 3 and the activation."""
    x, y = shape(op, 0, 1), op.y.dims
    work = matmul(1, product(x[:-1]), y[-1] if y else 1, part(x[-1], 2))
    return plus(work, (given(op, 3) + activation_flops(op.attr("activation"))) * elements(op.y))


@aten("matmul", "_sparse_semi_structured_mm _sparse_semi_structured_addmm")
def half_sparse(op: Op) -> Work:
    """A compressed matrix by a dense one that comes last: half of the products; addmm adds its first input."""
    added = int(op.op_type.endswith("addmm"))
    b = shape(op, 3 if added else 2, 2)
    work = matmul(1, shape(op, 1 if added else 0, 1)[0], b[-1], part(b[0], 2))
    return plus(work, added * elements(op.y))
