"""Matrix products: MatMul, Gemm, their fusions and quantised forms. A multiply-add is 2 FLOPs."""

from __future__ import annotations

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given, integer, number, positive, shape, text
from energy_opt.ir.rules.formulas import (
    DEQUANTIZE,
    QUANTIZE,
    activation_flops,
    divide,
    elements,
    known,
    matmul,
    plus,
)
from energy_opt.ir.rules.registry import rule

Dims = tuple[Dim, ...]


def product_of(a: Dims, b: Dims, y: Dims) -> Work:
    """numpy's matmul of shapes a and b giving y. A right operand without batch takes the left's batch into m."""
    k, n = known(a[-1], b[0] if len(b) == 1 else b[-2]), 1 if len(b) == 1 else b[-1]
    if all(dim == 1 for dim in b[:-2]):
        return matmul(1, product(a[:-1]), n, k)
    if len(a) == 1:
        return matmul(product(y[:-1]), 1, n, k)
    return matmul(product(y[:-2]), a[-2], n, k)


def _oriented(op: Op, index: int, letter: str) -> Dims:
    """The operand's shape after the transpositions that FusedMatMul asks for."""
    dims = shape(op, index, 1)
    if integer(op, f"transBatch{letter}", 0) and len(dims) > 2:
        dims = (*dims[1:-1], dims[0], dims[-1])
    if integer(op, f"trans{letter}", 0) and len(dims) > 1:
        dims = (*dims[:-2], dims[-1], dims[-2])
    return dims


@rule("matmul", "MatMul", "com.microsoft::MatMulInteger16", "com.microsoft::SparseToDenseMatMul")
def plain(op: Op) -> Work:
    """2*b*m*n*k."""
    return product_of(_oriented(op, 0, "A"), _oriented(op, 1, "B"), op.y.dims)


@rule("matmul", "com.microsoft::FusedMatMul", "com.microsoft::TransposeMatMul")
@rule("matmul", "com.microsoft::FusedMatMulActivation")
def fused(op: Op) -> Work:
    """The product of transposed operands, its alpha and its activation."""
    extra = (number(op, "alpha", 1.0) != 1.0) + activation_flops(op.attr("activation"))
    return plus(plain(op), extra * elements(op.y))


@rule("matmul", "Gemm", "com.microsoft::FusedGemm")
def gemm(op: Op) -> Work:
    """alpha * A B + beta * C: the scales only where they are not 1."""
    extra = (number(op, "alpha", 1.0) != 1.0) + activation_flops(op.attr("activation"))
    extra += given(op, 2) * (1 + (number(op, "beta", 1.0) not in (0.0, 1.0)))
    return plus(plain(op), extra * elements(op.y))


@rule("matmul", "com.microsoft::GemmFloat8")
def gemm_float8(op: Op) -> Work:
    """A Gemm whose result is scaled once."""
    return plus(gemm(op), elements(op.y))


@rule("matmul", "com.microsoft::GemmFastGelu")
def gemm_fast_gelu(op: Op) -> Work:
    """A product, its bias and a tanh Gelu."""
    return plus(plain(op), (activation_flops("fastgelu") + given(op, 2)) * elements(op.y))


@rule("matmul", "MatMulInteger")
def integer_product(op: Op) -> Work:
    """The product, and one subtraction per element of an operand that has a zero point."""
    shifts = total(given(op, i + 2) * elements(op.need(i)) for i in (0, 1))
    return plus(plain(op), shifts)


@rule("matmul", "com.microsoft::MatMulIntegerToFloat")
def integer_product_to_float(op: Op) -> Work:
    """The product, zero points, one scale per result (the scales' product is taken once) and the bias."""
    shifts = [given(op, i + 4) * elements(op.need(i)) for i in (0, 1)]
    return plus(plain(op), total((*shifts, (1 + given(op, 6)) * elements(op.y))))


@rule("matmul", "com.microsoft::DynamicQuantizeMatMul")
def dynamic_product(op: Op) -> Work:
    """Range (min, max) and quantisation of A, the integer product, one scale per result, the bias."""
    quantised = (2 + QUANTIZE) * elements(op.x)
    return plus(plain(op), total((quantised, (1 + given(op, 4)) * elements(op.y))))


@rule("matmul", "QLinearMatMul", "com.microsoft::QGemm")
def quantised_product(op: Op) -> Work:
    """A at input 0 by B at input 3, an optional C at input 6 of QGemm, and requantisation."""
    a, b = _oriented(op, 0, "A"), _oriented(op, 3, "B")
    bias = given(op, 6) if op.op_type == "QGemm" else 0
    return plus(product_of(a, b, op.y.dims), (QUANTIZE + bias) * elements(op.y))


@rule("matmul", "com.microsoft::QOrderedMatMul")
def ordered_product(op: Op) -> Work:
    """A at input 0 by B at input 2, bias at 5, an added C at 6 (scaled), and requantisation."""
    extra = QUANTIZE + given(op, 5) + 2 * given(op, 6)
    return plus(product_of(shape(op, 0, 1), shape(op, 2, 1), op.y.dims), extra * elements(op.y))


@rule("matmul", "com.microsoft::MatMulNBits", "com.microsoft::MatMulBnb4")
def weight_only_product(op: Op) -> Work:
    """A[.., k] by a packed [n, k] weight that is dequantised once; its packed bytes are read once."""
    k, n = positive(op, "K"), positive(op, "N")
    work = matmul(1, divide(elements(op.x), k), n, k)
    return plus(work, total((DEQUANTIZE * n * k, given(op, 5) * elements(op.y))))


@rule("matmul", "com.microsoft::MatMulFpQ4")
def block_quantised_product(op: Op) -> Work:
    """A[.., k] by a block-quantised weight whose packed shape says nothing: n is the result's last dim."""
    a, y = shape(op, 0, 1), op.y.dims
    work = matmul(1, product(a[:-1]), y[-1] if y else 1, a[-1])
    return plus(work, product((DEQUANTIZE, a[-1], y[-1] if y else 1)))


@rule("matmul", "com.microsoft::MatMulBlockQuantizedFp4Weight")
@rule("matmul", "com.microsoft::MatMulBlockQuantizedFp8Weight")
def block_float_product(op: Op) -> Work:
    """The same, with a bias as the sixth (fp4) or fifth (fp8) input."""
    bias = given(op, 5 if "Fp4" in op.op_type else 4)
    return plus(block_quantised_product(op), bias * elements(op.y))


@rule("matmul", "com.microsoft::MatMulNBitsMlp")
def weight_only_mlp(op: Op) -> Work:
    """activation(A gate) * (A up): two packed [n, k] weights, with an optional norm and skip of A before them."""
    k, n = positive(op, "K"), positive(op, "N")
    work = matmul(1, divide(elements(op.x), k), 2 * n, k)
    extra = 1 + activation_flops(text(op, "activation", "silu")) + given(op, 5) + given(op, 8)
    before = (4 * given(op, 2) + given(op, 1)) * elements(op.x)
    return plus(work, total((2 * DEQUANTIZE * n * k, extra * elements(op.y), before)))


@rule("matmul", "com.microsoft::MatMulNBitsQkv")
def weight_only_qkv(op: Op) -> Work:
    """Three products of one A with packed weights of nq, nkv and nkv rows, with an optional norm and skip before."""
    k, n_q, n_kv = positive(op, "K"), positive(op, "Nq"), positive(op, "Nkv")
    rows, n = divide(elements(op.x), k), n_q + 2 * n_kv
    before = (4 * given(op, 2) + given(op, 1)) * elements(op.x)
    biases = product((rows, given(op, 5) * n_q + (given(op, 8) + given(op, 11)) * n_kv))
    return plus(matmul(1, rows, n, k), total((DEQUANTIZE * n * k, biases, before)))


@rule("matmul", "com.microsoft::CDist")
def distances(op: Op) -> Work:
    """|a|^2 + |b|^2 - 2ab for all pairs of rows: the product, 4 per pair, a square and a sum per element."""
    a, b = shape(op, 0, 2), shape(op, 1, 2)
    norms = 2 * total((elements(op.x), elements(op.need(1))))
    return plus(matmul(1, a[0], b[0], a[1]), total((4 * elements(op.y), norms)))
