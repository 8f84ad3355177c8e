"""Sizes as exact formulas over the free dims, found from their values at a few points and verified at others."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import sympy

from energy_opt.ir.dims import Dim, product, symbol

Point = Mapping[str, int]
Values = tuple[int, ...]
"""A size at each of the points."""


class Unresolved(Exception):
    """A size is no formula that is looked for; the message says which and where."""


class Fit:
    """Formulas of sizes whose values are known at every point.

    Looked for, in this order: constants, sums of the dims, sums of products of two dims, those with squares, and sums
    of products with sizes that an operator's own formula gave (see `know`). Factors are whole numbers: a size is one,
    whatever the dims are. A formula needs at least one point more than it has terms, and holds at all of them.
    """

    def __init__(self, names: Sequence[str], points: Sequence[Point]) -> None:
        self._dims: list[tuple[Dim, Values]] = [
            (symbol(name), tuple(point[name] for point in points)) for name in names
        ]
        self._count = len(points)
        self._bases = [_Basis(terms) for terms in self._terms() if len(terms) < self._count]
        self._known: dict[Values, Dim] = {}
        self._atoms: list[tuple[Dim, Values]] = []

    def _terms(self) -> Iterable[list[tuple[Dim, Values]]]:
        one = (1, (1,) * self._count)
        linear = [one, *self._dims]
        pairs = [*linear, *(_times(a, b) for a, b in itertools.combinations(self._dims, 2))]
        yield linear
        if len(self._dims) > 1:
            yield pairs
        yield [*pairs, *(_times(a, a) for a in self._dims[-1:])]
        yield [*pairs, *(_times(a, a) for a in self._dims)]

    def know(self, values: Values, formula: Dim) -> None:
        """Take a formula for these values, which later sizes may be multiples of. It must hold at all points."""
        if values in self._known:
            return
        self._known[values] = formula
        atom = (formula, values)
        one = (1, (1,) * self._count)
        self._bases.append(_Basis([one, atom]))
        for dim in self._dims:
            self._bases.append(_Basis([atom, _times(atom, dim)]))
            self._bases.append(_Basis([one, dim, atom, _times(atom, dim)]))
        for other in self._atoms:
            both = _times(other, atom)
            self._bases += [
                _Basis([both, *(_times(both, dim) for dim in self._dims)]),
                _Basis([one, both]),
            ]
        self._atoms.append(atom)

    def __call__(self, values: Values) -> Dim:
        """The formula of a size. Raises Unresolved where there is none."""
        first = values[0]
        if all(value == first for value in values):
            return first
        found = self._known.get(values)
        if found is None:
            for basis in self._bases:
                if len(basis.terms) < self._count and (formula := basis.solve(values)) is not None:
                    found = self._known[values] = formula
                    break
            else:
                raise Unresolved(f"a size is {', '.join(map(str, values))} at the points tried")
        return found


def _times(a: tuple[Dim, Values], b: tuple[Dim, Values]) -> tuple[Dim, Values]:
    return product((a[0], b[0])), tuple(x * y for x, y in zip(a[1], b[1], strict=True))


class _Basis:
    """Terms whose exact linear combination may give a size. Solved once for all sizes, by elimination."""

    def __init__(self, terms: Sequence[tuple[Dim, Values]]) -> None:
        self.terms = terms
        rows = list(zip(*(values for _, values in terms), strict=True))
        self._inverse = _left_inverse([[Fraction(x) for x in row] for row in rows])

    def solve(self, values: Values) -> Dim | None:
        """The combination that gives the values at every point, None where there is none."""
        if self._inverse is None:
            return None
        factors = [
            sum((f * values[i] for i, f in row if values[i]), Fraction(0)) for row in self._inverse
        ]
        if any(f.denominator != 1 for f in factors):
            return None
        for index, value in enumerate(values):
            got = sum(f * term[1][index] for f, term in zip(factors, self.terms, strict=True) if f)
            if got != value:
                return None
        parts = [int(f) * term for f, (term, _) in zip(factors, self.terms, strict=True) if f]
        formula = sympy.Add(*parts)
        return int(formula) if formula.is_Integer else formula


def _left_inverse(rows: list[list[Fraction]]) -> list[list[tuple[int, Fraction]]] | None:
    """For each column, the (row, factor) pairs that isolate its coefficient; None where the columns are dependent."""
    count, width = len(rows), len(rows[0])
    work = [[*row, *(Fraction(i == j) for j in range(count))] for i, row in enumerate(rows)]
    for column in range(width):
        pivot = next((i for i in range(column, count) if work[i][column]), None)
        if pivot is None:
            return None
        work[column], work[pivot] = work[pivot], work[column]
        scale = work[column][column]
        work[column] = [x / scale if x else x for x in work[column]]
        for i in range(count):
            if i != column and (factor := work[i][column]):
                work[i] = [
                    x - factor * y if y else x for x, y in zip(work[i], work[column], strict=True)
                ]
    return [[(j, x) for j, x in enumerate(work[i][width:]) if x] for i in range(width)]
