from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case

A = "aten::"

CASES = [
    # 8 * log2 8 comparisons in each of 2 rows
    case(A + "topk", "2,8 -> 2,3 i64:2,3", 0, 48, 64, 24 + 48, dim=-1),
    case(A + "sort", "2,8 -> 2,8 i64:2,8", 0, 48, 64, 64 + 128, dim=-1),
    # 3 rounded up to 4: 2 levels in each of 5 columns
    case(A + "argsort", "3,5 -> i64:3,5", 0, 30, 60, 120, dim=0),
    case(A + "msort", "8,2 -> 8,2", 0, 48, 64, 64),
    # all 16 elements: 4 levels
    case(A + "median", "2,8 -> ()", 0, 64, 64, 4),
    case(A + "median", "2,8 -> 2 i64:2", 0, 48, 64, 24, dim=1),
    # and an interpolation per result
    case(A + "quantile", "2,8 -> 2", 0, 48 + 6, 64, 8, dim=1),
    case(A + "_unique2", "i64:8 -> i64:4 i64:8 i64:4", 0, 24, 64, 128),
    # 3 results, 3 levels of 8 boundaries
    case(A + "searchsorted", "8 3 -> i64:3", 0, 9, 44, 24),
    case(A + "bucketize", "3 8 -> i64:3", 0, 9, 44, 24),
    case(A + "bucketize", "8 -> i64:()", 0, 3, 32, 8, self=0.5),
    # a sort of 4 boxes, an overlap of 12 each
    case("torchvision::nms", "4,4 4 -> i64:p", 0, 8 + 48, 80, "8*p", iou_threshold=0.5),
    # each compared with the one before
    case(A + "unique_consecutive", "i64:8 -> i64:4 i64:8 i64:4", 0, 8, 64, 128),
    # 2 levels of 4 bins and a sum; least and greatest
    case(A + "histogram", "8 -> 4 5", 0, 24, 32, 16 + 20),
    case(A + "_histogramdd_bin_edges", "8,2 -> 5 5", 0, 32, 64, 40),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()
