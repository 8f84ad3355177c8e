"""What is made from nothing, what costs nothing, losses and quantisation."""

from __future__ import annotations

import pytest

from energy_opt.ir.signature import price, row
from tests.ir.rules.table import Case, case, op_of

A = "aten::"

CASES = [
    case(A + "zeros", "-> 2,6", 0, 0, 0, 48),
    case(A + "full_like", "2,6 -> 2,6", 0, 0, 0, 48),
    case(A + "new_zeros", "2,6 -> 3", 0, 0, 0, 12),
    case(A + "fill_", "2,6 () -> 2,6", 0, 0, 0, 48),
    # start + i * step
    case(A + "arange", "-> i64:7", 0, 14, 0, 56),
    case(A + "hann_window", "-> 8", 0, 32, 0, 32),
    case(A + "empty", "-> 2,6", 0, 0, 0, 0),
    case(A + "empty_like", "2,6 -> 2,6", 0, 0, 0, 0),
    case(A + "item", "() ->", 0, 0, 4, 0),
    case(A + "_assert_async", "bool:() ->", 0, 0, 0, 0),
    # its bodies are rows of their own
    case("higher_order::cond", "bool:() 2,3 -> 2,3", 0, 0, 0, 0),
    # log-softmax of 10 scores, 3 per label
    case(A + "cross_entropy_loss", "2,5 i64:2 -> ()", 0, 56, 56, 4),
    # probabilities of every class: a product and a sum each
    case(A + "cross_entropy_loss", "2,5 2,5 -> ()", 0, 70, 80, 4),
    # only the 2 scores of the labels are read
    case(A + "nll_loss", "2,5 i64:2 -> ()", 0, 6, 8 + 16, 4),
    # subtract, square; sum
    case(A + "mse_loss", "2,5 2,5 -> ()", 0, 30, 80, 4, reduction=1),
    case(A + "mse_loss", "2,5 2,5 -> 2,5", 0, 20, 80, 40, reduction=0),
    # 7 and the sum, 10 times
    case(A + "binary_cross_entropy_with_logits", "2,5 2,5 -> ()", 0, 80, 80, 4, reduction=1),
    # 6 steps of 2 * 7 states, 9 FLOPs each
    case(A + "ctc_loss", "6,2,5 i64:2,3 -> ()", 0, 756, 240 + 48, 4),
    case(A + "quantize_per_tensor", "2,6 -> i8:2,6", 0, 48, 48, 12, scale=0.1, zero_point=0),
    # quantise and dequantise
    case(A + "fake_quantize_per_tensor_affine", "2,6 -> 2,6", 0, 72, 48, 48),
    # and a power; two cosines, 4 products and a difference
    case(A + "logspace", "-> 8", 0, 24, 0, 32),
    case(A + "blackman_window", "-> 8", 0, 56, 0, 32),
    # logarithm, subtract, multiply; subtract, absolute, compare, square, scale; and the sum
    case(A + "kl_div", "2,5 2,5 -> ()", 0, 40, 80, 4, reduction=1),
    case(A + "smooth_l1_loss", "2,5 2,5 -> ()", 0, 60, 80, 4, reduction=1),
    # subtract, add, maximum, sum
    case(A + "multi_margin_loss", "2,5 i64:2 -> ()", 0, 40, 40 + 16, 4),
    # two distances of 4 each
    case(A + "triplet_margin_loss", "2,5 2,5 2,5 -> ()", 0, 80, 120, 4),
    # three dot products
    case(A + "cosine_embedding_loss", "2,5 2,5 2 -> ()", 0, 60, 88, 4),
    # min and max, then quantised; the range alone
    case(A + "quantize_per_tensor_dynamic", "2,6 -> i8:2,6", 0, 72, 48, 12),
    case(A + "_choose_qparams_per_tensor", "2,6 ->", 0, 24, 48, 0),
    case(A + "int_repr", "i8:2,6 -> i8:2,6", 0, 0, 12, 12),
    # quantise and dequantise; both ends compared for the mask, or the range found first
    case(A + "_fake_quantize_learnable_per_tensor_affine", "2,6 1 1 -> 2,6", 0, 72, 56, 48),
    case(A + "fake_quantize_per_tensor_affine_cachemask", "2,6 -> 2,6 bool:2,6", 0, 96, 48, 60),
    case(
        A + "_fused_moving_avg_obs_fq_helper",
        "2,6 i64:1 i64:1 1 1 1 1 -> 2,6 bool:2,6",
        *(0, 96, 48 + 16 + 16, 60),
    ),
]


@pytest.mark.parametrize("case_", CASES, ids=str)
def test_counts(case_: Case) -> None:
    case_.check()


@pytest.mark.parametrize("name", ["empty", "empty_like", "sym_size", "_assert_async", "detach"])
def test_what_starts_no_kernel(name: str) -> None:
    assert row(price(op_of(A + name, "2,6 -> 2,6")), []).kernels == 0


def test_memory_that_is_reserved_is_not_that_of_the_model_of_its_shape() -> None:
    # a view would be taken to share the memory of its input
    assert price(op_of(A + "empty_like", "2,6 -> 2,6")).kind != "view"
