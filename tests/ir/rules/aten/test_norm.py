from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case

A = "aten::"

CASES = [
    # sum, subtract, square, sum, multiply; gain, bias: 7
    case(
        A + "layer_norm", "b,s,768 768 768 -> b,s,768", 0, "5376*b*s", "3072*b*s + 6144", "3072*b*s"
    ),
    # neither gain nor bias, then a bias alone
    case(A + "layer_norm", "2,3 -> 2,3", 0, 30, 24, 24, normalized_shape=(3,)),
    case(A + "layer_norm", "2,3 - 3 -> 2,3", 0, 36, 36, 24, normalized_shape=(3,)),
    # means and deviations are written too
    case(A + "native_layer_norm", "2,3 3 3 -> 2,3 2,1 2,1", 0, 42, 48, 24 + 16),
    case(A + "group_norm", "1,4,2 4 4 -> 1,4,2", 0, 56, 64, 32, num_groups=2),
    case(A + "native_group_norm", "1,4,2 4 4 -> 1,4,2 1,2 1,2", 0, 56, 64, 48, group=2),
    # square, sum, multiply; gain
    case(A + "rms_norm", "2,3 3 -> 2,3", 0, 24, 36, 24),
    case(A + "rms_norm", "2,3 -> 2,3", 0, 18, 24, 24),
    # subtract, multiply, scale, shift
    case(A + "batch_norm", "2,3,4 3 3 3 3 -> 2,3,4", 0, 96, 96 + 48, 96, training=0),
    # sum, square, sum besides
    case(A + "batch_norm", "2,3,4 3 3 3 3 -> 2,3,4", 0, 168, 96 + 48, 96, training=1),
    # no gain, no bias
    case(A + "batch_norm", "2,3,4 - - 3 3 -> 2,3,4", 0, 48, 96 + 24, 96, training=0),
    case(A + "_native_batch_norm_legit_no_training", "2,3,4 3 3 3 3 -> 2,3,4 0 0", 0, 96, 144, 96),
    # without running statistics, those of the batch
    case(A + "_native_batch_norm_legit", "2,3,4 3 3 -> 2,3,4 3 3", 0, 168, 120, 120, training=0),
    # square, sum, multiply; the norms are read
    case(A + "_weight_norm", "8,5 8,1 -> 8,5", 0, 120, 192, 160, dim=0),
    # normalise 2, gain 1, two sums of products 4, gradient 4, sums for gain and bias 2: 13
    case(
        A + "native_layer_norm_backward",
        "2,3 2,3 2,1 2,1 3 3 -> 2,3 3 3",
        *(0, 78, 24 + 24 + 16 + 24, 24 + 24),
    ),
    case(A + "_batch_norm_with_update", "2,3,4 3 3 3 3 -> 2,3,4 3 3 0", 0, 168, 96 + 48, 96 + 24),
    # sum, square, sum; joining them reads them alone
    case(A + "batch_norm_stats", "2,3,4 -> 3 3", 0, 72, 96, 24),
    case(A + "batch_norm_gather_stats", "2,3,4 2,3 2,3 3 3 -> 3 3", 0, 0, 48 + 24, 24),
    # 72 sums of a bias, 24 queries scaled
    case(
        A + "_transform_bias_rescale_qkv",
        "2,3,12 12 -> 2,2,3,2 2,2,3,2 2,2,3,2",
        *(0, 96, 288 + 48, 288),
    ),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()
