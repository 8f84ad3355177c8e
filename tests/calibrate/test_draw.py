"""Draws: every operator of the menu runs, is what the menu says, and stays within the means."""

from __future__ import annotations

import pytest

from energy_opt.calibrate.draw import CPU, Means, Sizes, draw, in_dtype
from energy_opt.calibrate.draw_ops import MENU

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("place", range(len(MENU)), ids=lambda i: f"{i}-{MENU[i][1]}")
def test_each_entry_is_an_operator_that_runs(place: int, seed: int) -> None:
    """torch itself says what shapes and types come out, and whether the arguments are right."""
    from energy_opt.calibrate.random_tensors import bound, contiguous, dtype_of

    _, kind, maker = MENU[place]
    primitive = maker(Sizes(seed, "float32", CPU))
    assert primitive.row.kind == kind
    assert primitive.row.modelled

    def meta(spec, written):
        strides = spec.strides or contiguous(spec.shape)
        return torch.empty_strided(spec.shape, strides, dtype=dtype_of(spec.dtype), device="meta")

    function, positional, named = bound(primitive, meta)
    made = function(*positional, **named)
    assert tuple(made.shape) == primitive.outputs[0].shape
    assert str(made.dtype) == f"torch.{primitive.outputs[0].dtype}"


def test_draws_are_distinct_and_within_the_means() -> None:
    means = Means(flops=1e8, nbytes=4e6, batch=2)
    found = draw(240, means=means)
    assert len({primitive.key for primitive in found}) == len(found) > 150
    assert all(p.row.matmul_flops <= means.flops and p.nbytes <= means.nbytes for p in found)


def test_a_quarter_of_widths_is_not_a_multiple_of_64() -> None:
    sizes = Sizes(0, "float32", CPU)
    widths = [sizes.width(64, 8192) for _ in range(2000)]
    odd = sum(width % 64 != 0 for width in widths) / len(widths)
    assert 0.2 < odd < 0.3
    assert min(widths) >= 64
    assert max(widths) <= 8192


def test_the_same_seed_draws_the_same() -> None:
    assert [p.key for p in draw(60, seed=3)] == [p.key for p in draw(60, seed=3)]
    assert [p.key for p in draw(60, seed=3)] != [p.key for p in draw(60, seed=4)]


def test_only_some_kinds() -> None:
    assert {p.row.kind for p in draw(30, kinds=("norm", "softmax"))} == {"norm", "softmax"}


def test_another_type_is_the_operands_and_not_the_indices() -> None:
    for primitive in draw(120, dtype="float32", kinds=("gather", "matmul")):
        cast = in_dtype(primitive, "bfloat16")
        assert cast.row.dtype == "bfloat16"
        assert [s.dtype for s in cast.inputs if s and s.role == "index"] == [
            s.dtype for s in primitive.inputs if s and s.role == "index"
        ]


def test_types_are_drawn_as_asked() -> None:
    assert {p.row.dtype for p in draw(60, dtype="float16", kinds=("matmul", "norm"))} == {"float16"}
