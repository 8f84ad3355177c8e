from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case, op_of, work_of

A = "aten::"
FALLBACK = "transformers::grouped_mm_fallback"

CASES = [
    # 32 rows over 4 experts of 16x8: 32*16*8 multiply-adds whoever meets them; all experts are read
    case(
        A + "_grouped_mm", "f16:32,16 f16:4,16,8 i32:4 -> f16:32,8", 8192, 0, 1024 + 1024 + 16, 512
    ),
    # 2 rows can meet 2 of 8 experts: a quarter of the weights
    case(FALLBACK, "2,16 8,16,8 i32:8 -> 2,8", 512, 0, 128 + 2 * 512 + 32, 64),
    # mixtral: 2 of 8 experts per token of s, 4096 to 2 * 14336; at most 8 experts are read
    case(
        FALLBACK,
        "f16:s,4096 f16:8,4096,28672 i32:8 -> f16:s,28672",
        "234881024*s",
        0,
        "8192*s + 32 + 234881024*Min(8, s)",
        "57344*s",
    ),
    case(
        A + "_grouped_mm", "32,16 4,16,8 i32:4 4,8 -> 32,8", 8192, 256, 2048 + 2048 + 16 + 128, 1024
    ),
    # groups of the depth (gradients of weights): a matrix each, together 2*16*32*8
    case(A + "_grouped_mm", "16,32 32,8 i32:4 -> 4,16,8", 8192, 0, 2048 + 1024 + 16, 2048),
    # groups of columns
    case(A + "_grouped_mm", "4,16,32 32,8 i32:4 -> 16,8", 8192, 0, 8192 + 1024 + 16, 512),
    # a batch
    case(A + "_grouped_mm", "4,2,3 4,3,5 -> 4,2,5", 240, 0, 4 * (24 + 60), 160),
    # one scale per result
    case(
        A + "_scaled_grouped_mm",
        "i8:32,16 i8:4,16,8 32 4,8 i32:4 -> f16:32,8",
        8192,
        256,
        512 + 512 + 128 + 128 + 16,
        512,
    ),
    case(
        A + "_scaled_grouped_mm_v2",
        "i8:32,16 i8:4,16,8 32 4,8 i32:4 f16:4,8 -> f16:32,8",
        8192,
        512,
        512 + 512 + 128 + 128 + 16 + 64,
        512,
        scale_a=1,
        scale_b=1,
    ),
    # x and grad in, weights of 4 experts; both gradients out
    case(
        "transformers::grouped_mm_fallback_backward",
        "32,16 4,16,8 i32:4 32,8 -> 32,16 4,16,8",
        16384,
        0,
        2048 + 2048 + 16 + 1024,
        4096,
    ),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


def test_rows_are_spread_evenly() -> None:
    # 7 rows over 4 experts: 2 each, rounded up
    work = work_of(op_of(A + "_grouped_mm", "7,16 4,16,8 i32:4 -> 7,8"))
    assert dict(work.sizes) == {"b": 4, "m": 2, "n": 8, "k": 16}
    few = work_of(op_of(A + "_grouped_mm", "3,16 4,16,8 i32:4 -> 3,8"))
    assert dict(few.sizes) == {"b": 3, "m": 1, "n": 8, "k": 16}
