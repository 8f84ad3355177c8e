"""At which sizes a module is run: few, and such that a formula over the dims can be told from others and verified."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from energy_opt.frontend.pytorch.fit import Point

Options = Mapping[str, tuple[int, ...]]
"""Sizes to try for each dim."""

_COUNT = 5
MULTIPLES = 2
"""Which of the options are multiples of the example."""
_LARGE = 32
"""From this size on an example says that somewhat smaller ones than its own are possible."""
_SMALL = (3, 5, 7, 11, 13, 4, 6, 9, 10, 14, 8, 12, 15, 17, 19, 16, 18, 20, 21, 22)
_WIDE = (67, 131, 83, 101, 149, 163)
"""Far from small examples, so that it shows where a module does something else from some size on."""


def options(examples: Mapping[str, int]) -> Iterator[Options]:
    """Five sizes for every dim, again and again until the module takes them: far apart, closer, multiples.

    No two dims get the same size: one could be taken for the other.
    """
    if not examples:
        yield {}
        return
    for wide in (True, False):
        used: set[int] = {1}
        yield {
            name: _around(name, size, place, used, wide)
            for place, (name, size) in enumerate(examples.items())
        }
    yield {
        name: tuple(
            max(size, 1) * k
            for k in _rotated((1, 2, 3, 5, 7) if size > 1 else (2, 3, 5, 7, 11), place)
        )
        for place, (name, size) in enumerate(examples.items())
    }


def _around(name: str, size: int, place: int, used: set[int], wide: bool) -> tuple[int, ...]:
    if name != "batch" and size - 9 * place >= _LARGE:
        top = size - 9 * place
        # Far apart, so that what is rounded down shows.
        further = [top // 2 + 1, 2 * top // 3 + 1, 5 * top // 6 + 1, 3 * top // 4 - 1, top - 1]
        if wide:
            further.insert(0, 2 * top + 3)
    else:
        further = [*(_WIDE[place : place + 1] if wide else ()), *_rotated(_SMALL, 5 * place)]
    free = [one for one in dict.fromkeys(further) if one not in used and one != size]
    free += [
        one for one in itertools.islice(itertools.count(size + 1), 50) if one not in {*used, *free}
    ]
    chosen = free[:_COUNT]
    used.update(chosen)
    return tuple(chosen)


def _rotated(sizes: tuple[int, ...], by: int) -> tuple[int, ...]:
    by %= len(sizes)
    return sizes[by:] + sizes[:by]


def design(sizes: Options) -> Iterator[Point]:
    """One point, each dim changed alone, and as many pairs as tell products of two dims apart."""
    base = {name: choices[0] for name, choices in sizes.items()}
    yield base
    for name, choices in sizes.items():
        yield {**base, name: choices[1]}
    if len(sizes) not in (0, 2):  # for two dims the points at 1 verify
        yield changed(sizes)
    if len(sizes) > 2:
        for a, b in itertools.combinations(sizes, 2):
            yield {**base, a: sizes[a][1], b: sizes[b][1]}


def changed(sizes: Options, given: Mapping[str, int] | None = None) -> Point:
    """Every dim at a third size, but for those given: at 1, say, where models take short cuts and formulas go wrong."""
    return {name: choices[2] for name, choices in sizes.items()} | dict(given or {})


def more(sizes: Options) -> Iterator[Point]:
    """Points that also tell squares, and what is rounded."""
    last = {name: choices[3] for name, choices in sizes.items()}
    yield changed(sizes)
    yield last
    for name, choices in sizes.items():
        yield {**last, name: choices[4]}
        yield {**last, name: choices[0]}
