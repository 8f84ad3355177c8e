"""Operators that rearrange elements: reshape, transpose, concat, split, expand, tile, pad and their kin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.elementwise import broadcast, prefer
from energy_opt.ir.shapes.follow import rational
from energy_opt.ir.shapes.info import VALUES_LIMIT, Call, Info, Scalar, array, count, flat
from energy_opt.ir.shapes.registry import shape_rule

INT64 = onnx_ir.DataType.INT64


def as_dim(call: Call, value: Scalar, what: str) -> Dim:
    """A followed element used as a size; a new symbol where it is unknown. Raises ModelError where it is negative."""
    if value is None:
        return call.space.fresh()
    if isinstance(value, int) and value < 0:
        call.fail(f"{what} is {value}, a size cannot be negative")
    if isinstance(value, float):
        if not value.is_integer():
            call.fail(f"{what} is {value}, not an integer")
        return int(value)
    return value


def dims_of(call: Call, info: Info, what: str) -> list[Dim] | None:
    """The sizes that a shape operand holds; symbols where only their number is known; None where not even that."""
    if info.values is not None:
        return [as_dim(call, value, what) for value in info.values]
    if info.shape is not None and len(info.shape) == 1 and isinstance(info.shape[0], int):
        if info.shape[0] > 64:
            call.fail(f"{what} has {info.shape[0]} entries, no tensor has that many dimensions")
        return [call.space.fresh() for _ in range(info.shape[0])]
    return None


def single(x: Info) -> tuple[Dim | None, ...] | None:
    """The span of an index tensor whose elements are all of one kind."""
    return x.spans if x.spans is not None and len(x.spans) == 1 else None


@shape_rule("Transpose")
def transpose(call: Call) -> Sequence[Info]:
    """The axes in the order of `perm`, reversed by default."""
    x = call.input(0)
    if x.shape is None:
        return [Info(None, x.dtype)]
    order = call.ints_attr("perm")
    rank = len(x.shape)
    if order is None:
        order = list(range(rank))[::-1]
    elif sorted(order) != list(range(rank)):
        call.fail(f"perm {order} is not an order of {rank} axes")
    elements = array(x)
    values = None if elements is None else flat(elements.transpose(order))
    return [Info(tuple(x.shape[axis] for axis in order), x.dtype, values)]


@shape_rule("Concat")
def concat(call: Call) -> Sequence[Info]:
    """The inputs one after another along `axis`."""
    inputs = [info for info in call.inputs if info is not None]
    if not inputs:
        call.fail("no inputs")
    dtype = next((info.dtype for info in inputs if info.dtype is not None), None)
    return [join(call, inputs, call.int_attr("axis", 1 if call.version < 4 else None), dtype)]


def join(call: Call, inputs: Sequence[Info], axis: int, dtype: Any) -> Info:
    """The tensors joined along one axis."""
    shapes = [info.shape for info in inputs if info.shape is not None]
    if len(shapes) < len(inputs):
        if not shapes:
            return Info(None, dtype)
        at = call.axis(axis, len(shapes[0]))  # the other axes are known from one input alone
        dims = [*shapes[0]]
        dims[at] = call.space.fresh()
        return Info(tuple(dims), dtype)
    rank = len(shapes[0])
    at = call.axis(axis, rank)
    result = list(shapes[0])
    for shape in shapes[1:]:
        if len(shape) != rank:
            call.fail(f"tensors of {rank} and {len(shape)} dimensions cannot be concatenated")
        for i, dim in enumerate(shape):
            if i == at or dim == result[i]:
                continue
            if isinstance(dim, int) and isinstance(result[i], int):
                call.fail(
                    f"sizes {result[i]} and {dim} of axis {i} must be the same to concatenate"
                )
            result[i] = prefer(call.space, result[i], dim)
    result[at] = call.space.add(*(shape[at] for shape in shapes))
    spans = None
    columns = at == rank - 1 > 0 and all(shape[-1] == 1 for shape in shapes)
    if columns and any(info.spans for info in inputs):
        spans = tuple((single(info) or (None,))[0] for info in inputs)
    return Info(tuple(result), dtype, _joined(inputs, at, tuple(result)), spans=spans)


def _joined(inputs: Sequence[Info], axis: int, shape: tuple[Dim, ...]) -> tuple[Scalar, ...] | None:
    """Followed elements of the joined tensor; those of unfollowed parts stay unknown."""
    total = count(shape)
    if total is None or total > VALUES_LIMIT or all(info.values is None for info in inputs):
        return None
    parts = []
    for info in inputs:
        part = array(info)
        if part is None:
            part = np.full(info.shape or (), None, dtype=object)
        parts.append(part)
    return flat(np.concatenate(parts, axis=axis))


@shape_rule("Split")
def split(call: Call) -> Sequence[Info]:
    """Consecutive pieces along `axis`, of the sizes given or as equal as they come."""
    x = call.input(0)
    if x.shape is None:
        return [Info(None, x.dtype)] * call.outputs
    axis = call.axis(call.int_attr("axis", 0), len(x.shape))
    dim = x.shape[axis]
    operand = call.optional(1)
    given: Sequence[Scalar] | None = call.ints_attr("split")
    if given is None and operand is not None:
        given = operand.values
        if given is None:
            given = [None] * call.outputs
    pieces = call.outputs
    sizes: list[Dim]
    if given is None:
        sizes = _equal_pieces(call, dim, call.int_attr("num_outputs", pieces))
    else:
        if len(given) != pieces:
            call.fail(f"{len(given)} split sizes for {pieces} outputs")
        sizes = [as_dim(call, size, "a split size") for size in given]
        total = count(sizes)
        if isinstance(dim, int) and total is not None and sum(sizes) != dim:
            call.fail(f"split sizes {sizes} do not add up to {dim}")
    result, start = [], 0
    elements = array(x)
    for size in sizes:
        values = None
        if elements is not None and isinstance(size, int) and start >= 0:
            values = flat(elements.take(range(start, start + size), axis=axis))
            start += size
        else:
            start = -1
        result.append(Info((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype, values))
    return result


def _equal_pieces(call: Call, dim: Dim, pieces: int) -> list[Dim]:
    """Sizes of an equal split; the last one is smaller where it does not come out even."""
    if pieces < 1 or pieces != call.outputs:
        call.fail(f"{pieces} pieces for {call.outputs} outputs")
    size = call.space.ceil_div(dim, pieces)
    if isinstance(dim, int) and isinstance(size, int):
        return [max(0, min(size, dim - i * size)) for i in range(pieces)]
    if call.version < 18:  # before opset 18 it had to divide
        return [call.space.divide(dim, pieces)] * pieces
    rest = call.space.sub(dim, call.space.mul(size, pieces - 1))
    return [size] * (pieces - 1) + [call.space.maximum(rest, 0)]


@shape_rule("Expand")
def expand(call: Call) -> Sequence[Info]:
    """Broadcast of the input with the requested shape."""
    x = call.input(0)
    target = dims_of(call, call.input(1), "the requested shape")
    if target is None:
        return [Info(None, x.dtype)]
    if x.shape is None:
        return [Info(None, x.dtype)]
    shape = broadcast(call, (x.shape, tuple(target)))
    values = None
    total = count(shape)
    elements = array(x)
    if elements is not None and total is not None and total <= VALUES_LIMIT:
        values = flat(np.broadcast_to(elements, shape))  # type: ignore[arg-type]
    return [Info(shape, x.dtype, values, spans=single(x))]


@shape_rule("Tile")
def tile(call: Call) -> Sequence[Info]:
    """Each axis repeated."""
    x = call.input(0)
    if x.shape is None:
        return [Info(None, x.dtype)]
    rank = len(x.shape)
    if call.version < 6:
        axis, tiles = call.ints(2, "axis"), call.optional(1)
        if not axis or tiles is None or tiles.values is None:
            return [Info(tuple(call.space.fresh() for _ in x.shape), x.dtype)]
        repeats: list[Dim] = [1] * rank
        repeats[call.axis(axis[0], rank)] = as_dim(call, tiles.values[0], "tiles")
    else:
        operand = call.input(1)
        if operand.values is None:
            return [Info(tuple(call.space.fresh() for _ in x.shape), x.dtype)]
        if len(operand.values) != rank:
            call.fail(f"{len(operand.values)} repeats for {rank} dimensions")
        repeats = [as_dim(call, value, "a repeat") for value in operand.values]
    shape = tuple(call.space.mul(d, r) for d, r in zip(x.shape, repeats, strict=True))
    values = None
    total, elements = count(shape), array(x)
    if elements is not None and total is not None and total <= VALUES_LIMIT:
        values = flat(np.tile(elements, repeats))
    return [Info(shape, x.dtype, values)]


@shape_rule("Pad")
def pad(call: Call) -> Sequence[Info]:
    """Each axis with its padding before and after, which may be negative."""
    x = call.input(0)
    if x.shape is None:
        return [Info(None, x.dtype)]
    rank = len(x.shape)
    pads: Sequence[Scalar] | None = call.ints_attr("pads") or call.ints_attr("paddings")
    axes: list[int] = list(range(rank))
    if call.version >= 11:
        pads = call.input(1).values
        if call.optional(3) is not None:
            given = call.ints(3, "axes")
            if given is None:
                return [Info(tuple(call.space.fresh() for _ in x.shape), x.dtype)]
            axes = [call.axis(axis, rank) for axis in given]
    shape = list(x.shape)
    if pads is None:
        for axis in axes:
            shape[axis] = call.space.fresh()
        return [Info(tuple(shape), x.dtype)]
    if len(pads) != 2 * len(axes):
        call.fail(f"{len(pads)} pads for {len(axes)} axes, there must be two for each")
    for i, axis in enumerate(axes):
        before, after = rational(pads[i]), rational(pads[i + len(axes)])
        if before is None or after is None:
            shape[axis] = call.space.fresh()
            continue
        shape[axis] = call.space.add(x.shape[axis], before, after)
        if isinstance(shape[axis], int) and shape[axis] < 0:
            call.fail(f"axis {axis} of size {x.shape[axis]} is padded by {before} and {after}")
    return [Info(tuple(shape), x.dtype)]


@shape_rule("ConstantOfShape")
def constant_of_shape(call: Call) -> Sequence[Info]:
    """The requested shape, filled with one value."""
    operand = call.input(0)
    tensor = call.attrs.get("value")
    dtype = onnx_ir.DataType.FLOAT if tensor is None else tensor.dtype
    dims = dims_of(call, operand, "a size")
    if dims is None:
        return [Info(None, dtype)]
    total, values = count(dims), None
    if total is not None and total <= VALUES_LIMIT:
        fill: Any = 0.0
        if tensor is not None:
            fill = tensor.numpy().ravel()[:1].tolist()[0] if tensor.size == 1 else None
        if isinstance(fill, (bool, int, float)):
            values = (int(fill) if isinstance(fill, bool) else fill,) * total
    return [Info(tuple(dims), dtype, values)]
