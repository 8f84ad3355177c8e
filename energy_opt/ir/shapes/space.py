"""Symbols and arithmetic of dimensions: exact, and bounded so that no file can make it slow.

A dim is an int or a sympy expression over positive integers. What grows beyond `MAX_TERMS` parts, or beyond 64 bits,
becomes a symbol of its own: an honest unknown instead of an expression that nobody can read or evaluate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import onnx_ir
import sympy

from energy_opt.ir.dims import Dim, symbol
from energy_opt.ir.symbolic import carried, parsed

MAX_DIM = 2**63 - 1
MAX_TERMS = 160
"""Largest number of parts of a dimension's expression."""
PLAIN_TERMS = 12
"""Up to here Min and Max are simplified by comparing their arguments, which costs 50 ms for large ones."""
ROUNDING_TERMS = 7
"""What a floor, Min or Max counts in addition: sympy examines nested ones over and over."""
MAX_LATTICE_TERMS = 60
"""The same for Min and Max, whose construction compares their arguments pair by pair."""

_NOT_NAME = re.compile(r"[^0-9A-Za-z_]+")
_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*( *[-+*/] *[A-Za-z0-9_]+)*")


class Minted(NamedTuple):
    """Where a symbol that the model did not name comes from: `origin` is input, data or trip."""

    origin: str
    op: str
    node: str


class Space:
    """The symbols of one model and the arithmetic on its dims."""

    def __init__(self) -> None:
        self.minted: dict[str, Minted] = {}
        self.equal: dict[tuple[Dim, Dim], None] = {}
        self.where = ("", "")
        self._taken: set[str] = set()
        self._renamed: dict[str, sympy.Symbol] = {}
        self._spellings: dict[str, str] = {}
        self._dims: dict[sympy.Expr, onnx_ir.SymbolicDim] = {}
        self._counts: dict[str, int] = {}
        self._terms: dict[sympy.Basic, int] = {}

    # --- names ---

    def fresh(self, origin: str = "data", hint: str = "") -> sympy.Symbol:
        """A new symbol for a size that shapes alone do not tell."""
        op, node = self.where
        stem = _NOT_NAME.sub("_", hint or op.lower() or "dim").strip("_") or "dim"
        if stem[0].isdigit():
            stem = f"d_{stem}"
        while True:
            number = self._counts.get(stem, 0)
            self._counts[stem] = number + 1
            name = f"{stem}_{number}"
            if name not in self._taken:
                break
        self._taken.add(name)
        self.minted[name] = Minted(origin, op, node)
        return symbol(name)

    def reserve(self, names: Iterable[str]) -> None:
        """Keep these names: they are the model's own."""
        self._taken.update(names)

    def is_minted(self, dim: Dim) -> bool:
        """Whether the dim is a single symbol that the model did not name."""
        return isinstance(dim, sympy.Symbol) and dim.name in self.minted

    def parse(self, text: str) -> sympy.Expr:
        """The dim of a name in a file: a symbol, a short sum or product, or else a symbol of a cleaned-up name."""
        if text.isidentifier() and text.isascii():
            self._taken.add(text)
            return symbol(text)
        known = self._renamed.get(text)
        if known is not None:
            return known
        if len(text) <= 80 and _SIMPLE.fullmatch(text):
            expression = parsed(text)
            if expression is not None and expression.free_symbols:
                self._taken.update(s.name for s in expression.free_symbols)
                return expression
        stem = _NOT_NAME.sub("_", text).strip("_")[:60] or "dim"
        stem = f"d_{stem}" if stem[0].isdigit() else stem
        name, number = stem, 0
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        self._spellings[name] = text
        self._renamed[text] = renamed = symbol(name)
        return renamed

    # --- conversion ---

    def read(self, dim: int | onnx_ir.SymbolicDim) -> Dim | None:
        """The dim of a shape in the graph; None where it says nothing (no value, or the -1 of some exporters)."""
        if isinstance(dim, int):
            return None if dim < 0 else dim
        if dim.value is None:
            return None
        expression = carried(dim)
        if expression is None:  # text to be wary of
            return self.parse(dim.value)
        if expression.is_Integer:
            return int(expression)
        return expression

    def write(self, dim: Dim) -> int | onnx_ir.SymbolicDim:
        """The dim as the graph stores it; equal expressions share one object, since printing one costs 100 us."""
        if isinstance(dim, int):
            return dim
        known = self._dims.get(dim)
        if known is None:
            known = self._dims[dim] = onnx_ir.SymbolicDim(dim)
        return known

    # --- arithmetic ---

    def bounded(self, expression: sympy.Expr, limit: int = MAX_TERMS) -> Dim:
        """The expression, as an int where it is one, as a new symbol where it is too large."""
        if expression.is_Integer:
            number = int(expression)
            return number if -MAX_DIM <= number <= MAX_DIM else self.fresh()
        return expression if self.terms(expression) <= limit else self.fresh()

    def terms(self, expression: sympy.Basic) -> int:
        """Number of parts of an expression, counted at most once per distinct part."""
        known = self._terms.get(expression)
        if known is not None:
            return known
        if expression.is_Symbol:
            count = 1
        elif isinstance(expression, sympy.Rational):
            count = 1 if abs(expression.p) <= MAX_DIM and expression.q <= MAX_DIM else MAX_TERMS
        else:
            count = 1 + sum(self.terms(part) for part in expression.args)
            if isinstance(expression, (sympy.floor, sympy.Min, sympy.Max)):
                count += ROUNDING_TERMS
            if expression.is_Pow and not (expression.exp.is_Integer and abs(expression.exp) <= 8):
                count += MAX_TERMS
        self._terms[expression] = count
        return count

    def add(self, *dims: Dim) -> Dim:
        """Their sum."""
        if all(isinstance(dim, int) for dim in dims):
            return self._int(sum(dims))
        return self.bounded(sympy.Add(*dims))

    def sub(self, left: Dim, right: Dim) -> Dim:
        """left - right."""
        if isinstance(left, int) and isinstance(right, int):
            return left - right
        return self.bounded(left - right)

    def mul(self, *dims: Dim) -> Dim:
        """Their product."""
        number = 1
        rest = []
        for dim in dims:
            if isinstance(dim, int):
                number *= dim
            else:
                rest.append(dim)
        if not rest or number == 0:
            return self._int(number)
        return self.bounded(sympy.Mul(number, *rest))

    def divide(self, left: Dim, right: Dim) -> Dim:
        """left / right where the operator guarantees that it divides; common factors cancel. `right` is not 0."""
        if isinstance(left, int) and isinstance(right, int):
            return left // right
        return self.bounded(sympy.Mul(left, sympy.Pow(right, -1)))

    def floor_div(self, left: Dim, right: Dim) -> Dim:
        """floor(left / right), `right` not 0."""
        if isinstance(left, int) and isinstance(right, int):
            return left // right
        if isinstance(right, int) and right > 0:
            left = _unfloored(left)
        return self.bounded(sympy.floor(sympy.Mul(left, sympy.Pow(right, -1))))

    def ceil_div(self, left: Dim, right: int) -> Dim:
        """ceil(left / right) for a positive int; written with floor, which every reader of the file knows."""
        if isinstance(left, int):
            return -(-left // right)
        return self.floor_div(self.add(left, right - 1), right)

    def minimum(self, left: Dim, right: Dim) -> Dim:
        """The smaller of the two."""
        if isinstance(left, int) and isinstance(right, int):
            return min(left, right)
        if self.at_least(left, right):
            return right
        if self.at_least(right, left):
            return left
        return self._lattice(sympy.Min, left, right)

    def maximum(self, left: Dim, right: Dim) -> Dim:
        """The larger of the two."""
        if isinstance(left, int) and isinstance(right, int):
            return max(left, right)
        if self.at_least(left, right):
            return left
        if self.at_least(right, left):
            return right
        return self._lattice(sympy.Max, left, right)

    def at_least(self, left: Dim, right: Dim) -> bool:
        """Whether left >= right for all positive values of the symbols; False where that is not plain to see."""
        if isinstance(left, int) and isinstance(right, int):
            return left >= right
        low = lower_bound(left - right)
        return low is not None and low >= 0

    def _lattice(self, function: type[sympy.Basic], left: Dim, right: Dim) -> Dim:
        terms = sum(self.terms(sympy.sympify(dim)) for dim in (left, right))
        if terms > MAX_LATTICE_TERMS:
            return self.fresh()
        return self.bounded(function(left, right, evaluate=terms <= PLAIN_TERMS))

    def _int(self, number: int) -> Dim:
        return number if -MAX_DIM <= number <= MAX_DIM else self.fresh()


def _unfloored(dim: sympy.Expr) -> sympy.Expr:
    """The dim without its only floor: floor((floor(y) + n) / b) is floor((y + n) / b) for integers n and b > 0.

    So a chain of strided layers stays one floor: floor(H/32 + 31/32).
    """
    floors = [term for term in sympy.Add.make_args(dim) if isinstance(term, sympy.floor)]
    if len(floors) != 1:
        return dim
    rest = dim - floors[0]
    if not rest.is_Integer and (rest.has(sympy.floor) or not rest.is_integer):
        return dim
    return floors[0].args[0] + rest


def lower_bound(dim: Dim | sympy.Expr) -> sympy.Rational | None:
    """The smallest value of a sum of products over symbols >= 1, where that is plain to see; else None.

    A term with a positive coefficient is smallest where its symbols are 1; one with a negative one has no bound.
    """
    if isinstance(dim, int):
        return sympy.Integer(dim)
    low = sympy.Integer(0)
    for term in sympy.Add.make_args(dim):
        coefficient, rest = term.as_coeff_Mul()
        if not coefficient.is_Rational:
            return None
        if rest is sympy.S.One:
            low += coefficient
            continue
        bound = _product_bound(rest)
        if coefficient < 0 or bound is None:
            return None
        low += coefficient * bound
    return low


def _product_bound(product: sympy.Expr) -> sympy.Rational | None:
    """Smallest value of a product of symbols and nested non-negative parts; None where a part may be negative."""
    bound = sympy.Integer(1)
    for factor in sympy.Mul.make_args(product):
        if factor.is_Symbol and factor.is_positive:
            continue
        if factor.is_Pow and factor.base.is_Symbol and factor.exp.is_Integer and factor.exp > 0:
            continue
        inner: sympy.Rational | None = None
        if isinstance(factor, sympy.floor):
            inner = lower_bound(factor.args[0])
            inner = None if inner is None else sympy.floor(inner)
        elif isinstance(factor, (sympy.Max, sympy.Min)):
            bounds = [lower_bound(part) for part in factor.args]
            known = [b for b in bounds if b is not None]
            if isinstance(factor, sympy.Max) and known:
                inner = max(known)
            elif len(known) == len(bounds):
                inner = min(known)
        elif factor.is_Add:
            inner = lower_bound(factor)
        if inner is None or inner < 0:
            return None
        bound *= inner
    return bound
