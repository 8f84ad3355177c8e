from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case, op_of, work_of

MS = "com.microsoft::"

CASES = [
    # the 10 rows named, 3072 bytes each, and their ids; not the 94 MB table
    case("Gather", "30522,768 i64:2,5 -> 2,5,768", 0, 0, 30720 + 80, 30720),
    case("Gather", "30522,768 i64:b,s -> b,s,768", 0, 0, "3080*b*s", "3072*b*s"),
    case("GatherElements", "9,9 i64:2,3 -> 2,3", 0, 0, 24 + 48, 24),
    case("GatherND", "9,9,7 i64:2,2 -> 2,7", 0, 0, 56 + 32, 56),
    # 4-bit rows: 5 * 64 / 2 bytes, a scale for every 32 elements, 5 ids; one product each
    case(
        MS + "GatherBlockQuantized",
        "i4:100,64 i64:5 100,2 -> 5,64",
        0,
        320,
        160 + 40 + 40,
        1280,
        bits=4,
        block_size=32,
    ),
    # a zero point is subtracted too
    case(
        MS + "GatherBlockQuantized",
        "u8:100,64 i64:5 100,2 u8:100,2 -> 5,64",
        *(0, 640, 320 + 40 + 40, 1280),
        bits=8,
        block_size=32,
    ),
    # what is kept: 2 * 10 floats of 2 * 100
    case("Slice", "2,100 i64:1 i64:1 -> 2,10", 0, 0, 80, 80),
    case("Split", "2,6 i64:2 -> 2,4 2,2", 0, 0, 48, 48),
    case("Concat", "2,3 2,5 -> 2,8", 0, 0, 64, 64),
    case("Pad", "2,3 i64:4 () -> 4,5", 0, 0, 24, 80),
    case("Expand", "1,3 i64:2 -> 4,3", 0, 0, 12, 48),
    case("Tile", "2,3 i64:2 -> 4,3", 0, 0, 24, 48),
    case("Transpose", "b,s,12,64 -> b,12,s,64", 0, 0, "3072*b*s", "3072*b*s", perm=[0, 2, 1, 3]),
    # a dim of 1 changes places: the memory is the same
    case("Transpose", "b,1,12,64 -> b,12,1,64", 0, 0, 0, 0, perm=[0, 2, 1, 3]),
    case("Transpose", "2,3 -> 3,2", 0, 0, 24, 24),
    case("Reshape", "2,6 i64:2 -> 3,4", 0, 0, 0, 0),
    case("Identity", "2,6 -> 2,6", 0, 0, 0, 0),
    case("Dropout", "2,6 -> 2,6 bool:2,6", 0, 0, 0, 0),
    # training: compare, scale, multiply
    case("Dropout", "2,6 () bool:()=1 -> 2,6 bool:2,6", 0, 36, 48 + 4 + 1, 48 + 12),
    case("Constant", "-> 2,6", 0, 0, 0, 0, value=0),
    case("Shape", "2,6 -> i64:2", 0, 0, 0, 16),
    case("ConstantOfShape", "i64:2 -> 4,5", 0, 0, 0, 80),
    case("EyeLike", "4,4 -> 4,4", 0, 0, 0, 64),
    case("Range", "i64:() i64:() i64:() -> i64:7", 0, 14, 0, 56),
    # data 9*7 copied, then 2 rows of 7 written over it; indices 2*8 bytes
    case("ScatterND", "9,7 i64:2,1 2,7 -> 9,7", 0, 0, 252 + 16 + 56, 252 + 56),
    # adding reads what it updates and adds 14 times
    case(
        "ScatterND", "9,7 i64:2,1 2,7 -> 9,7", 0, 14, 252 + 16 + 56 + 56, 252 + 56, reduction="add"
    ),
    case("ScatterElements", "9,7 i64:2,3 2,3 -> 9,7", 0, 0, 252 + 48 + 24, 252 + 24),
    # the cache is updated in place: 2*8*1*64 new elements
    case("TensorScatter", "2,8,1024,64 2,8,1,64 i64:2 -> 2,8,1024,64", 0, 0, 4096 + 16, 4096),
    case("OneHot", "i64:5 i64:() 2 -> 5,10", 0, 0, 40, 200),
    case("Compress", "9,7 bool:9 -> 3,7", 0, 0, 84 + 9, 84),
    case("NonZero", "3,3 -> i64:2,p", 0, 9, 36, "16*p"),
    # 8 * log2 8 comparisons in each of 2 rows
    case("TopK", "2,8 i64:1 -> 2,3 i64:2,3", 0, 48, 64, 24 + 48),
    case("TopK", "3,5 i64:1 -> 1,5 i64:1,5", 0, 30, 60, 60, axis=0),
    # 4 boxes of 2 classes: sort 8 * log2 4, an overlap of 12 each
    case(
        "NonMaxSuppression", "1,4,4 1,2,4 i64:() () -> i64:p,3", 0, 16 + 96, 64 + 32 + 8 + 4, "24*p"
    ),
    case("SequenceConstruct", "2,3 2,3 -> ?", 0, 0, 0, 0),
    # the parts are copied out
    case("ConcatFromSequence", "? -> 4,3", 0, 0, 48, 48),
    case("If", "bool:() -> 4,3", 0, 0, 0, 0),
    # results are copied when the loop ends
    case("Loop", "i64:() bool:() 4,3 -> 4,3 9,3", 0, 0, 156, 156),
    case("Scan", "4,3 9,3 -> 4,3 9,3", 0, 0, 0, 0),
    # 3 of 8 rows of 4 remain
    case(
        MS + "RemovePadding",
        "2,4,4 i32:2 -> 3,4 i32:2,4 i32:3 i32:1",
        0,
        0,
        48 + 8,
        48 + 32 + 12 + 4,
    ),
    case("SpaceToDepth", "1,2,4,4 -> 1,8,2,2", 0, 0, 128, 128, blocksize=2),
    case("MaxUnpool", "1,1,2,2 i64:1,1,2,2 -> 1,1,4,4", 0, 0, 48, 64),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


@pytest.mark.parametrize(
    "name",
    ["Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout", "SequenceAt", "Constant"],
)
def test_views_move_nothing(name: str) -> None:
    assert work_of(op_of(name, "2,6 -> 2,6")).kind == "view"


def test_a_top_k_over_a_named_dim_is_that_of_its_value() -> None:
    named = work_of(op_of("TopK", "2,s i64:1 -> 2,3 i64:2,3")).other_flops
    for size in (1, 2, 3, 8, 9, 1000, 1024, 65536):
        assert (
            named.subs(dict.fromkeys(named.free_symbols, size))
            == work_of(op_of("TopK", f"2,{size} i64:1 -> 2,3 i64:2,3")).other_flops
        )
