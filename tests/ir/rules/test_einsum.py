from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_opt.ir.rules import lookup
from tests.ir.rules.table import Case, case, op_of, work_of

CASES = [
    case("Einsum", "2,3 3,4 -> 2,4", 48, 0, 72, 32, equation="ij,jk->ik"),
    case("Einsum", "5,2,3 5,3,4 -> 5,2,4", 240, 0, 360, 160, equation="bij, bjk -> bik"),
    # the result is implied: i and k occur once
    case("Einsum", "2,3 3,4 -> 2,4", 48, 0, 72, 32, equation="ij,jk"),
    # the ellipsis holds [5] and [6,5], aligned at the right
    case("Einsum", "5,2,3 6,5,3,4 -> 6,5,2,4", 1440, 0, 1560, 960, equation="...ij,...jk->...ik"),
    # a broadcast 1 is no batch of its own
    case("Einsum", "1,2,3 5,3,4 -> 5,2,4", 240, 0, 24 + 240, 160, equation="bij,bjk->bik"),
    case(
        "Einsum",
        "b,s,12,64 b,t,12,64 -> b,12,s,t",
        "1536*b*s*t",
        0,
        "3072*b*s + 3072*b*t",
        "48*b*s*t",
        equation="bqhd,bkhd->bhqk",
    ),
    # inner product: 3 multiply-adds
    case("Einsum", "3 3 -> ()", 6, 0, 24, 4, equation="i,i"),
    # outer and elementwise products: one FLOP each
    case("Einsum", "3 4 -> 3,4", 0, 12, 28, 48, equation="i,j->ij"),
    case("Einsum", "3,4 3,4 -> 3,4", 0, 12, 96, 48, equation="ij,ij->ij"),
    # one operand: a sum reads 6 and adds 6; a transposition and a diagonal only move
    case("Einsum", "2,3 -> 2", 0, 6, 24, 8, equation="ij->i"),
    case("Einsum", "2,3 -> 3,2", 0, 0, 24, 24, equation="ij->ji"),
    case("Einsum", "5,3,3 -> 5,3", 0, 0, 180, 60, equation="...ii->...i"),
    # a diagonal that is summed is a sum of 3
    case("Einsum", "3,3 -> ()", 0, 3, 36, 4, equation="ii"),
    # k belongs to one operand alone: summed first (12 additions), then 2*3 products over j
    case("Einsum", "2,3 3,4 -> 2", 12, 12, 72, 8, equation="ij,jk->i"),
    # left to right: (2x3 by 3x4) then (2x4 by 4x5)
    case("Einsum", "2,3 3,4 4,5 -> 2,5", 48 + 80, 0, 152, 40, equation="ij,jk,kl->il"),
    # bilinear form: 7x3 by [2,3,4], then a batched product over k
    case(
        "Einsum",
        "7,3 2,3,4 7,4 -> 7,2",
        2 * 7 * 3 * 8 + 2 * 7 * 2 * 4,
        0,
        4 * (21 + 24 + 28),
        56,
        equation="bi,oij,bj->bo",
    ),
]


@pytest.mark.parametrize("row", CASES, ids=lambda row: str(row.attributes["equation"]))
def test_counts(row: Case) -> None:
    row.check()


@pytest.mark.parametrize(
    ("equation", "signature", "kind"),
    [
        ("ij->ji", "2,3 -> 3,2", "copy"),
        ("ij->i", "2,3 -> 2", "reduction"),
        ("i,j->ij", "2 3 -> 2,3", "elementwise"),
        ("ij,jk->ik", "2,3 3,4 -> 2,4", "matmul"),
    ],
)
def test_kind(equation: str, signature: str, kind: str) -> None:
    assert work_of(op_of("Einsum", signature, equation=equation)).kind == kind


def test_attention_scores_are_a_batched_product() -> None:
    work = work_of(
        op_of("Einsum", "8,128,12,64 8,100,12,64 -> 8,12,128,100", equation="bqhd,bkhd->bhqk")
    )
    assert dict(work.sizes) == {"b": 96, "m": 128, "n": 100, "k": 64}


@pytest.mark.parametrize(
    ("equation", "signature"),
    [
        ("ij,jk", "2,3 -> 2"),
        ("ij->i", "2,3,4 -> 2"),
        ("ij->x", "2,3 -> 2"),
        ("i1->i", "2,3 -> 2"),
        ("", "2 -> 2"),
        ("i..->i", "2,3 -> 2"),
        ("...i->i", "() -> ()"),
    ],
)
def test_equations_that_do_not_fit_are_refused(equation: str, signature: str) -> None:
    op = op_of("Einsum", signature, equation=equation)
    entry = lookup("", "Einsum")
    assert entry is not None
    with pytest.raises(ValueError, match="einsum"):
        entry.rule(op)


@given(st.data())
def test_a_contraction_is_twice_the_products_that_numpy_sums(data: st.DataObject) -> None:
    roles = {"a": "summed"} | {
        letter: data.draw(st.sampled_from(["left", "right", "batch", "summed"]))
        for letter in "bcdE"
    }
    sizes = {letter: data.draw(st.integers(2, 3)) for letter in roles}
    left, right, result = (
        data.draw(st.permutations([letter for letter, role in roles.items() if role in kinds]))
        for kinds in (
            ("left", "batch", "summed"),
            ("right", "batch", "summed"),
            ("left", "right", "batch"),
        )
    )
    equation = f"{''.join(left)},{''.join(right)}->{''.join(result)}"
    shapes = [tuple(sizes[letter] for letter in term) for term in (left, right)]
    y = np.einsum(
        equation, *(np.ones(shape) for shape in shapes)
    )  # each element: how many terms it sums
    text = " ".join(",".join(map(str, shape)) for shape in shapes)
    work = work_of(
        op_of("Einsum", f"{text} -> {','.join(map(str, y.shape)) or '()'}", equation=equation)
    )
    assert work.matmul_flops == 2 * y.sum()
    assert work.other_flops == 0
