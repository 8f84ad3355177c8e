from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case, op_of, work_of

A = "aten::"

CASES = [
    # a view where the memory is in order, else a copy
    case(A + "reshape", "2,6 -> 3,4", 0, 0, 0, 0, is_view=1),
    case(A + "reshape", "2,6 -> 3,4", 0, 0, 48, 48, is_view=0),
    case(A + "contiguous", "b,s,12,64 -> b,s,12,64", 0, 0, "3072*b*s", "3072*b*s", is_view=0),
    case(A + "clone", "2,6 -> 2,6", 0, 0, 48, 48),
    # a conversion is one operation; the type's donor is not read
    case(A + "to", "2,6 -> f16:2,6", 0, 12, 48, 24),
    case(A + "to", "2,6 -> 2,6", 0, 0, 0, 0, is_view=1),
    case(A + "to", "2,6 -> 2,6", 0, 0, 48, 48, copy=1),
    case(A + "type_as", "2,6 f16:9 -> f16:2,6", 0, 12, 48, 24),
    case(A + "_to_copy", "i64:2,6 -> 2,6", 0, 12, 96, 48),
    # what is overwritten is not read
    case(A + "copy_", "2,6 6 -> 2,6", 0, 0, 24, 48, in_place=1),
    case(A + "copy_", "f16:2,6 2,6 -> f16:2,6", 0, 12, 48, 24, in_place=1),
    case(A + "cat", "2,3 2,5 -> 2,8", 0, 0, 64, 64, tensors=2),
    case(A + "repeat", "2,3 -> 4,3", 0, 0, 24, 48),
    case(A + "repeat_interleave", "2,3 i64:2 -> 5,3", 0, 0, 40, 60),
    case(A + "roll", "2,3 -> 2,3", 0, 0, 24, 24),
    case(A + "pad", "2,3 -> 4,5", 0, 0, 24, 80),
    # cut: the rest is not touched
    case(A + "constant_pad_nd", "2,9 -> 2,3", 0, 0, 24, 24),
    case(A + "tril", "3,3 -> 3,3", 0, 0, 36, 36),
    case(A + "diag", "3,3 -> 3", 0, 0, 12, 12),
    case(A + "diag", "3 -> 3,3", 0, 0, 12, 36),
    case(A + "slice_copy", "9,3 -> 2,3", 0, 0, 24, 24),
    case(A + "unbind_copy", "2,3 -> 3 3", 0, 0, 24, 24),
    # zeros of 9 by 3, 2 by 3 of them written again
    case(A + "slice_backward", "2,3 -> 9,3", 0, 0, 24, 24 + 108),
    # 6 rows of 4 into a batch of 2 by 5
    case(A + "to_padded_tensor", "6,4 -> 2,5,4", 0, 0, 96, 160),
]

VIEWS = """
view permute transpose t expand slice select unsqueeze squeeze split chunk unbind narrow movedim swapaxes diagonal
unfold as_strided alias detach lift_fresh view_as_real real expand_as unflatten squeeze_ t_ detach_
"""


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


@pytest.mark.parametrize("name", VIEWS.split())
def test_views_move_nothing(name: str) -> None:
    work = work_of(op_of(A + name, "2,6 -> 2,6"))
    assert (work.kind, work.bytes_read, work.bytes_written) == ("view", 0, 0)


def test_a_conversion_is_arithmetic_and_a_copy_is_not() -> None:
    assert work_of(op_of(A + "to", "2,6 -> f16:2,6")).kind == "elementwise"
    assert work_of(op_of(A + "to", "2,6 -> 2,6")).kind == "copy"
