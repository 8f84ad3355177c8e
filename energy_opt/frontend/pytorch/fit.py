"""Sizes as exact formulas over the free dims, found from their values at a few points and verified at others."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import sympy

from energy_opt.ir.dims import Dim, evaluate, floor_div, free_symbols, product, symbol, total

Point = Mapping[str, int]
Values = tuple[int, ...]
"""A size at each of the points."""


class Unresolved(Exception):
    """A size is no formula that is looked for; the message says which and where."""


class _Term(NamedTuple):
    """What may be part of a size, and its values at the points. `factors` are what it is a product of."""

    formula: Dim
    values: Values
    factors: tuple[Dim, ...]

    def times(self, other: _Term) -> _Term:
        """The product of two terms."""
        values = tuple(x * y for x, y in zip(self.values, other.values, strict=True))
        return _Term(product((self.formula, other.formula)), values, self.factors + other.factors)


class Fit:
    """Formulas of sizes whose values are known at every point.

    Looked for, in this order: constants, sums of the dims, sums of products of two dims, those with squares, sums of
    products with sizes that an operator's own formula gave (see `know`), and a dim divided and rounded down. Factors
    are whole numbers: a size is one, whatever the dims are. A formula needs at least one point more than it has terms,
    along every dim too, and holds at all of them.
    """

    def __init__(self, names: Sequence[str], points: Sequence[Point]) -> None:
        self._count = len(points)
        self._sizes = {name: tuple(point[name] for point in points) for name in names}
        self._one = _Term(1, (1,) * self._count, ())
        self._dims = [_Term(d, self._sizes[n], (d,)) for n, d in ((n, symbol(n)) for n in names)]
        self._bases = [self._basis(terms) for terms in self._polynomials()]
        self._known: dict[Values, Dim] = {}
        self._atoms: list[_Term] = []

    def _polynomials(self) -> Iterable[list[_Term]]:
        linear = [self._one, *self._dims]
        pairs = [*linear, *(a.times(b) for a, b in itertools.combinations(self._dims, 2))]
        yield linear
        if len(self._dims) > 1:
            yield pairs
        yield [*pairs, *(a.times(a) for a in self._dims[-1:])]
        yield [*pairs, *(a.times(a) for a in self._dims)]

    def _basis(self, terms: list[_Term]) -> _Basis | None:
        """The terms as a basis; None where too few points verify what would be found."""
        if len(terms) >= self._count:
            return None
        for name, sizes in self._sizes.items():
            functions = {tuple([f for f in t.factors if name in free_symbols([f])]) for t in terms}
            if len(functions) > 1 and len(functions) >= len(set(sizes)):
                return None
        return _Basis(terms)

    def know(self, values: Values, formula: Dim) -> None:
        """Take a formula for these values, which later sizes may be multiples of. It must hold at all points.

        Raises:
            Unresolved: another formula is known for the same values.
        """
        if values in self._known:
            if _differ(self._known[values], formula):
                raise Unresolved(f"two sizes are {_said(values)}")
            return
        self._known[values] = formula
        atom = _Term(formula, values, (formula,))
        self._bases.append(self._basis([self._one, atom]))
        for dim in self._dims:
            self._bases.append(self._basis([atom, atom.times(dim)]))
            self._bases.append(self._basis([self._one, dim, atom, atom.times(dim)]))
        for other in self._atoms:
            both = other.times(atom)
            self._bases.append(self._basis([both, *(both.times(dim) for dim in self._dims)]))
            self._bases.append(self._basis([self._one, both]))
        self._atoms.append(atom)

    def __call__(self, values: Values) -> Dim:
        """The formula of a size. Raises Unresolved where there is none."""
        first = values[0]
        if all(value == first for value in values):
            return first
        found = self._known.get(values)
        if found is None:
            tried = (basis.solve(values) for basis in self._bases if basis is not None)
            found = next((formula for formula in tried if formula is not None), None)
            if found is None:
                found = self._rounded(values)
            self._known[values] = found
        return found

    def _rounded(self, values: Values) -> Dim:
        """floor((size + c) / k) of a dim or a known size for a small k, where the points leave one c only."""
        for formula, sizes, _ in (*self._dims, *self._atoms):
            pairs = set(zip(sizes, values, strict=True))
            if len(pairs) != len(set(sizes)) or len(pairs) < _ROUNDED:
                continue
            for k in (2, 3, 4):
                low = max(k * value - size for size, value in pairs)
                high = min(k * value - size + k - 1 for size, value in pairs)
                if low == high:
                    return floor_div(total((formula, low)), k)
        raise Unresolved(f"a size is {_said(values)}")


_ROUNDED = 5
"""So many different sizes tell what is rounded down."""


def _said(values: Values) -> str:
    return (
        f"{', '.join(map(str, values[:8]))}{' ...' if len(values) > 8 else ''} at the sizes tried"
    )


def _differ(a: Dim, b: Dim) -> bool:
    """Whether two formulas differ, at many sizes: they may be written in two ways."""
    if a == b:
        return False
    names = sorted(free_symbols([a, b]))
    sizes = {name: np.arange(17 + 3 * i, 600, 7 + 4 * i)[:80] for i, name in enumerate(names)}
    return not np.array_equal(evaluate(a, sizes), evaluate(b, sizes))


class _Basis:
    """Terms whose exact linear combination may give a size. Solved once for all sizes, by elimination."""

    def __init__(self, terms: Sequence[_Term]) -> None:
        self.terms = terms
        rows = list(zip(*(term.values for term in terms), strict=True))
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
            got = sum(f * t.values[index] for f, t in zip(factors, self.terms, strict=True) if f)
            if got != value:
                return None
        parts = [int(f) * term.formula for f, term in zip(factors, self.terms, strict=True) if f]
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
