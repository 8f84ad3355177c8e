"""Backward passes that torch has operators for: activations, losses, norms, pools, samplers, what was gathered."""

from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case

A = "aten::"
SAME = "2,3 2,3 -> 2,3"

CASES = [
    # compare, multiply
    case(A + "leaky_relu_backward", SAME, 0, 12, 48, 24),
    # square, subtract, multiply
    case(A + "tanh_backward", SAME, 0, 18, 48, 24),
    # sigmoid: exp, add, divide; multiply
    case(A + "softplus_backward", SAME, 0, 24, 48, 24),
    # two comparisons, divide, add, multiply
    case(A + "hardswish_backward", SAME, 0, 30, 48, 24),
    # sigmoid: exp, add, divide; 1 - s, times x, plus 1, times s, times g
    case(A + "silu_backward", SAME, 0, 48, 48, 24),
    # the same for both halves of 3 pairs
    case(A + "glu_backward", "1,3 1,6 -> 1,6", 0, 48, 36, 24),
    # erf, scale, sum, half, scale; square, exp, scale; multiply and add, multiply
    case(A + "gelu_backward", SAME, 0, 60, 48, 24),
    case(A + "infinitely_differentiable_gelu_backward", SAME, 0, 60, 48, 24),
    # tanh of softplus: exp, add, log, tanh; sigmoid: exp, add, divide, negate; 5 to join them
    case(A + "mish_backward", SAME, 0, 78, 48, 24),
    # difference, scale, gradient; two branches; x * (1 - x) and a division besides
    case(A + "mse_loss_backward", "() 2,5 2,5 -> 2,5", 0, 30, 84, 40),
    case(A + "smooth_l1_loss_backward", "() 2,5 2,5 -> 2,5", 0, 40, 84, 40),
    case(A + "binary_cross_entropy_backward", "() 2,5 2,5 -> 2,5", 0, 50, 84, 40),
    case(A + "multi_margin_loss_backward", "() 2,5 i64:2 -> 2,5", 0, 40, 4 + 40 + 16, 40),
    # zeros of 2 by 5, a gradient for each of 2 labels; the scores are not read
    case(A + "nll_loss_backward", "() 2,5 i64:2 - () -> 2,5", 0, 2, 4 + 16 + 4, 40 + 8),
    # 6 steps of 2 * 7 states, 9 FLOPs each; 3 for each of 60 scores
    case(A + "_ctc_loss_backward", "2 6,2,5 i64:2,3 2 6,2,7 -> 6,2,5", 0, 936, 640, 240),
    # 2 rows of 5 gradients added to 3
    case(A + "reflection_pad1d_backward", "1,2,5 1,2,3 -> 1,2,3", 0, 10, 40, 24),
    # 6 pairs of rows of 5: subtract, power, divide, multiply, add
    case(A + "_pdist_backward", "6 4,5 6 -> 4,5", 0, 150, 24 + 80 + 24, 80),
    case(A + "_segment_reduce_backward", "2 2 6 i64:2 -> 6", 0, 6, 8 + 8 + 24 + 16, 24),
    # two products, a sum, a division
    case(A + "cumprod_backward", "2,3 2,3 2,3 -> 2,3", 0, 24, 72, 24),
    case(A + "cummaxmin_backward", "2,3 2,3 i64:2,3 -> 2,3", 0, 6, 24 + 24 + 48, 24),
    # zeros of 9 by 4, then 6 rows of 4 added to the rows they meet
    case(
        A + "_embedding_bag_dense_backward",
        "2,4 i64:6 i64:6 i64:2 i64:0 -> 9,4",
        *(0, 24, 96 + 96 + 48 + 48 + 16, 144 + 96),
    ),
    # 6 dot products of 4
    case(
        A + "_embedding_bag_per_sample_weights_backward",
        "2,4 9,4 i64:6 i64:2 i64:6 -> 6",
        *(0, 48, 96 + 96, 24),
    ),
    # zeros, then 6 gradients added to what they meet: the table is not read, whatever comes before the indices
    case(A + "gather_backward", "2,3 9,9 i64:2,3 -> 9,9", 0, 6, 24 + 24 + 48, 324 + 24),
    case(A + "index_select_backward", "3,4 i64:3 -> 9,4", 0, 12, 48 + 48 + 24, 144 + 48),
    case(A + "masked_select_backward", "4 2,3 bool:2,3 -> 2,3", 0, 4, 16 + 16 + 6, 24 + 16),
    case(A + "masked_scatter_backward", "2,3 bool:2,3 -> 4", 0, 0, 24 + 6, 16),
    # normalise again 2, sum 1, sum of products 2, gradient 5: 10 for each of 24
    case(
        A + "native_batch_norm_backward",
        "2,3,4 2,3,4 3 - - 3 3 -> 2,3,4 3 3",
        *(0, 240, 192 + 36, 96 + 24),
    ),
    # the sums, then the gradient
    case(A + "batch_norm_backward_reduce", "2,3,4 2,3,4 3 3 3 -> 3 3 3 3", 0, 120, 192 + 36, 48),
    case(
        A + "batch_norm_backward_elemt",
        "2,3,4 2,3,4 3 3 3 3 3 i32:1 -> 2,3,4",
        *(0, 120, 192 + 60 + 4, 96),
    ),
    # normalise again 1, gain 1, a sum of products 2, gradient 4, a sum for the gain 1
    case(A + "_fused_rms_norm_backward", "2,3 2,3 2,1 3 -> 2,3 3", 0, 54, 24 + 24 + 8 + 12, 36),
    # every input gets its share of one gradient
    case(A + "_adaptive_avg_pool2d_backward", "1,2,2,2 1,2,4,4 -> 1,2,4,4", 0, 32, 32, 128),
    # places that are not given are looked for
    case(A + "max_pool2d_backward", "1,2,2,2 1,2,4,4 -> 1,2,4,4", 0, 8, 32 + 128, 128),
    # one sum; 4 products and 3 sums; 16 and 15, for each of 16 gradients
    case(A + "upsample_nearest2d_backward", "1,1,4,4 -> 1,1,2,2", 0, 16, 64, 16),
    case(A + "upsample_bilinear2d_backward", "1,1,4,4 -> 1,1,2,2", 0, 112, 64, 16),
    case(A + "upsample_bicubic2d_backward", "1,1,4,4 -> 1,1,2,2", 0, 496, 64, 16),
    # the image is twice as large: kernels of 4 along both dims, 4 products and 3 sums each
    case(A + "_upsample_bilinear2d_aa_backward", "1,3,4,4 -> 1,3,8,8", 0, 14 * 48, 192, 768),
    # 7 for the image and 7 for the grid
    case(
        A + "grid_sampler_2d_backward",
        "1,3,5,5 1,3,4,4 1,5,5,2 -> 1,3,4,4 1,5,5,2",
        *(0, 1050, 300 + 192 + 200, 192 + 200),
        interpolation_mode=0,
    ),
    # 2 products and 2 sums for each of 32 coordinates
    case(A + "affine_grid_generator_backward", "1,4,4,2 -> 1,2,3", 0, 128, 128, 24),
    case(
        A + "fake_quantize_per_tensor_affine_cachemask_backward",
        "2,3 bool:2,3 -> 2,3",
        *(0, 6, 30, 24),
    ),
    # quantise 4, dequantise 2; a product and a sum each for scale and zero point
    case(
        A + "_fake_quantize_learnable_per_tensor_affine_backward",
        "2,3 2,3 1 1 -> 2,3 1 1",
        *(0, 60, 56, 32),
    ),
    case(A + "_standard_gamma_grad", SAME, 0, 36, 48, 24),
    # mask, scale
    case(A + "native_dropout_backward", "2,3 bool:2,3 -> 2,3", 0, 12, 30, 24),
    # of a matrix of 6 by 6: 6 products of 2 * 216 and a solution of 8/3 * 216
    case(A + "matrix_exp_backward", "3,3 3,3 -> 3,3", 0, 2592 + 576, 72, 36),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()
