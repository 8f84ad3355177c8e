"""Operators that pick elements by place: shape, gather, slice, range."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir
import sympy

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.elementwise import prefer
from energy_opt.ir.shapes.info import VALUES_LIMIT, Call, Info, Scalar, array, count, flat
from energy_opt.ir.shapes.layout import INT64
from energy_opt.ir.shapes.registry import shape_rule
from energy_opt.ir.shapes.space import MAX_DIM

_FAR = 2**31 - 1
"""Ends from here on mean "to the last element": exporters write the largest int32 or int64."""


@shape_rule("Shape")
def shape(call: Call) -> Sequence[Info]:
    """The sizes of the input, from `start` to `end`."""
    x = call.input(0)
    if x.shape is None or x.nest:
        return [Info((call.space.fresh(hint="rank"),), INT64)]
    start = call.int_attr("start", 0)
    end = call.int_attr("end", len(x.shape))
    dims = x.shape[start:end]
    return [Info((len(dims),), INT64, dims)]


@shape_rule("Size")
def size(call: Call) -> Sequence[Info]:
    """The number of elements."""
    x = call.input(0)
    return [Info((), INT64, None if x.shape is None else (call.space.mul(*x.shape),))]


@shape_rule("Gather")
def gather(call: Call) -> Sequence[Info]:
    """`axis` replaced by the shape of the indices."""
    x, indices = call.input(0), call.input(1)
    if x.shape is None or indices.shape is None:
        return [Info(None, x.dtype)]
    axis = call.axis(call.int_attr("axis", 0), len(x.shape))
    result = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    values = None
    elements, places = array(x), array(indices)
    if elements is not None and places is not None:
        length = elements.shape[axis]
        known = all(isinstance(p, int) and -length <= p < length for p in places.ravel())
        if known and (count(result) or 0) <= VALUES_LIMIT:
            values = flat(elements.take(places.astype(np.int64), axis=axis))
    return [Info(result, x.dtype, values)]


@shape_rule("Slice")
def slice_(call: Call) -> Sequence[Info]:
    """Each named axis from start to end by step."""
    x = call.input(0)
    if x.shape is None:
        return [Info(None, x.dtype)]
    rank = len(x.shape)
    starts: Sequence[Scalar] | None
    ends: Sequence[Scalar] | None
    given: Sequence[Scalar] | None
    steps: Sequence[Scalar] | None = None
    if call.version < 10:
        starts, ends = call.ints_attr("starts") or [], call.ints_attr("ends") or []
        given = call.ints_attr("axes")
    else:
        lengths = [info.shape for info in call.inputs[1:3] if info is not None]
        starts, ends = call.input(1).values, call.input(2).values
        number = len(starts if starts is not None else ends if ends is not None else ())
        if starts is None and ends is None:
            one = lengths[0]
            number = one[0] if one and isinstance(one[0], int) else rank
        starts = [None] * min(number, 64) if starts is None else starts
        ends = [None] * min(number, 64) if ends is None else ends
        axes_info, steps_info = call.optional(3), call.optional(4)
        given = None if axes_info is None else axes_info.values
        if axes_info is not None and (given is None or None in given):
            return [Info(tuple(call.space.fresh() for _ in x.shape), x.dtype)]
        if steps_info is not None:
            steps = steps_info.values or [None] * len(starts)
    axes = list(range(len(starts))) if given is None else [_whole(call, axis) for axis in given]
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        call.fail(
            f"{len(starts)} starts, {len(ends)} ends, {len(axes)} axes and {len(steps)} steps"
        )
    dims: list[Dim] = list(x.shape)
    cuts: list[slice] | None = [slice(None)] * rank
    for start, end, axis_, step in zip(starts, ends, axes, steps, strict=True):
        axis = call.axis(axis_, rank)
        dims[axis] = _extent(call, x.shape[axis], start, end, step)
        if not (isinstance(start, int) and isinstance(end, int) and isinstance(step, int)):
            cuts = None
        elif cuts is not None:
            cuts[axis] = slice(start, None if step < 0 and end <= -_FAR else end, step)
    elements = array(x)
    values = None if elements is None or cuts is None else flat(elements[tuple(cuts)])
    return [Info(tuple(dims), x.dtype, values)]


def _whole(call: Call, value: Scalar) -> int:
    if not isinstance(value, int):
        call.fail(f"axis {value} is not an integer")
    return value


def _extent(call: Call, dim: Dim, start: Scalar, end: Scalar, step: Scalar) -> Dim:
    """Number of elements from start to end by step along an axis of size `dim`."""
    space = call.space
    if isinstance(step, int) and step == 0:
        call.fail("a step is 0")
    if start is None or end is None or not isinstance(step, int):
        return space.fresh()
    if isinstance(start, float) or isinstance(end, float):
        call.fail("a start or end is not an integer")
    if isinstance(dim, int) and isinstance(start, int) and isinstance(end, int):
        return len(range(*slice(start, end, step).indices(min(dim, MAX_DIM))))
    if step < 0:
        whole = (start in (-1,) or _far(start)) and isinstance(end, int) and end <= -_FAR
        return space.ceil_div(dim, -step) if whole else space.fresh()
    first = _bound(call, dim, start)
    last = dim if _far(end) else _bound(call, dim, end)
    if first is None or last is None:
        return space.fresh()
    return space.ceil_div(space.maximum(space.sub(last, first), 0), step)


def _far(value: Scalar) -> bool:
    return isinstance(value, int) and value >= _FAR


def _bound(call: Call, dim: Dim, place: Dim) -> Dim | None:
    """Where a start or end lands on an axis: negative ones count from the end, none leaves the axis."""
    space = call.space
    if isinstance(place, int):
        if place < 0:
            return space.maximum(space.add(dim, place), 0)
        return space.minimum(dim, place)
    if space.at_least(place, 0):
        return space.minimum(dim, place)
    if space.at_least(-place, 1):
        return space.maximum(space.add(dim, place), 0)
    return None


@shape_rule("GatherElements")
def gather_elements(call: Call) -> Sequence[Info]:
    """The shape of the indices."""
    return [Info(call.input(1).shape, call.input(0).dtype)]


@shape_rule("GatherND")
def gather_nd(call: Call) -> Sequence[Info]:
    """Batch axes, the indices but for their last axis, and what one index tuple leaves of the data."""
    x, indices = call.input(0), call.input(1)
    if x.shape is None or indices.shape is None:
        return [Info(None, x.dtype)]
    if not indices.shape:
        call.fail("the indices are a scalar, they need an axis that holds index tuples")
    batch = call.int_attr("batch_dims", 0) if call.version >= 12 else 0
    width = indices.shape[-1]
    if not isinstance(width, int):
        return [Info(None, x.dtype)]
    if batch < 0 or batch >= len(indices.shape) or batch + width > len(x.shape):
        call.fail(f"index tuples of {width} after {batch} batch axes, the data has {len(x.shape)}")
    for axis, span in enumerate(indices.spans or ()):
        # exporters index a mask with its own positions: 0 to batch - 1, 0 to length - 1
        dim = x.shape[batch + axis] if batch + axis < len(x.shape) else None
        if isinstance(span, sympy.Symbol) and isinstance(dim, sympy.Symbol) and span != dim:
            prefer(call.space, dim, span)
    return [Info((*indices.shape[:-1], *x.shape[batch + width :]), x.dtype)]


@shape_rule("Range", "com.microsoft::Range")
def range_(call: Call) -> Sequence[Info]:
    """start, start + delta, ... below limit."""
    start, limit = call.input(0), call.input(1)
    delta = call.optional(2)
    step = Info((), start.dtype, (1,)) if delta is None else delta
    scalars = [
        info.values[0] if info.values is not None and len(info.values) == 1 else None
        for info in (start, limit, step)
    ]
    first, last, by = scalars
    if first is None or last is None or by is None:
        return [Info((call.space.fresh(),), start.dtype)]
    if isinstance(by, (int, float)) and by == 0:
        call.fail("delta is 0")
    if all(isinstance(value, (int, float)) for value in scalars):
        return [_counted(call, first, last, by, start.dtype)]
    if not isinstance(by, int) or isinstance(first, float) or isinstance(last, float):
        return [Info((call.space.fresh(),), start.dtype)]
    span = call.space.sub(last, first) if by > 0 else call.space.sub(first, last)
    number = call.space.ceil_div(call.space.maximum(span, 0), abs(by))
    return [Info((number,), start.dtype, spans=(number,) if first == 0 and by == 1 else None)]


def _counted(
    call: Call, first: float, last: float, by: float, dtype: onnx_ir.DataType | None
) -> Info:
    if isinstance(first, int) and isinstance(last, int) and isinstance(by, int):
        number = max(0, -((first - last) // by))
        if number > MAX_DIM:
            call.fail(f"from {first} to {last} by {by} is more than a tensor can hold")
        values = tuple(range(first, last, by)) if number <= VALUES_LIMIT else None
        return Info((number,), dtype, values)
    exact = (last - first) / by
    if not math.isfinite(exact) or exact > MAX_DIM:
        call.fail(f"from {first} to {last} by {by} is more than a tensor can hold")
    number = max(0, math.ceil(exact))
    followed = tuple(float(first + i * by) for i in range(number)) if number <= 64 else None
    return Info((number,), dtype, followed)
