"""Arithmetic on followed elements: exact on numbers and symbols, None where a result is not certain."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import sympy

from energy_opt.ir.shapes.info import Call, Scalar
from energy_opt.ir.shapes.space import MAX_DIM, Space


def unary(function: Callable[[Any], Any], call: Call, value: Scalar) -> Scalar:
    """The function of one element; of a symbol where that is as plain."""
    if value is None:
        return None
    if not isinstance(value, (int, float)):
        if call.op == "Neg":
            return -value
        if call.op in ("Relu", "Abs"):
            return value if call.space.at_least(value, 0) else None
        if call.op in ("Floor", "Ceil"):
            if value.is_integer:
                return value
            if call.op == "Floor":
                return call.space.bounded(sympy.floor(value))
            return call.space.bounded(-sympy.floor(-value))
        return None
    try:
        result = function(value)
    except (ValueError, OverflowError):
        return None
    return type(value)(result)


UNARY: dict[str, Callable[[Any], Any]] = {
    "Neg": lambda x: -x,
    "Abs": abs,
    "Floor": math.floor,
    "Ceil": math.ceil,
    "Round": round,
    "Relu": lambda x: max(x, 0),
    "Sqrt": math.sqrt,
    "Sign": lambda x: (x > 0) - (x < 0),
    "Exp": math.exp,
    "Log": math.log,
    "Reciprocal": lambda x: 1 / x if x else math.inf,
}


def rational(value: Any) -> Any:
    """A float as an exact fraction where that is a simple one, for arithmetic with symbols; None otherwise."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value) or abs(value) > 2**31:
        return None
    top, bottom = value.as_integer_ratio()
    return sympy.Rational(top, bottom) if bottom <= 4096 else None


def _number(result: Any, left: Any, right: Any) -> Scalar:
    """Python's result, kept in 64 bits."""
    if isinstance(result, int) and not isinstance(left, float) and not isinstance(right, float):
        return result if -MAX_DIM - 1 <= result <= MAX_DIM else None
    return float(result) if math.isfinite(result) else None


def _arith(function: Callable[[Any, Any], Any]) -> Callable[[Space, Any, Any, bool], Scalar]:
    def apply(space: Space, a: Any, b: Any, integers: bool) -> Scalar:
        if isinstance(a, (int, float)) and isinstance(b, (int, float)):
            try:
                return _number(function(a, b), a, b)
            except OverflowError:
                return None
        a, b = rational(a), rational(b)
        if a is None or b is None:
            return None
        return space.bounded(sympy.sympify(function(a, b)))

    return apply


def _div(space: Space, a: Any, b: Any, integers: bool) -> Scalar:
    if isinstance(b, (int, float)) and b == 0:
        return None
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        if integers and isinstance(a, int) and isinstance(b, int):
            quotient = abs(a) // abs(b)
            return -quotient if (a < 0) != (b < 0) else quotient
        return _number(a / b, 0.0, 0.0)
    a, b = rational(a), rational(b)
    if a is None or b is None:
        return None
    if integers:
        if not (space.at_least(a, 0) and space.at_least(b, 1)):
            return None
        return space.floor_div(a, b)
    return space.divide(sympy.sympify(a), b)


def _mod(space: Space, a: Any, b: Any, integers: bool) -> Scalar:
    if isinstance(a, int) and isinstance(b, int) and b:
        return a % b
    if isinstance(b, int) and b == 1 and integers:
        return 0
    if isinstance(a, sympy.Expr) and isinstance(b, int) and b > 0 and space.at_least(a, 0):
        return space.sub(a, space.mul(b, space.floor_div(a, b)))
    return None


def _fmod(space: Space, a: Any, b: Any, integers: bool) -> Scalar:
    if isinstance(a, int) and isinstance(b, int) and b:
        return abs(a) % abs(b) * (-1 if a < 0 else 1)
    return _mod(space, a, b, integers) if isinstance(a, sympy.Expr) else None


def _pow(space: Space, a: Any, b: Any, integers: bool) -> Scalar:
    if not isinstance(b, (int, float)) or not 0 <= b <= 8 or a is None:
        return None
    if isinstance(a, (int, float)):
        return None if isinstance(a, int) and a.bit_length() > 63 else _number(a**b, a, 0)
    return space.bounded(a ** int(b)) if float(b).is_integer() else None


def _compare(sign: Callable[[Any, Any], bool], strict: bool, less: bool) -> Any:
    """`a < b` and its kin, decided for symbols where bounds decide it."""

    def apply(space: Space, a: Any, b: Any, integers: bool) -> Scalar:
        if isinstance(a, (int, float)) and isinstance(b, (int, float)):
            return int(sign(a, b))
        a, b = rational(a), rational(b)
        if a is None or b is None:
            return None
        if a == b:
            return int(not strict)
        low, high = (b, a) if less else (a, b)
        # the relation holds if low - high >= (1 or 0), fails if high - low >= (0 or 1)
        if space.at_least(low - high, int(strict)):
            return 1
        return 0 if space.at_least(high - low, int(not strict)) else None

    return apply


def _equal(space: Space, a: Any, b: Any, integers: bool) -> Scalar:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return int(a == b)
    a, b = rational(a), rational(b)
    if a is None or b is None:
        return None
    if a == b:
        return 1
    return 0 if space.at_least(a - b, 1) or space.at_least(b - a, 1) else None


def _lattice(largest: bool) -> Any:
    def apply(space: Space, a: Any, b: Any, integers: bool) -> Scalar:
        if isinstance(a, (int, float)) and isinstance(b, (int, float)):
            return max(a, b) if largest else min(a, b)
        a, b = rational(a), rational(b)
        if a is None or b is None:
            return None
        return space.maximum(a, b) if largest else space.minimum(a, b)

    return apply


def _logic(function: Callable[[bool, bool], bool]) -> Any:
    def apply(space: Space, a: Any, b: Any, integers: bool) -> Scalar:
        return (
            int(function(bool(a), bool(b))) if isinstance(a, int) and isinstance(b, int) else None
        )

    return apply


BINARY: dict[str, Callable[[Space, Any, Any, bool], Scalar]] = {
    "Add": _arith(lambda a, b: a + b),
    "Sum": _arith(lambda a, b: a + b),
    "Sub": _arith(lambda a, b: a - b),
    "Mul": _arith(lambda a, b: a * b),
    "Div": _div,
    "Mod": _mod,
    "Fmod": _fmod,
    "Pow": _pow,
    "Max": _lattice(True),
    "Min": _lattice(False),
    "Equal": _equal,
    "Less": _compare(lambda a, b: a < b, True, True),
    "LessOrEqual": _compare(lambda a, b: a <= b, False, True),
    "Greater": _compare(lambda a, b: a > b, True, False),
    "GreaterOrEqual": _compare(lambda a, b: a >= b, False, False),
    "And": _logic(lambda a, b: a and b),
    "Or": _logic(lambda a, b: a or b),
    "Xor": _logic(lambda a, b: a != b),
}


def truth(space: Space, value: Scalar) -> Scalar:
    """The element as a boolean, 0 or 1."""
    if value is None or isinstance(value, (int, float)):
        return None if value is None else int(bool(value))
    return 1 if space.at_least(value, 1) else None


def truncated(space: Space, value: Scalar) -> Scalar:
    """The element cut to an integer, towards 0."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and abs(value) <= MAX_DIM else None
    if value.is_integer:
        return value
    return space.bounded(sympy.floor(value)) if space.at_least(value, 0) else None
