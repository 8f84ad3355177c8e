"""Sizes as formulas: found where the points tell them from others, refused where they do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from energy_opt.frontend.pytorch import points
from energy_opt.frontend.pytorch.fit import Fit, Point, Unresolved
from energy_opt.ir.dims import evaluate, floor_div, symbol

B, S, H = symbol("batch"), symbol("seq"), symbol("height")
ELSEWHERE = [{"batch": b, "seq": s} for b in (1, 2, 6, 50) for s in (1, 4, 27, 512, 1000)]


def tried(*names: str, more: bool = False) -> list[Point]:
    """The points at which a module is run that takes all sizes."""
    sizes = next(points.options(dict.fromkeys(names, 16)))
    found = [*points.design(sizes), *(points.changed(sizes, {name: 1}) for name in names)]
    found.append(points.changed(sizes, dict.fromkeys(names, 1)))
    return found + (list(points.more(sizes)) if more else [])


def values(size: Callable[[int, int], int], at: list[Point]) -> tuple[int, ...]:
    return tuple(size(point["batch"], point["seq"]) for point in at)


@pytest.mark.parametrize(
    ("size", "formula"),
    [
        (lambda b, s: 7, 7),
        (lambda b, s: s, S),
        (lambda b, s: s - 1, S - 1),
        (lambda b, s: 3 * b + s, 3 * B + S),
        (lambda b, s: b * s, B * S),
        (lambda b, s: 2 * b * s - s + 4, 2 * B * S - S + 4),
        (lambda b, s: s * s, S**2),
        (lambda b, s: b * b + s, B**2 + S),
    ],
)
def test_polynomials(size: Callable[[int, int], int], formula: object) -> None:
    at = tried("batch", "seq", more=True)
    assert Fit(["batch", "seq"], at)(values(size, at)) == formula


@pytest.mark.parametrize(
    "size",
    [lambda b, s: s // 2, lambda b, s: -(-s // 2), lambda b, s: (s + 1) // 3, lambda b, s: (s - 3) // 4],
)  # fmt: skip
def test_rounded(size: Callable[[int, int], int]) -> None:
    at = tried("batch", "seq", more=True)
    formula = Fit(["batch", "seq"], at)(values(size, at))
    for point in ELSEWHERE:
        assert evaluate(formula, point) == size(point["batch"], point["seq"])


@pytest.mark.parametrize(
    "size",
    [
        lambda b, s: min(s, 20),
        lambda b, s: max(s, 20),
        lambda b, s: int(s**0.5),
        lambda b, s: s.bit_length(),
        lambda b, s: s // 16 * 16,
        lambda b, s: -s % 8,
        lambda b, s: s // b,
        lambda b, s: s**3,
        lambda b, s: s * (s - 1) // 2,
        lambda b, s: s if s < b else b,
    ],
)
@pytest.mark.parametrize("more", [False, True])
def test_what_is_no_such_formula_is_refused(size: Callable[[int, int], int], more: bool) -> None:
    at = tried("batch", "seq", more=more)
    with pytest.raises(Unresolved, match="at the sizes tried"):
        Fit(["batch", "seq"], at)(values(size, at))


def test_no_formula_goes_exactly_through_all_points() -> None:
    """Two sizes of a dim leave a straight line unverified, three a square."""
    two = [{"seq": 3}, {"seq": 5}]
    with pytest.raises(Unresolved):
        Fit(["seq"], two)((6, 10))
    three = [*two, {"seq": 8}]
    assert Fit(["seq"], three)((6, 10, 16)) == 2 * S
    with pytest.raises(Unresolved):
        Fit(["seq"], three)((9, 25, 64))
    # The same sizes of seq at more points say nothing more of it.
    again = [{"batch": b, "seq": s} for b in (2, 3, 7, 9) for s in (3, 5, 8)]
    with pytest.raises(Unresolved):
        Fit(["batch", "seq"], again)(tuple(p["seq"] ** 2 for p in again))


def test_products_of_what_an_operator_gave() -> None:
    at = [{"height": h} for h in (31, 17, 22, 12, 64, 1)]
    fit = Fit(["height"], at)
    halves = tuple((p["height"] + 1) // 2 for p in at)
    half = floor_div(H + 1, 2)
    fit.know(halves, half)
    assert fit(halves) == half
    assert fit(tuple(8 * x + 1 for x in halves)) == 8 * half + 1


def test_two_formulas_for_one_size_are_refused() -> None:
    even = [{"height": h} for h in (2, 4, 8, 16, 32)]
    fit = Fit(["height"], even)
    halves = (1, 2, 4, 8, 16)
    fit.know(halves, floor_div(H, 2))
    fit.know(halves, floor_div(2 * H, 4))  # the same, written otherwise
    with pytest.raises(Unresolved, match="1, 2, 4, 8, 16"):
        fit.know(halves, floor_div(H + 1, 2))


@pytest.mark.parametrize(
    "examples",
    [
        {"batch": 1, "seq": 128},
        {"batch": 2, "seq": 2},
        {"batch": 1, "height": 224, "width": 224},
        {"batch": 8, "seq": 12, "decoder_seq": 12},
        {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1},
    ],
)
def test_points(examples: dict[str, int]) -> None:
    """A dim has five sizes and 1; no two dims are tried at one size, unless the module takes multiples only."""
    for tier, sizes in enumerate(points.options(examples)):
        assert all(len(set(choices)) == 5 and 1 not in choices for choices in sizes.values())
        every = [size for choices in sizes.values() for size in choices]
        assert tier == points.MULTIPLES or len(set(every)) == len(every)
        tried = list(points.design(sizes))
        for name in examples:
            assert len({point[name] for point in tried}) > 1
    assert tier == points.MULTIPLES
    assert all(size % examples[name] == 0 for name in sizes for size in sizes[name])


def test_nothing_is_free() -> None:
    assert [list(points.design(sizes)) for sizes in points.options({})] == [[{}]]
