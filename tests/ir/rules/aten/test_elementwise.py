from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case

A = "aten::"

CASES = [
    # 6 sums; 6 and 3 floats read
    case(A + "add", "2,3 3 -> 2,3", 0, 6, 36, 24, alpha=1),
    case(A + "add", "b,s,768 b,s,768 -> b,s,768", 0, "768*b*s", "6144*b*s", "3072*b*s", alpha=1),
    # a product with alpha as well
    case(A + "add_", "2,3 2,3 -> 2,3", 0, 12, 48, 24, alpha=2, in_place=1),
    # a number is no operand
    case(A + "mul", "2,3 -> 2,3", 0, 6, 24, 24, other=2),
    # complex: 4 products, 2 sums; 8 bytes each
    case(A + "mul", "c64:2,3 c64:2,3 -> c64:2,3", 0, 36, 96, 48),
    case(A + "add", "c64:2,3 c64:2,3 -> c64:2,3", 0, 12, 96, 48, alpha=1),
    # divide, round
    case(A + "div", "2,3 2,3 -> 2,3", 0, 12, 48, 24, rounding_mode="floor"),
    case(A + "div", "2,3 2,3 -> 2,3", 0, 6, 48, 24),
    case(A + "pow", "2,3 -> 2,3", 0, 6, 24, 24, exponent=2),
    case(A + "rsqrt", "2,1 -> 2,1", 0, 2, 8, 8),
    # one select; masks are bytes
    case(A + "where", "bool:2,3 2,3 () -> 2,3", 0, 6, 6 + 24 + 4, 24),
    case(A + "masked_fill", "2,3 bool:3 -> 2,3", 0, 6, 24 + 3, 24, value=0),
    # one bound, two bounds, two tensors of which one is omitted
    case(A + "clamp", "2,3 -> 2,3", 0, 6, 24, 24, min=0),
    case(A + "clamp", "2,3 -> 2,3", 0, 12, 24, 24, min=0, max=6),
    case(A + "clamp", "2,3 - 3 -> 2,3", 0, 6, 36, 24),
    case(A + "clamp_min", "2,3 -> 2,3", 0, 6, 24, 24, min=0),
    # subtract, multiply, add
    case(A + "lerp", "2,3 2,3 -> 2,3", 0, 18, 48, 24, weight=0.5),
    # multiply, add; and the value
    case(A + "addcmul", "2,3 2,3 2,3 -> 2,3", 0, 12, 72, 24, value=1),
    case(A + "addcdiv_", "2,3 2,3 2,3 -> 2,3", 0, 18, 72, 24, value=-0.1),
    # 6 by 4 comparisons
    case(A + "isin", "i64:2,3 i64:4 -> bool:2,3", 0, 24, 80, 6),
    case(A + "isin", "i64:2,3 -> bool:2,3", 0, 6, 48, 6, test_element=1),
    case(A + "eq", "i64:2,3 -> bool:2,3", 0, 6, 48, 6, other=0),
    case(A + "cumsum", "2,3 -> 2,3", 0, 6, 24, 24, dim=1),
    case(A + "cummax", "2,3 -> 2,3 i64:2,3", 0, 6, 24, 24 + 48, dim=1),
    # maximum, difference, exp, log1p, add
    case(A + "logcumsumexp", "2,3 -> 2,3", 0, 30, 24, 24, dim=1),
    # cosine, sine, two products; pairs of floats written
    case(A + "polar", "2,3 2,3 -> c64:2,3", 0, 24, 48, 48),
    case(A + "complex", "2,3 2,3 -> c64:2,3", 0, 0, 48, 48),
    # the lists one by one: 6 + 4 elements
    case(A + "_foreach_add", "2,3 4 -> 2,3 4", 0, 10, 40, 40, self=2, scalar=1),
    # in place nothing is returned, but written
    case(A + "_foreach_mul_", "2,3 4 2,3 4 ->", 0, 10, 80, 40, self=2, other=2),
    case(A + "_foreach_zero_", "2,3 4 ->", 0, 0, 0, 40, self=2),
    case(A + "_foreach_copy_", "2,3 4 2,3 4 ->", 0, 0, 40, 40, self=2, src=2),
    # square, sum; a root each
    case(A + "_foreach_norm", "2,3 4 -> () ()", 0, 22, 40, 8, self=2, ord=2),
    # Adam over one weight of 6: weight, gradient and both moments are read and written; the step is read
    case(A + "_fused_adam_", "2,3 2,3 2,3 2,3 () ->", 0, 84, 100, 96, self=1),
    # erf: 5; tanh: 8
    case(A + "gelu", "2,3 -> 2,3", 0, 30, 24, 24, approximate="none"),
    case(A + "gelu", "2,3 -> 2,3", 0, 48, 24, 24, approximate="tanh"),
    case(A + "silu", "2,3 -> 2,3", 0, 30, 24, 24),
    # one half times the sigmoid of the other: twice as much read as written
    case(A + "glu", "2,6 -> 2,3", 0, 30, 48, 24, dim=-1),
    # exp, add, log; and beta twice
    case(A + "softplus", "2,3 -> 2,3", 0, 18, 24, 24, beta=1),
    case(A + "softplus", "2,3 -> 2,3", 0, 30, 24, 24, beta=2),
    # subtract, divide, log; two bounds
    case(A + "logit", "2,3 -> 2,3", 0, 30, 24, 24, eps=0.1),
    # max, subtract, exp, sum, divide
    case(A + "softmax", "b,12,s,s -> b,12,s,s", 0, "60*b*s**2", "48*b*s**2", "48*b*s**2", dim=-1),
    # and a comparison and select for rows without a score
    case(A + "_safe_softmax", "2,3 -> 2,3", 0, 42, 24, 24, dim=-1),
    # compare and select
    case(A + "threshold_backward", "2,3 2,3 -> 2,3", 0, 6, 48, 24, threshold=0),
    # product, sum, difference, product
    case(A + "_softmax_backward_data", "2,3 2,3 -> 2,3", 0, 24, 48, 24, dim=1),
    case(A + "relu", "2,3 -> 2,3", 0, 6, 24, 24),
    # two comparisons, add
    case(A + "softshrink", "2,3 -> 2,3", 0, 18, 24, 24),
    # 5 and the mask
    case(A + "_masked_softmax", "2,3 bool:2,3 -> 2,3", 0, 36, 30, 24),
    # compare, multiply; in training a slope is drawn
    case(A + "rrelu_with_noise", "2,3 2,3 -> 2,3", 0, 12, 24, 24),
    case(A + "rrelu_with_noise", "2,3 2,3 -> 2,3", 0, 24, 24, 24, training=1),
    # divide, round
    case(A + "floor_divide", "2,3 2,3 -> 2,3", 0, 12, 48, 24),
    # |a - b| <= atol + rtol * |b|
    case(A + "isclose", "2,3 2,3 -> bool:2,3", 0, 36, 48, 6),
    case(A + "allclose", "2,3 2,3 ->", 0, 36, 48, 0),
    case(A + "equal", "2,3 2,3 ->", 0, 6, 48, 0),
    case(A + "special_hermite_polynomial_h", "2,3 -> 2,3", 0, 6, 24, 24, n=3),
    # a difference and a division of each
    case(A + "gradient", "2,3 -> 2,3 2,3", 0, 24, 24, 48),
    # neighbours summed, scaled, accumulated
    case(A + "trapezoid", "2,5 -> 2", 0, 30, 40, 8),
    # 2, 3 and 4 for each of 6 + 4 elements; the greatest of each list
    case(A + "_foreach_addcmul", "2,3 4 2,3 4 2,3 4 -> 2,3 4", 0, 20, 120, 40, self=2),
    case(A + "_foreach_lerp", "2,3 4 2,3 4 -> 2,3 4", 0, 30, 80, 40, self=2, weight=0.5),
    case(A + "_foreach_sigmoid", "2,3 4 -> 2,3 4", 0, 40, 40, 40, self=2),
    case(A + "_foreach_max", "2,3 4 -> () ()", 0, 10, 40, 8, self=2),
    # compare, multiply
    case(
        A + "_amp_foreach_non_finite_check_and_unscale_",
        "2,3 4 () () ->",
        *(0, 20, 48, 40),
        self=2,
        in_place=1,
    ),
    case(A + "_amp_update_scale_", "() i32:() () -> ()", 0, 2, 12, 4),
    # decayed gradient 2, square and sum 2, root and epsilon 2, step 3
    case(A + "_fused_adagrad_", "2,3 2,3 2,3 () ->", 0, 54, 76, 72, self=1),
    # decayed gradient 2, momentum 3, step 2
    case(A + "_fused_sgd_", "2,3 2,3 2,3 ->", 0, 42, 72, 72, self=1),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()
