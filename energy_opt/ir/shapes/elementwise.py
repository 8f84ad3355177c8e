"""Elementwise operators: broadcasting, and the arithmetic that exporters do on shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir
import sympy

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.info import (
    FLOATS,
    SHAPE_INTEGERS,
    UNKNOWN,
    VALUES_LIMIT,
    Call,
    Info,
    Scalar,
    array,
    flat,
)
from energy_opt.ir.shapes.registry import ops, shape_rule
from energy_opt.ir.shapes.space import MAX_DIM, Space

BOOL = onnx_ir.DataType.BOOL

SAME_AS_INPUT = """Abs Acos Acosh Asin Asinh Atan Atanh Bernoulli_ BitwiseNot Ceil Celu Clip Cos Cosh CumProd CumSum Elu
 Erf Exp Floor Gelu Hardmax HardSigmoid HardSwish InstanceNormalization LeakyRelu Log LogSoftmax LpNormalization LRN
 MeanVarianceNormalization Mish Neg Reciprocal Relu ReverseSequence Round Scatter ScatterElements ScatterND Selu Shrink
 Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh TensorScatter ThresholdedRelu Trilu
 GroupNormalization PRelu ImageScaler ScaledTanh ParametricSoftplus Affine Crop_""".replace(
    "Bernoulli_", ""
).replace("Crop_", "")


def prefer(space: Space, left: Dim, right: Dim) -> Dim:
    """Of two different dims that must be equal, the one to go on with: the model's own and plainer one."""
    space.equal[left, right] = None
    if space.is_minted(left) != space.is_minted(right):
        return right if space.is_minted(left) else left
    if isinstance(left, int) or isinstance(right, int):
        return left if isinstance(left, int) else right
    return right if space.terms(right) < space.terms(left) else left


def broadcast(call: Call, shapes: Sequence[tuple[Dim, ...] | None]) -> tuple[Dim, ...] | None:
    """The common shape under multidirectional broadcasting; None where a shape is unknown.

    Two symbols on one axis are taken as equal, though one might be 1 at run time: `equalities` says so openly.
    """
    result: tuple[Dim, ...] = ()
    for shape in shapes:
        if shape is None:
            return None
        if shape == result or not shape:
            continue
        if not result:
            result = shape
            continue
        rank = max(len(shape), len(result))
        left = (1,) * (rank - len(result)) + result
        right = (1,) * (rank - len(shape)) + shape
        merged: list[Dim] = []
        for a, b in zip(left, right, strict=True):
            if a == b or (isinstance(b, int) and b == 1):
                merged.append(a)
            elif isinstance(a, int) and a == 1:
                merged.append(b)
            elif isinstance(a, int) and isinstance(b, int):
                call.fail(f"sizes {a} and {b} cannot be broadcast together")
            else:
                merged.append(prefer(call.space, a, b))
        result = tuple(merged)
    return result


@shape_rule(*ops(SAME_AS_INPUT))
def same(call: Call) -> Sequence[Info]:
    """Shape and dtype of the first input."""
    x = call.input(0)
    function = _UNARY.get(call.op)
    values = None
    if function is not None and x.values is not None:
        values = tuple(_unary(function, call, value) for value in x.values)
    elif call.op == "Clip":
        values = _clip(call, x)
    return [Info(x.shape, x.dtype, values)]


def _unary(function: Callable[[Any], Any], call: Call, value: Scalar) -> Scalar:
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
    return type(value)(result)  # type: ignore[no-any-return]


_UNARY: dict[str, Callable[[Any], Any]] = {
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


def _clip(call: Call, x: Info) -> tuple[Scalar, ...] | None:
    if x.values is None or call.version < 11:
        return None
    values = x.values
    for index, op in ((1, "Max"), (2, "Min")):
        bound = call.optional(index)
        if bound is None:
            continue
        if bound.values is None or len(bound.values) != 1:
            return None
        limit = bound.values[0]
        values = tuple(_BINARY[op](call.space, value, limit, False) for value in values)
    return values


@shape_rule(*ops("Not IsNaN IsInf RegexFullMatch"))
def predicate(call: Call) -> Sequence[Info]:
    """Shape of the first input, booleans."""
    x = call.input(0)
    values = None
    if call.op == "Not" and x.values is not None:
        values = tuple(int(not v) if isinstance(v, int) else None for v in x.values)
    return [Info(x.shape, BOOL, values)]


@shape_rule(*ops("Add Sub Mul Div Mod Pow BitShift BitwiseAnd BitwiseOr BitwiseXor StringConcat"))
def arithmetic(call: Call) -> Sequence[Info]:
    """Broadcast of both inputs, dtype of the first."""
    a, b = call.input(0), call.input(1)
    dtype = a.dtype if a.dtype is not None or call.op == "Pow" else b.dtype
    return [_binary(call, a, b, dtype)]


@shape_rule(*ops("Equal Less Greater LessOrEqual GreaterOrEqual And Or Xor"))
def comparison(call: Call) -> Sequence[Info]:
    """Broadcast of both inputs, booleans."""
    return [_binary(call, call.input(0), call.input(1), BOOL)]


def _binary(call: Call, a: Info, b: Info, dtype: onnx_ir.DataType | None) -> Info:
    shape = (
        _broadcast_v1(call, a.shape, b.shape)
        if call.version < 7
        else broadcast(call, (a.shape, b.shape))
    )
    return Info(shape, dtype, _followed(call, [a, b], shape))


def _broadcast_v1(
    call: Call, left: tuple[Dim, ...] | None, right: tuple[Dim, ...] | None
) -> tuple[Dim, ...] | None:
    """Before opset 7 the second input is stretched to the first, and only when asked."""
    return left if call.attrs.get("broadcast") else prefer_shape(call, left, right)


def prefer_shape(
    call: Call, left: tuple[Dim, ...] | None, right: tuple[Dim, ...] | None
) -> tuple[Dim, ...] | None:
    """Of two shapes that must be equal the known one, axis by axis. Raises ModelError where they differ."""
    if left is None or right is None:
        return right if left is None else left
    if len(left) != len(right):
        call.fail(f"{len(left)} and {len(right)} dimensions, must be the same")
    merged = []
    for a, b in zip(left, right, strict=True):
        if isinstance(a, int) and isinstance(b, int) and a != b:
            call.fail(f"sizes {a} and {b} must be the same")
        merged.append(a if a == b else prefer(call.space, a, b))
    return tuple(merged)


@shape_rule(*ops("Max Min Sum Mean"))
def variadic(call: Call) -> Sequence[Info]:
    """Broadcast of all inputs."""
    inputs = [info for info in call.inputs if info is not None]
    if not inputs:
        call.fail("no inputs")
    shape = broadcast(call, [info.shape for info in inputs])
    dtype = next((info.dtype for info in inputs if info.dtype is not None), None)
    return [Info(shape, dtype, None if call.op == "Mean" else _followed(call, inputs, shape))]


def _followed(
    call: Call, inputs: list[Info], shape: tuple[Dim, ...] | None
) -> tuple[Scalar, ...] | None:
    """The elements of the result where those of all inputs are followed."""
    function = _BINARY.get(call.op)
    if function is None or any(info.values is None for info in inputs):
        return None
    result = array(inputs[0])
    for info in inputs[1:]:
        other = array(info)
        if result is None or other is None:
            return None
        left, right = np.broadcast_arrays(result, other)
        if left.size > VALUES_LIMIT:
            return None
        integers = inputs[0].dtype not in FLOATS
        merged = [
            None if a is None or b is None else function(call.space, a, b, integers)
            for a, b in zip(left.ravel().tolist(), right.ravel().tolist(), strict=True)
        ]
        result = np.empty(len(merged), dtype=object)
        result[:] = merged
        result = result.reshape(left.shape)
    return None if result is None else flat(result)


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
        return int(function(bool(a), bool(b))) if isinstance(a, int) and isinstance(b, int) else None

    return apply


_BINARY: dict[str, Callable[[Space, Any, Any, bool], Scalar]] = {
    "Add": _arith(lambda a, b: a + b),
    "Sum": _arith(lambda a, b: a + b),
    "Sub": _arith(lambda a, b: a - b),
    "Mul": _arith(lambda a, b: a * b),
    "Div": _div,
    "Mod": _mod,
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


@shape_rule("Cast", "CastLike", "BitCast")
def cast(call: Call) -> Sequence[Info]:
    """Shape of the input, dtype of the attribute or of the second input."""
    x = call.input(0)
    if call.op == "CastLike":
        like = call.input(1)
        dtype = like.dtype
    else:
        dtype = dtype_of(call, call.attrs.get("to"))
    values = x.values
    if values is not None:
        if call.op == "BitCast" or dtype not in SHAPE_INTEGERS | FLOATS:
            values = None
        elif dtype is BOOL:
            values = tuple(_truth(call.space, value) for value in values)
        elif dtype in SHAPE_INTEGERS:
            values = tuple(_truncated(call.space, value) for value in values)
        else:
            values = tuple(float(v) if isinstance(v, int) else v for v in values)
    return [Info(x.shape, dtype, values, spans=x.spans)]


def _truth(space: Space, value: Scalar) -> Scalar:
    if value is None or isinstance(value, (int, float)):
        return None if value is None else int(bool(value))
    return 1 if space.at_least(value, 1) else None


def _truncated(space: Space, value: Scalar) -> Scalar:
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and abs(value) <= MAX_DIM else None
    if value.is_integer:
        return value
    return space.bounded(sympy.floor(value)) if space.at_least(value, 0) else None


def dtype_of(call: Call, code: object) -> onnx_ir.DataType | None:
    """The dtype of an attribute; older models spell it. Raises ModelError where there is no such type."""
    if isinstance(code, str) and code in onnx_ir.DataType.__members__:
        return onnx_ir.DataType[code]
    if isinstance(code, int):
        try:
            return onnx_ir.DataType(code)
        except ValueError:
            pass
    call.fail(f"{code!r} is not an element type", "check the node's attributes")


@shape_rule("Where")
def where(call: Call) -> Sequence[Info]:
    """Broadcast of all three; a known condition picks among followed values."""
    condition, x, y = call.input(0), call.input(1), call.input(2)
    shape = broadcast(call, (condition.shape, x.shape, y.shape))
    values = None
    arrays = [array(info) for info in (condition, x, y)]
    if condition.values is None and x.values is not None and x.values == y.values:
        arrays[0] = arrays[1]  # both branches agree: the condition does not matter
    if all(item is not None for item in arrays):
        picked = [
            None if c is None and a != b else a if c is None or a == b or c else b
            for c, a, b in zip(
                *(item.ravel().tolist() for item in np.broadcast_arrays(*arrays)), strict=True
            )
        ]
        if len(picked) <= VALUES_LIMIT:
            values = tuple(picked)
    return [Info(shape, x.dtype if x.dtype is not None else y.dtype, values)]


@shape_rule("Identity")
def identity(call: Call) -> Sequence[Info]:
    """Everything the input is: a tensor, a sequence, an optional."""
    return [call.input(0)]


@shape_rule("Dropout")
def dropout(call: Call) -> Sequence[Info]:
    """The input and a mask, boolean since opset 10."""
    x = call.input(0)
    return [Info(x.shape, x.dtype, x.values), Info(x.shape, x.dtype if call.version < 10 else BOOL)]


__all__ = ["BOOL", "UNKNOWN", "broadcast", "dtype_of", "prefer", "prefer_shape", "rational"]
