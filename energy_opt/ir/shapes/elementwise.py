"""Elementwise operators: broadcasting, and the arithmetic that exporters do on shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.follow import BINARY, UNARY, truncated, truth, unary
from energy_opt.ir.shapes.info import (
    FLOATS,
    SHAPE_INTEGERS,
    VALUES_LIMIT,
    Call,
    Info,
    Scalar,
    array,
    fitting,
    flat,
)
from energy_opt.ir.shapes.registry import ops, shape_rule
from energy_opt.ir.shapes.space import Space

BOOL = onnx_ir.DataType.BOOL

SAME_AS_INPUT = """Abs Acos Acosh Affine Asin Asinh Atan Atanh BitwiseNot Ceil Celu Clip Cos Cosh CumProd CumSum Elu Erf
 Exp Floor Gelu GroupNormalization Hardmax HardSigmoid HardSwish ImageScaler InstanceNormalization LRN LeakyRelu Log
 LogSoftmax LpNormalization MeanVarianceNormalization Mish Neg PRelu ParametricSoftplus Reciprocal Relu ReverseSequence
 Round ScaledTanh Scatter ScatterElements ScatterND Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt
 Swish Tan Tanh TensorScatter ThresholdedRelu Trilu"""


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
    function = UNARY.get(call.op)
    values = None
    if function is not None and x.values is not None:
        values = tuple(unary(function, call, value) for value in x.values)
    elif call.op == "Clip":
        values = _clip(call, x)
    return [Info(x.shape, x.dtype, fitting(values, x.dtype))]


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
        values = tuple(BINARY[op](call.space, value, limit, False) for value in values)
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
    return Info(shape, dtype, fitting(_followed(call, [a, b], shape), dtype))


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
    return [
        Info(
            shape,
            dtype,
            None if call.op == "Mean" else fitting(_followed(call, inputs, shape), dtype),
        )
    ]


def _followed(
    call: Call, inputs: list[Info], shape: tuple[Dim, ...] | None
) -> tuple[Scalar, ...] | None:
    """The elements of the result where those of all inputs are followed."""
    function = BINARY.get("Fmod" if call.attrs.get("fmod") else call.op)
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
            values = tuple(truth(call.space, value) for value in values)
        elif dtype in SHAPE_INTEGERS:
            values = tuple(truncated(call.space, value) for value in values)
        else:
            values = tuple(float(v) if isinstance(v, int) else v for v in values)
    return [Info(x.shape, dtype, fitting(values, dtype), spans=x.spans)]


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
    return None


@shape_rule("Where")
def where(call: Call) -> Sequence[Info]:
    """Broadcast of all three; a known condition picks among followed values."""
    condition, x, y = call.input(0), call.input(1), call.input(2)
    shape = broadcast(call, (condition.shape, x.shape, y.shape))
    values = None
    found = [array(info) for info in (condition, x, y)]
    if condition.values is None and x.values is not None and x.values == y.values:
        found[0] = found[1]  # both branches agree: the condition does not matter
    arrays = [item for item in found if item is not None]
    if len(arrays) == 3:
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
