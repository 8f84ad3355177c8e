"""Elementwise arithmetic: a table of FLOPs per output element, counted from each op's defining formula.

A transcendental (exp, log, tanh, erf, sqrt, pow) is 1, a comparison with its select is 1, a conversion is 1.
"""

from __future__ import annotations

from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given, number
from energy_opt.ir.rules.formulas import elements, nbytes, per_output
from energy_opt.ir.rules.registry import rule

FLOPS_PER_OUTPUT = {
    # One operation.
    1: "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr "
    "BitwiseXor Cast Ceil Cos Cosh Div Equal Erf Exp Floor Greater GreaterOrEqual IsInf IsNaN Less "
    "LessOrEqual Log Mod Mul Neg Not Or Pow Reciprocal Relu Round Sign Sin Sinh Sqrt Sub Tan Tanh "
    "ThresholdedRelu Where Xor CumSum CumProd ai.onnx.ml::Binarizer com.microsoft::MulInteger",
    # compare, multiply; max, min; multiply, add; subtract, multiply; replace, compare
    2: "LeakyRelu PRelu Clip Affine Scale ImageScaler ai.onnx.ml::Scaler ai.onnx.ml::Imputer",
    # exp, add, log; abs, add, divide; 2 comparisons, add; multiply, tanh, multiply
    3: "Softplus Softsign Shrink ScaledTanh",
    # negate, exp, add, divide; multiply, add, max, min; compare, exp, subtract, multiply
    4: "Sigmoid HardSigmoid Elu",
    # x * hardsigmoid(x); x * tanh(softplus(x)); elu(x) * gamma; x / 2 * (1 + erf(x / sqrt 2))
    5: "HardSwish Mish Selu Gelu com.microsoft::Gelu ParametricSoftplus",
    # swish(a) * b; x * sigmoid(alpha * x)
    6: "SwiGLU com.microsoft::QuickGelu",
    # max(0, x) + min(0, alpha * (exp(x / alpha) - 1)); scale * silu(alpha * x) with the output's scale
    7: "Celu com.microsoft::ScaledSiLU",
}
for _flops, _names in FLOPS_PER_OUTPUT.items():
    rule("elementwise", *_names.split())(per_output(_flops))

GELU_TANH = 8
"""x / 2 * (1 + tanh(c * (x + 0.044715 * x^3))): pow, 2 products in the polynomial, 2 sums, tanh, 2 products."""

rule("elementwise", "com.microsoft::BiasGelu")(per_output(6))  # bias, Gelu
rule("elementwise", "com.microsoft::BiasAdd")(per_output(2))  # bias, skip
rule("elementwise", "com.microsoft::BiasSplitGelu")(per_output(8))  # 2 biases, Gelu, product
rule("elementwise", "com.microsoft::ComplexMul", "com.microsoft::ComplexMulConj")(
    per_output(3)  # 4 products and 2 sums per pair of elements
)


@rule("elementwise", "com.microsoft::FastGelu")
def fast_gelu(op: Op) -> Work:
    """The tanh form of Gelu, after an optional bias."""
    return Work(other_flops=(GELU_TANH + given(op, 1)) * elements(op.y))


@rule("elementwise", "Swish")
def swish(op: Op) -> Work:
    """x * sigmoid(alpha * x)."""
    return Work(other_flops=(5 + (number(op, "alpha", 1.0) != 1.0)) * elements(op.y))


@rule("elementwise", "Sum", "Max", "Min")
def variadic(op: Op) -> Work:
    """One operation per element for every input after the first."""
    return Work(other_flops=max(len(op.inputs) - 1, 0) * elements(op.y))


@rule("elementwise", "Mean")
def variadic_mean(op: Op) -> Work:
    """The sum of the inputs and a division."""
    return Work(other_flops=len(op.inputs) * elements(op.y))


@rule("elementwise", "CastLike")
def cast_like(op: Op) -> Work:
    """A conversion; the second input only names the type."""
    return Work(other_flops=elements(op.y), bytes_read=nbytes(op.x))


@rule(
    "elementwise", "ai.onnx.ml::LabelEncoder", "ai.onnx.ml::CategoryMapper", "ai.onnx.ml::CastMap"
)
def lookup_table(op: Op) -> Work:
    """One look-up per element."""
    return Work(other_flops=elements(op.y))


@rule("elementwise", "ai.onnx.ml::OneHotEncoder")
def categories(op: Op) -> Work:
    """A comparison of each element with each category: one per output element."""
    return Work(other_flops=elements(op.y))
