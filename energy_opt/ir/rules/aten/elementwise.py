"""Elementwise arithmetic: FLOPs per output element, counted as for ONNX, overloads and in-place twins alike.

A transcendental or other special function is 1, a comparison with its select is 1. Activations are in activation.py.
"""

from __future__ import annotations

import onnx_ir

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import elements, nbytes, per_output

FLOPS_PER_OUTPUT = {
    # One operation.
    1: "abs* absolute* acos* acosh* angle arccos* arccosh* arcsin* arcsinh* arctan* arctan2* arctanh* asin* asinh* "
    "atan* atan2* atanh* bitwise_and* bitwise_left_shift* bitwise_not* bitwise_or* bitwise_right_shift* bitwise_xor* "
    "ceil* conj_physical* copysign* cos* cosh* deg2rad* digamma* eq* erf* erfc* erfinv* exp* exp2* expm1* fix* "
    "float_power* floor* fmax fmin fmod* gcd* ge* greater* greater_equal* gt* heaviside* i0* igamma* igammac* isfinite "
    "isinf isnan isneginf isposinf isreal lcm* le* less* less_equal* lgamma* log* log10* log1p* log2* logical_and* "
    "logical_not* logical_or* logical_xor* lt* maximum minimum _conj_physical ne* neg* negative* nextafter* not_equal* "
    "polygamma* pow* rad2deg* reciprocal* remainder* round* rsqrt* sgn* sign* signbit sin* sinh* sqrt* square* tan* "
    "tanh* true_divide* trunc* where masked_fill* __and__ __iand__ __ilshift__ __ior__ __irshift__ __ixor__ __lshift__ "
    "__or__ __rshift__ __xor__ special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1 "
    "special_digamma special_erf special_erfc special_erfcx special_erfinv special_exp2 special_expm1 special_gammainc "
    "special_gammaincc special_gammaln special_i0 special_i0e special_i1 special_i1e special_log1p "
    "special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0 special_modified_bessel_k1 "
    "special_ndtri special_polygamma special_psi special_round special_scaled_modified_bessel_k0 "
    "special_scaled_modified_bessel_k1 special_spherical_bessel_j0 special_zeta linalg_vander vander cumsum* cumprod* "
    "cummax cummin _cummax_helper _cummin_helper diff mvlgamma* special_multigammaln",
    # truncate, subtract; divide, round; logarithm, multiply; power, multiply; add, relu; fraction, exponent
    2: "frac* floor_divide* xlogy* special_xlogy special_xlog1py ldexp* _add_relu* modf frexp",
    # subtract, multiply, add; sine, multiply, divide; multiply, erfc, multiply; logarithm, multiply, negate
    # three comparisons; two products and a difference; two neighbours summed and scaled
    3: "lerp* sinc* special_sinc special_ndtr special_entr nan_to_num* cross linalg_cross cumulative_trapezoid",
    # 2 squares, add, root; cosine, sine, 2 products; multiply, erfc, multiply, logarithm
    4: "hypot* polar special_log_ndtr",
    # maximum, difference, exp, log1p, add
    5: "logaddexp logaddexp2 logcumsumexp _logcumsumexp",
    # |a - b| <= atol + rtol * |b|: 2 absolutes, subtract, multiply, add, compare
    6: "isclose",
}
for _flops, _names in FLOPS_PER_OUTPUT.items():
    aten("elementwise", _names)(per_output(_flops))

_COMPLEX = (onnx_ir.DataType.COMPLEX64, onnx_ir.DataType.COMPLEX128)
_POLYNOMIALS = (
    "special_chebyshev_polynomial_t special_chebyshev_polynomial_u special_chebyshev_polynomial_v "
    "special_chebyshev_polynomial_w special_hermite_polynomial_h special_hermite_polynomial_he "
    "special_laguerre_polynomial_l special_legendre_polynomial_p special_shifted_chebyshev_polynomial_t "
    "special_shifted_chebyshev_polynomial_u special_shifted_chebyshev_polynomial_v "
    "special_shifted_chebyshev_polynomial_w"
)
# The degree is data: a lookup of the recurrence's first step is the least.
aten("elementwise", _POLYNOMIALS)(per_output(1))


def _per(op: Op, flops: int, complex_flops: int) -> Work:
    return Work(other_flops=(complex_flops if op.y.dtype in _COMPLEX else flops) * elements(op.y))


@aten("elementwise", "add* sub* subtract* rsub")
def add(op: Op) -> Work:
    """self + alpha * other: 1 FLOP, 2 with an alpha; complex, two sums."""
    scaled = op.attr("alpha", 1) != 1
    return _per(op, 1 + scaled, 2 + 6 * scaled)


@aten("elementwise", "mul* multiply*")
def multiply(op: Op) -> Work:
    """1 FLOP; complex, 4 products and 2 sums."""
    return _per(op, 1, 6)


@aten("elementwise", "div* divide*")
def divide(op: Op) -> Work:
    """1 FLOP, 2 with a rounding mode; complex, a product with the conjugate, a square's length, 2 divisions."""
    return _per(op, 1 + (op.attr("rounding_mode") is not None), 11)


@aten("elementwise", "addcmul* addcdiv*")
def add_product(op: Op) -> Work:
    """self + value * (a * b) or (a / b): 2 FLOPs, 3 with a value."""
    return Work(other_flops=(2 + (op.attr("value", 1) != 1)) * elements(op.y))


@aten("elementwise", "clamp* clip* clamp_min* clamp_max*")
def clamp(op: Op) -> Work:
    """A comparison for each bound that is given, as a number or a tensor."""
    bounds = sum(op.attr(name) is not None for name in ("min", "max")) + given(op, 1) + given(op, 2)
    return Work(other_flops=max(bounds, 1) * elements(op.y))


@aten("elementwise", "isin")
def is_in(op: Op) -> Work:
    """Each element compared with each of the candidates: one of the two may be a number."""
    compared: list[Dim] = [elements(tensor) for tensor in op.inputs if tensor is not None]
    return Work(other_flops=product(compared))


@aten("elementwise", "complex")
def complex_pair(op: Op) -> Work:
    """Real and imaginary parts side by side: no arithmetic."""
    return Work()


@aten("elementwise", "gradient")
def gradient(op: Op) -> Work:
    """A difference of neighbours and a division for every result."""
    return Work(other_flops=2 * total(elements(y) for y in op.outputs))


@aten("elementwise", "trapezoid trapz")
def trapezoid(op: Op) -> Work:
    """Neighbours summed, scaled and accumulated: 3 per element."""
    return Work(other_flops=3 * elements(op.x))


@aten("elementwise", "equal allclose")
def equal(op: Op) -> Work:
    """Every pair compared (a tolerance is 6 FLOPs), one answer."""
    per_pair = 1 if op.op_type == "equal" else 6
    return Work(other_flops=per_pair * elements(op.x), bytes_read=nbytes(*op.inputs))
