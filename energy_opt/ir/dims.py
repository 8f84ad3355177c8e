"""Dimensions: an int or a sympy expression over named symbols; arrays enter only when evaluated.

Symbols are plain identifiers such as `batch` or `seq`, positive integers by assumption. Counts built from dimensions
(FLOPs, bytes) are of the same type, so a whole model's work is a handful of closed formulas.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import sympy

from energy_opt.errors import DimError

Dim: TypeAlias = int | sympy.Expr
"""A size or a count: a Python int, or a sympy expression over positive integer symbols."""

Value: TypeAlias = float | np.ndarray[Any, np.dtype[np.float64]]
"""What a Dim evaluates to: a float, or float64[points] when a symbol was bound to an array."""


_FACTORED_SYMBOLS, _FACTORED_TERMS = 4, 24  # real models have two or three free dims


def symbol(name: str) -> sympy.Symbol:
    """The dimension symbol of that name, with the assumptions every dimension shares."""
    return sympy.Symbol(name, integer=True, positive=True)


def free_symbols(dims: Iterable[Dim]) -> set[str]:
    """Names of the symbols that occur in any of the dims."""
    names: set[str] = set()
    for dim in dims:
        if not isinstance(dim, int):
            names.update(s.name for s in dim.free_symbols)
    return names


def product(dims: Iterable[Dim]) -> Dim:
    """Product of the dims, ints first so that a sympy product is built only once."""
    number = 1
    rest: list[sympy.Expr] = []
    for dim in dims:
        if isinstance(dim, int):
            number *= dim
        else:
            rest.append(dim)
    return sympy.Mul(number, *rest) if rest else number


def total(dims: Iterable[Dim]) -> Dim:
    """Sum of the dims."""
    number = 0
    rest: list[sympy.Expr] = []
    for dim in dims:
        if isinstance(dim, int):
            number += dim
        else:
            rest.append(dim)
    return sympy.Add(number, *rest) if rest else number


def factored(dim: Dim) -> Dim:
    """The same formula with what its terms share in front, as a person would write it."""
    if isinstance(dim, int) or len(dim.free_symbols) > _FACTORED_SYMBOLS:
        return dim
    if len(sympy.Add.make_args(dim)) > _FACTORED_TERMS or not dim.is_polynomial(*dim.free_symbols):
        return dim  # factoring what is long, or holds Min and floor, takes minutes and helps nobody
    return sympy.factor(dim)


def ceil_div(dim: Dim, by: int) -> Dim:
    """`dim / by`, rounded up."""
    if isinstance(dim, int):
        return -(-dim // by)
    return sympy.ceiling(dim / sympy.Integer(by))


def floor_div(dim: Dim, by: int) -> Dim:
    """`dim / by`, rounded down."""
    if isinstance(dim, int):
        return dim // by
    return sympy.floor(dim / sympy.Integer(by))


def maximum(*dims: Dim) -> Dim:
    """The largest of the dims."""
    if all(isinstance(dim, int) for dim in dims):
        return max(dims)
    return sympy.Max(*dims)


class Evaluator:
    """Values of a fixed list of dims, for any binding of their symbols.

    The distinct expressions are compiled once; equal ones are evaluated once. Evaluation is in float64, because int64
    wraps for a 70B-parameter model at batch 1e5.
    """

    def __init__(self, dims: Sequence[Dim]) -> None:
        self._constants: list[float | None] = []
        slots: dict[sympy.Expr, int] = {}
        self._slot: list[int] = []
        for dim in dims:
            if isinstance(dim, int) or dim.is_Integer:
                self._constants.append(_to_float(int(dim)))
                self._slot.append(-1)
            else:
                self._constants.append(None)
                self._slot.append(slots.setdefault(dim, len(slots)))
        expressions = list(slots)
        self.names: tuple[str, ...] = tuple(sorted(free_symbols(expressions)))
        position = {name: index for index, name in enumerate(self.names)}
        self._functions = [_compile(expression, position) for expression in expressions]

    def __call__(self, binding: Mapping[str, Any]) -> list[Value]:
        """Values of the dims, in order: floats, or float64[points] where a bound symbol is an array.

        Raises:
            KeyError: a symbol is not bound.
        """
        arguments = [_as_float(binding[name]) for name in self.names]
        values = [function(arguments) for function in self._functions]
        return [
            values[slot] if constant is None else constant
            for slot, constant in zip(self._slot, self._constants, strict=True)
        ]


def evaluate(dim: Dim, binding: Mapping[str, Any]) -> Value:
    """Value of one dim under the binding. Raises KeyError where a symbol is not bound."""
    return Evaluator([dim])(binding)[0]


def _to_float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:  # only a hostile file has counts beyond 1e308
        return math.inf


def _as_float(value: Any) -> Value:
    if isinstance(value, (int, float)):
        return float(value)
    return np.asarray(value, dtype=np.float64)


def _compile(expression: sympy.Expr, position: Mapping[str, int]) -> Callable[..., Value]:
    """A function of float64 scalars or arrays, given as one sequence in the order of `position`.

    Closures instead of `sympy.lambdify`, whose first call costs 80 ms, more than all the rest of an analysis.
    """
    if expression.is_Symbol:
        index = position[expression.name]
        return lambda arguments: arguments[index]
    if expression.is_number:
        number = float(expression)
        return lambda arguments: number
    if expression.is_Pow and expression.exp.is_Integer and 0 < int(expression.exp) <= 8:
        base = _compile(expression.base, position)
        return lambda arguments, power=int(expression.exp): math.prod([base(arguments)] * power)
    if expression.func in (sympy.floor, sympy.ceiling):
        # One division of whole numbers: 124 / 3 - 4 / 3 in floats is less than 40.
        numerator, denominator = expression.args[0].as_numer_denom()
        part, by = _compile(numerator, position), _compile(denominator, position)
        rounded = np.floor if expression.func is sympy.floor else np.ceil
        return lambda arguments: rounded(part(arguments) / by(arguments))
    if expression.func is sympy.log:
        part = _compile(expression.args[0], position)
        return lambda arguments: _log(part(arguments))
    operation = _OPERATIONS.get(expression.func.__name__)
    if operation is None:
        raise DimError(
            f"the size {expression} cannot be evaluated: {expression.func.__name__} is not arithmetic"
        )
    parts = [_compile(part, position) for part in expression.args]
    return lambda arguments: functools.reduce(operation, [part(arguments) for part in parts])


def _log(value: Value) -> Value:
    with np.errstate(divide="ignore"):  # nothing is sorted in no steps: what reads it is at least 1
        return np.log(value)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "Add": operator.add,
    "Mul": operator.mul,
    "Pow": operator.pow,
    "Min": np.minimum,
    "Max": np.maximum,
    "Mod": np.mod,
}
