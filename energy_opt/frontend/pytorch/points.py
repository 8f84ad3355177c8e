"""At which sizes a module is run: few, and such that a formula over the dims can be told from others and verified."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from energy_opt.frontend.pytorch.fit import Point

Options = Mapping[str, tuple[int, ...]]
"""Sizes to try for each dim."""

_LARGE = 32
"""From this size on an example says that somewhat smaller ones than its own are possible."""


_SMALL = ((3, 5, 7, 11, 13), (4, 6, 9, 10, 14), (8, 12, 15, 17, 19), (16, 18, 20, 21, 22))
"""Sizes of dims that stand beside each other: of equal ones, one could be taken for the other."""


def options(examples: Mapping[str, int]) -> Iterator[Options]:
    """Five sizes for every dim, again and again until the module takes them: small ones, multiples of the example."""
    if not examples:
        yield {}
        return
    found: dict[str, tuple[int, ...]] = {}
    for place, (name, size) in enumerate(examples.items()):
        top = size - 9 * place
        fits = name != "batch" and top >= _LARGE
        # Far apart, so that what is rounded down shows.
        spread = (top - 1, top // 2 + 1, 2 * top // 3 + 1, 5 * top // 6 + 1, 3 * top // 4 - 1)
        found[name] = spread if fits else _SMALL[place % len(_SMALL)]
    yield found
    yield {name: tuple(size * k for k in (2, 3, 5, 7, 11)) for name, size in examples.items()}


def design(sizes: Options) -> Iterator[Point]:
    """One point, each dim changed alone, and as many pairs as tell products of two dims apart."""
    base = {name: choices[0] for name, choices in sizes.items()}
    yield base
    for name, choices in sizes.items():
        yield {**base, name: choices[1]}
    if len(sizes) not in (0, 2):  # for two dims the points at 1 verify
        yield {name: choices[2] for name, choices in sizes.items()}
    if len(sizes) > 2:
        for a, b in itertools.combinations(sizes, 2):
            yield {**base, a: sizes[a][1], b: sizes[b][1]}


def ones(sizes: Options) -> Iterator[tuple[str, Point]]:
    """Each dim at 1 with the others at a size of their own: where models take short cuts, and formulas go wrong."""
    for name in sizes:
        yield name, {**{other: choices[2] for other, choices in sizes.items()}, name: 1}


def more(sizes: Options) -> Iterator[Point]:
    """Points that also tell squares."""
    last = {name: choices[3] for name, choices in sizes.items()}
    yield {name: choices[2] for name, choices in sizes.items()}
    yield last
    for name, choices in sizes.items():
        yield {**last, name: choices[4]}
        yield {**last, name: choices[0]}


def said(point: Point) -> str:
    """The point in words."""
    return ", ".join(f"{name} = {size}" for name, size in point.items())
