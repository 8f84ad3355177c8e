"""Operators that select: the number of results is asked for, or depends on data."""

from __future__ import annotations

from collections.abc import Sequence

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.info import Call, Info, Scalar
from energy_opt.ir.shapes.layout import INT64, as_dim
from energy_opt.ir.shapes.registry import shape_rule


@shape_rule("NonZero")
def non_zero(call: Call) -> Sequence[Info]:
    """One row for each axis; how many elements are not zero, only data tells."""
    x = call.input(0)
    rank = None if x.shape is None else max(len(x.shape), 1)
    if x.values is not None and all(isinstance(v, (int, float)) for v in x.values):
        number: Dim = sum(v != 0 for v in x.values)
    else:
        number = call.space.fresh()
    return [Info((call.space.fresh(hint="rank") if rank is None else rank, number), INT64)]


@shape_rule("Compress")
def compress(call: Call) -> Sequence[Info]:
    """Those along `axis` for which the condition holds."""
    x, condition = call.input(0), call.input(1)
    number: Dim
    if condition.values is not None and all(isinstance(v, int) for v in condition.values):
        number = sum(bool(v) for v in condition.values)
    else:
        number = call.space.fresh()
    if "axis" not in call.attrs:
        return [Info((number,), x.dtype)]
    if x.shape is None:
        return [Info(None, x.dtype)]
    axis = call.axis(call.int_attr("axis"), len(x.shape))
    return [Info((*x.shape[:axis], number, *x.shape[axis + 1 :]), x.dtype)]


@shape_rule("Unique", "com.microsoft::Unique")
def unique(call: Call) -> Sequence[Info]:
    """The distinct elements, or slices along `axis`; where each came from; where each goes; how often it occurs."""
    x = call.input(0)
    number = call.space.fresh()
    whole: Dim | None = None if x.shape is None else call.space.mul(*x.shape)
    result: tuple[Dim, ...] | None = (number,)
    if "axis" in call.attrs:
        result, whole = None, None
        if x.shape is not None:
            axis = call.axis(call.int_attr("axis"), len(x.shape))
            result, whole = (*x.shape[:axis], number, *x.shape[axis + 1 :]), x.shape[axis]
    places = Info((number,), INT64)
    inverse = Info((call.space.fresh() if whole is None else whole,), INT64)
    if call.domain:
        return [Info(result, x.dtype), inverse, places]
    return [Info(result, x.dtype), places, inverse, places]


@shape_rule("TopK")
def top_k(call: Call) -> Sequence[Info]:
    """The k largest along `axis` and their places."""
    x = call.input(0)
    number: Scalar
    if call.version < 10:
        number = call.int_attr("k")
    else:
        operand = call.input(1)
        number = operand.values[0] if operand.values else None
    if x.shape is None:
        return [Info(None, x.dtype), Info(None, INT64)]
    axis = call.axis(call.int_attr("axis", -1), len(x.shape))
    k, dim = as_dim(call, number, "k"), x.shape[axis]
    if isinstance(k, int) and isinstance(dim, int) and k > dim:
        call.fail(f"the {k} largest of {dim}")
    dims = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    return [Info(dims, x.dtype), Info(dims, INT64)]


@shape_rule("OneHot")
def one_hot(call: Call) -> Sequence[Info]:
    """The indices with a new axis as long as `depth`."""
    indices, depth, values = call.input(0), call.input(1), call.input(2)
    if indices.shape is None:
        return [Info(None, values.dtype)]
    axis = call.axis(call.int_attr("axis", -1), len(indices.shape) + 1)
    number = as_dim(call, depth.values[0] if depth.values else None, "depth")
    return [Info((*indices.shape[:axis], number, *indices.shape[axis:]), values.dtype)]


@shape_rule("ArgMax", "ArgMin")
def arg_reduce(call: Call) -> Sequence[Info]:
    """Without `axis`, or with a 1 in its place."""
    x = call.input(0)
    if x.shape is None:
        return [Info(None, INT64)]
    axis = call.axis(call.int_attr("axis", 0), len(x.shape))
    kept: tuple[Dim, ...] = (1,) if call.int_attr("keepdims", 1) else ()
    return [Info((*x.shape[:axis], *kept, *x.shape[axis + 1 :]), INT64)]


@shape_rule("NonMaxSuppression")
def non_max_suppression(call: Call) -> Sequence[Info]:
    """(batch, class, box) of each box kept; how many, only data tells."""
    return [Info((call.space.fresh(), 3), INT64)]
