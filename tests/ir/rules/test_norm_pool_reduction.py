from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case

MS = "com.microsoft::"

CASES = [
    # sum, subtract, square, sum, multiply, scale, shift: 7; gain and bias are 3072 bytes each
    case(
        "LayerNormalization",
        "b,s,768 768 768 -> b,s,768",
        0,
        "5376*b*s",
        "3072*b*s + 6144",
        "3072*b*s",
    ),
    case("LayerNormalization", "2,3 3 -> 2,3", 0, 36, 36, 24),
    # square, sum, multiply, scale
    case("RMSNormalization", "2,3 3 -> 2,3", 0, 24, 36, 24),
    case("SimplifiedLayerNormalization", "2,3 3 -> 2,3", 0, 24, 36, 24),
    # skip, bias, then 7; the sum is an output too
    case(MS + "SkipLayerNormalization", "2,3 2,3 3 3 3 -> 2,3 2 2 2,3", 0, 54, 84, 64),
    case(MS + "SkipSimplifiedLayerNormalization", "2,3 2,3 3 -> 2,3", 0, 30, 60, 24),
    case("GroupNormalization", "1,4,2 4 4 -> 1,4,2", 0, 56, 64, 32, num_groups=2),
    # silu is 5 more; a skip and its bias are 2 more
    case(MS + "GroupNorm", "1,2,2,4 4 4 -> 1,2,2,4", 0, 192, 96, 64, groups=2, activation=1),
    case(
        MS + "SkipGroupNorm", "1,2,2,4 4 4 1,2,2,4 4 -> 1,2,2,4 1,2,2,4", 0, 144, 176, 128, groups=2
    ),
    case("InstanceNormalization", "1,4,2 4 4 -> 1,4,2", 0, 56, 64, 32),
    # subtract, multiply, scale, shift; statistics are read from four vectors
    case("BatchNormalization", "2,3,4 3 3 3 3 -> 2,3,4", 0, 96, 144, 96),
    case("BatchNormalization", "2,3,4 3 3 3 3 -> 2,3,4 3 3", 0, 168, 144, 120, training_mode=1),
    # square, 4 sums, multiply, add, pow, divide
    case("LRN", "1,8,2,2 -> 1,8,2,2", 0, 288, 128, 128, size=5),
    # 10 tokens: 3 rows of 4 floats each, two sums of rows, then 7; ids 2 * 40, gain and bias 32
    case(
        MS + "EmbedLayerNormalization",
        "i32:2,5 i32:2,5 99,4 50,4 2,4 4 4 -> 2,5,4 i32:2",
        0,
        40 * 9,
        3 * 160 + 80 + 32,
        168,
    ),
    # log-softmax of 10 scores, 3 per label
    case("SoftmaxCrossEntropyLoss", "2,5 i64:2 -> ()", 0, 56, 40 + 16, 4),
    # only the 2 scores of the labels are read
    case("NegativeLogLikelihoodLoss", "2,5 i64:2 -> ()", 0, 6, 8 + 16, 4),
    case("ReduceSum", "2,3,4 i64:1 -> 2,3", 0, 24, 96, 24),
    case("ReduceMean", "b,s,768 i64:1 -> b,s,1", 0, "769*b*s", "3072*b*s", "4*b*s"),
    # square, sum; root
    case("ReduceL2", "2,3,4 -> 2,3", 0, 54, 96, 24),
    case("ReduceL1", "2,3,4 -> 2,3", 0, 48, 96, 24),
    # max, subtract, exp, sum; log, add
    case("ReduceLogSumExp", "2,3,4 -> 2,3", 0, 108, 96, 24),
    case("ArgMax", "2,3,4 -> i64:2,3", 0, 24, 96, 48),
    # LU of 5 matrices of 3x3: 2/3 * 27 each; inverses 2 * 27
    case("Det", "5,3,3 -> 5", 0, 90, 180, 20),
    case(MS + "Inverse", "5,3,3 -> 5,3,3", 0, 270, 180, 180),
    # 9 elements per result
    case(
        "MaxPool",
        "b,64,112,112 -> b,64,56,56",
        0,
        "1806336*b",
        "3211264*b",
        "802816*b",
        kernel_shape=[3, 3],
    ),
    case("AveragePool", "1,2,6 -> 1,2,3", 0, 12, 48, 24, kernel_shape=[2]),
    case("LpPool", "1,2,6 -> 1,2,3", 0, 30, 48, 24, kernel_shape=[2]),
    case("GlobalAveragePool", "2,3,4,4 -> 2,3,1,1", 0, 96, 384, 24),
    case(MS + "NhwcMaxPool", "u8:1,4,4,2 -> u8:1,2,2,2", 0, 32, 32, 8, kernel_shape=[2, 2]),
    # 4 taps: 4 products and 3 sums
    case("Resize", "1,3,4,4 - - i64:4 -> 1,3,8,8", 0, 7 * 192, 192, 768, mode="linear"),
    case("Resize", "1,3,4,4 - 4 -> 1,3,8,8", 0, 31 * 192, 192, 768, mode="cubic"),
    # nearest computes nothing; a smaller image reads what it keeps
    case("Resize", "1,3,4,4 - 4 -> 1,3,8,8", 0, 0, 192, 768, mode="nearest"),
    case("Resize", "1,3,8,8 - 4 -> 1,3,4,4", 0, 0, 192, 192, mode="nearest"),
    case("Upsample", "1,3,4 3 -> 1,3,8", 0, 72, 48, 96, mode="linear"),
    case("GridSample", "1,3,4,4 1,5,5,2 -> 1,3,5,5", 0, 7 * 75, 192 + 200, 300, mode="linear"),
    # 2x2 samples per bin: 4 * (7 + 1)
    case(
        "RoiAlign", "1,2,8,8 3,4 i64:3 -> 3,2,2,2", 0, 32 * 24, 512 + 48 + 24, 96, sampling_ratio=2
    ),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()
