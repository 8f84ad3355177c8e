from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case

A = "aten::"

CASES = [
    # the rows named, 3072 bytes each, and their ids; not the 94 MB table
    case(A + "embedding", "30522,768 i64:b,s -> b,s,768", 0, 0, "3080*b*s", "3072*b*s"),
    # 6 rows of 4 summed into 2 bags
    case(A + "embedding_bag", "9,4 i64:6 i64:2 -> 2,4 i64:0 i64:0 i64:0", 0, 24, 96 + 64, 32, mode=0),
    # a division per result; weights of samples are a product more
    case(A + "embedding_bag", "9,4 i64:6 i64:2 -> 2,4", 0, 32, 96 + 64, 32, mode=1),
    case(A + "embedding_bag", "9,4 i64:6 i64:2 6 -> 2,4", 0, 48, 96 + 64 + 24, 32, mode=0),
    case(A + "index_select", "9,4 i64:3 -> 3,4", 0, 0, 48 + 24, 48, dim=0),
    case(A + "gather", "9,9 i64:2,3 -> 2,3", 0, 0, 24 + 48, 24, dim=0),
    # indices of the second dim; a mask
    case(A + "index", "9,4 - i64:3 -> 9,3", 0, 0, 108 + 24, 108, indices=2),
    case(A + "index", "9,4 bool:9 -> 5,4", 0, 0, 80 + 9, 80, indices=1),
    case(A + "masked_select", "2,3 bool:2,3 -> 4", 0, 0, 16 + 6, 16),
    case(A + "nonzero", "3,3 -> i64:p,2", 0, 9, 36, "16*p"),
    # in place only what is named: 3 rows of 4 from one row
    case(A + "index_put_", "9,4 i64:3 4 -> 9,4", 0, 0, 24 + 16, 48, indices=1, in_place=1),
    # [2, 1] with [3]: 6 elements; summing reads them first
    case(
        A + "index_put_",
        "9,4 i64:2,1 i64:3 () -> 9,4",
        *(0, 6, 16 + 24 + 4 + 24, 24),
        indices=2,
        accumulate=1,
        in_place=1,
    ),
    # a mask is taken to be all true
    case(A + "index_put_", "9,4 bool:9 () -> 9,4", 0, 0, 9 + 4, 144, indices=1, in_place=1),
    case(A + "index_put_", "9,4 - i64:3 () -> 9,4", 0, 0, 24 + 4, 108, indices=2, in_place=1),
    # not in place, the rest is copied first
    case(A + "index_put", "9,4 i64:3 3,4 -> 9,4", 0, 0, 144 + 24 + 48, 144 + 48, indices=1),
    # a cache of 1024 of which one position is written
    case(A + "index_copy_", "2,8,1024,64 i64:1 2,8,1,64 -> 2,8,1024,64", 0, 0, 4104, 4096, dim=2, in_place=1),
    case(A + "index_add_", "9,4 i64:3 3,4 -> 9,4", 0, 12, 24 + 48 + 48, 48, dim=0, in_place=1),
    # 3 of 4 columns of 9 rows
    case(A + "index_fill_", "9,4 i64:3 -> 9,4", 0, 0, 24, 108, dim=1, value=0, in_place=1),
    case(A + "scatter", "9,7 i64:2,3 2,3 -> 9,7", 0, 0, 252 + 48 + 24, 252 + 24, dim=0),
    # one number for all; as many updates as indices, whatever the size of the source
    case(A + "scatter_", "9,7 i64:2,3 -> 9,7", 0, 0, 48, 24, dim=0, value=1, in_place=1),
    case(A + "scatter_", "9,7 i64:2,3 5,5 -> 9,7", 0, 0, 48 + 24, 24, dim=0, in_place=1),
    case(A + "scatter_add_", "9,7 i64:2,3 2,3 -> 9,7", 0, 6, 48 + 24 + 24, 24, dim=0, in_place=1),
    case(A + "slice_scatter", "9,7 2,7 -> 9,7", 0, 0, 252 + 56, 252 + 56, dim=0),
    case(A + "masked_scatter_", "2,3 bool:2,3 6 -> 2,3", 0, 12, 6 + 24, 24, in_place=1),
    case(A + "one_hot", "i64:5 -> i64:5,10", 0, 0, 40, 400),
    # zeros of 9 by 4, then 10 rows of 4 added: gradients and the rows they meet are read
    case(A + "embedding_dense_backward", "2,5,4 i64:2,5 -> 9,4", 0, 40, 320 + 80, 160 + 144),
    # 3 rows of 4: square, sum, multiply
    case(A + "embedding_renorm_", "9,4 i64:3 -> 9,4", 0, 36, 48 + 24, 48, in_place=1),
    # a copy of 36, then 12 values added to what they meet
    case(
        A + "_unsafe_masked_index_put_accumulate",
        "9,4 bool:3,4 i64:3 3,4 -> 9,4",
        *(0, 12, 144 + 12 + 24 + 48 + 48, 144 + 48),
        indices=1,
    ),
    case(A + "put_", "9,4 i64:3 3 -> 9,4", 0, 0, 24 + 12, 12, in_place=1),
    # 3 elements
    case(A + "fill_diagonal_", "4,3 -> 4,3", 0, 0, 0, 12, fill_value=0, in_place=1),
]  # fmt: skip


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()
