from __future__ import annotations

import math

import pytest

from tests.ir.rules.table import Case, case, op_of, work_of

A = "aten::"

CASES = [
    case(A + "sum", "2,3,4 -> 2,3", 0, 24, 96, 24, dim=(2,)),
    # a sum per element, a division per result
    case(A + "mean", "b,s,768 -> b,s,1", 0, "769*b*s", "3072*b*s", "4*b*s", dim=(-1,)),
    # sum, subtract, square, sum: 4 * 24; a division, a root, a mean for each of 6
    case(A + "var", "2,3,4 -> 2,3", 0, 96 + 6, 96, 24, dim=(2,)),
    case(A + "std", "2,3,4 -> 2,3", 0, 96 + 12, 96, 24, dim=(2,)),
    case(A + "var_mean", "2,3,4 -> 2,3 2,3", 0, 96 + 12, 96, 48, dim=(2,)),
    case(A + "max", "2,3 -> ()", 0, 6, 24, 4),
    # values and their places
    case(A + "max", "2,3 -> 2 i64:2", 0, 6, 24, 8 + 16, dim=1),
    # two tensors: no reduction
    case(A + "max", "2,3 2,3 -> 2,3", 0, 6, 48, 24),
    case(A + "aminmax", "2,3 -> () ()", 0, 12, 24, 8),
    case(A + "any", "bool:2,3 -> bool:()", 0, 6, 6, 1),
    # max, subtract, exp, sum; log, add
    case(A + "logsumexp", "2,3,4 -> 2,3", 0, 96 + 12, 96, 24, dim=(2,)),
    # square, sum; root. absolute, sum. absolute, maximum. absolute, power, sum; root
    case(A + "linalg_vector_norm", "2,3 -> ()", 0, 13, 24, 4, ord=2),
    case(A + "linalg_vector_norm", "2,3 -> ()", 0, 12, 24, 4, ord=1),
    case(A + "linalg_vector_norm", "2,3 -> ()", 0, 12, 24, 4, ord=math.inf),
    case(A + "norm", "2,3 -> ()", 0, 19, 24, 4, p=3),
    # x1[4, 5, 8] with x2[5, 8]: 20 triples of dot products of 8 multiply-adds, and 6 more each
    case(A + "cosine_similarity", "4,5,8 5,8 -> 4,5", 0, 20 * 48 + 20 * 6, 800, 80, dim=-1),
    case(A + "cosine_similarity", "1,5,8 4,1,8 -> 4,5", 0, 20 * 48 + 20 * 6, 288, 80, dim=-1),
    # 4 per element of 3 pairs of 5, a root each
    case(A + "pairwise_distance", "3,5 3,5 -> 3", 0, 63, 120, 12, p=2),
    # 6 pairs of 4 rows of 5: subtract, power, sum; a root
    case(A + "_pdist_forward", "4,5 -> 6", 0, 96, 80, 24, p=2),
    # 9 products of rows of 5
    case(A + "cov", "3,5 -> 3,3", 0, 90, 60, 36),
    case(A + "segment_reduce", "6 i64:2 -> 2", 0, 6, 40, 8),
    # compare, add; a division
    case(A + "count_nonzero", "2,3 -> i64:()", 0, 12, 24, 8),
    case(A + "nanmean", "2,3 -> ()", 0, 13, 24, 4),
    # square, sum; root
    case(A + "frobenius_norm", "2,3 -> ()", 0, 13, 24, 4),
    # subtract, scale, add
    case(A + "histc", "2,3 -> 10", 0, 18, 24, 40),
    # subtract, power, sum; root
    case(A + "dist", "2,3 2,3 -> ()", 0, 19, 48, 4, p=2),
    # 4 * 24; a division, a root and a mean for each of 6
    case(A + "std_mean", "2,3,4 -> 2,3 2,3", 0, 96 + 18, 96, 48, dim=(2,)),
    # square, sum, multiply
    case(A + "renorm", "2,3 -> 2,3", 0, 18, 24, 24, p=2),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


def test_the_larger_of_two_is_elementwise_and_the_largest_of_all_a_reduction() -> None:
    assert work_of(op_of("aten::max", "2,3 2,3 -> 2,3")).kind == "elementwise"
    assert work_of(op_of("aten::max", "2,3 -> ()")).kind == "reduction"
