"""Operators that give the same elements other axes: reshape, flatten, squeeze, unsqueeze."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.elementwise import prefer
from energy_opt.ir.shapes.info import Call, Info, Scalar, count
from energy_opt.ir.shapes.layout import as_dim, dims_of, single
from energy_opt.ir.shapes.registry import shape_rule


@shape_rule("Reshape")
def reshape(call: Call) -> Sequence[Info]:
    """The requested shape: 0 copies a size, -1 takes what is left."""
    x = call.input(0)
    if call.version < 5:
        target: Sequence[Scalar] = call.ints_attr("shape") or []
    else:
        operand = call.input(1)
        if x.spans is not None and len(x.spans) > 1:
            x = x._replace(spans=None)
        if operand.values is None:
            dims = dims_of(call, operand, "the new shape")
            if dims is not None and len(dims) == 0:
                return [Info((), x.dtype, x.values)]
            if dims is not None and len(dims) == 1 and x.shape is not None:
                dims = [call.space.mul(*x.shape)]
            return [Info(None if dims is None else tuple(dims), x.dtype)]
        target = operand.values
    shape = _resolve(call, x.shape, target)
    return [Info(shape, x.dtype, x.values if _follows(x, shape) else None, spans=x.spans)]


def _follows(x: Info, shape: tuple[Dim, ...] | None) -> bool:
    return x.values is not None and count(shape) == len(x.values)


def _resolve(
    call: Call, shape: tuple[Dim, ...] | None, target: Sequence[Scalar]
) -> tuple[Dim, ...]:
    space = call.space
    copy_zero = not call.attrs.get("allowzero")
    result: list[Dim] = []
    open_axis: int | None = None
    unknown: list[int] = []
    for axis, value in enumerate(target):
        if isinstance(value, int) and value == -1:
            if open_axis is not None:
                call.fail("two sizes of the new shape are -1, at most one may be")
            open_axis = axis
            result.append(1)
        elif isinstance(value, int) and value == 0 and copy_zero:
            if shape is None:
                result.append(space.fresh())
                unknown.append(axis)
            elif axis < len(shape):
                result.append(shape[axis])
            else:
                call.fail(f"size {axis} of the new shape copies a dimension that the input lacks")
        else:
            if value is None:
                unknown.append(axis)
            result.append(as_dim(call, value, f"size {axis} of the new shape"))
    if shape is None:
        if open_axis is not None:
            result[open_axis] = space.fresh()
        return tuple(result)
    if open_axis is None and len(unknown) == 1:
        open_axis = unknown.pop()  # the one size that is not known follows from the others
    if open_axis is not None:
        others: list[Dim | None] = [
            dim if axis != open_axis else None for axis, dim in enumerate(result)
        ]
        result[open_axis] = space.fresh() if unknown else _left(call, shape, others)
    else:
        before, after = count(shape), count(result)
        if before is not None and after is not None and before != after:
            call.fail(f"{before} elements cannot be reshaped to {after}")
    return tuple(result)


def _left(call: Call, shape: tuple[Dim, ...], asked: list[Dim | None]) -> Dim:
    """The size of the -1 (None in `asked`): all elements by those of the other axes."""
    space = call.space
    shared: list[Dim] = list(shape)
    rest: list[tuple[int, Dim]] = []
    for axis, dim in enumerate(asked):  # cancel what is literally the same before multiplying out
        if dim is None:
            continue
        if dim in shared:
            shared.remove(dim)
        else:
            rest.append((axis, dim))
    if any(dim == 0 for _, dim in rest):
        call.fail("the new shape has no elements and a -1, what is left is not defined")
    for axis, dim in list(rest):
        # [a, s] reshaped to [b, -1] makes sense for a = b only: two names of one batch
        before = shape[axis] if axis < len(shape) else None
        if isinstance(dim, sympy.Symbol) and isinstance(before, sympy.Symbol) and before in shared:
            prefer(space, before, dim)
            shared.remove(before)
            rest.remove((axis, dim))
    top, bottom = space.mul(*shared), space.mul(*(dim for _, dim in rest))
    if isinstance(top, int) and isinstance(bottom, int):
        if bottom == 0 or top % bottom:
            call.fail(f"{top} elements cannot be laid out in rows of {bottom}")
        return top // bottom
    return space.divide(top, bottom)


@shape_rule("Flatten")
def flatten(call: Call) -> Sequence[Info]:
    """Two axes: the product of those before `axis` and of those from it on."""
    x = call.input(0)
    if x.shape is None:
        return [Info((call.space.fresh(), call.space.fresh()), x.dtype)]
    axis = call.axis(call.int_attr("axis", 1), len(x.shape), end=True)
    mul = call.space.mul
    return [Info((mul(*x.shape[:axis]), mul(*x.shape[axis:])), x.dtype)]


@shape_rule("Squeeze")
def squeeze(call: Call) -> Sequence[Info]:
    """Without the axes named, or without all that are 1."""
    x = call.input(0)
    if x.shape is None:
        return [Info(None, x.dtype, x.values if x.values and len(x.values) == 1 else None)]
    axes = call.axes(1, len(x.shape))
    if isinstance(axes, str):
        operand = call.inputs[1]
        if operand is None or operand.shape is None or not isinstance(operand.shape[0], int):
            return [Info(None, x.dtype)]
        ones = [axis for axis, dim in enumerate(x.shape) if dim == 1]
        if len(ones) != operand.shape[0] or not all(isinstance(d, int) for d in x.shape):
            rank = max(len(x.shape) - operand.shape[0], 0)
            return [Info(tuple(call.space.fresh() for _ in range(rank)), x.dtype)]
        axes = ones
    if axes is None:
        axes = [axis for axis, dim in enumerate(x.shape) if dim == 1]
    for axis in axes:
        if isinstance(x.shape[axis], int) and x.shape[axis] != 1:
            call.fail(f"axis {axis} has size {x.shape[axis]}, only 1 can be squeezed")
    shape = tuple(d for i, d in enumerate(x.shape) if i not in axes)
    return [Info(shape, x.dtype, x.values, spans=single(x))]


@shape_rule("Unsqueeze")
def unsqueeze(call: Call) -> Sequence[Info]:
    """With axes of size 1 put in."""
    x = call.input(0)
    given = call.ints_attr("axes")
    operand = call.optional(1)
    if given is None:
        given = call.ints(1, "axes")
    if x.shape is None:
        return [Info(None, x.dtype)]
    if given is None:
        if operand is None or operand.shape is None:
            return [Info(None, x.dtype)]
        more = 1 if not operand.shape else operand.shape[0]
        if not isinstance(more, int) or more > 64:
            return [Info(None, x.dtype)]
        return [Info(tuple(call.space.fresh() for _ in range(len(x.shape) + more)), x.dtype)]
    rank = len(x.shape) + len(given)
    axes = [call.axis(axis, rank) for axis in given]
    if len(set(axes)) != len(axes):
        call.fail(f"axes {given} name one axis twice")
    rest = iter(x.shape)
    shape = tuple(1 if axis in axes else next(rest) for axis in range(rank))
    return [Info(shape, x.dtype, x.values, spans=single(x))]
