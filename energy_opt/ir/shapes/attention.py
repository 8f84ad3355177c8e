"""Attention with a cache, as ONNX Runtime's contributed operators have it: how long the present is."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.info import Call, Info
from energy_opt.ir.shapes.registry import shape_rule

MS = "com.microsoft"
Shape = tuple[Dim, ...]


@shape_rule(f"{MS}::MultiHeadAttention")
def multi_head(call: Call) -> Sequence[Info]:
    """Heads side by side, the present keys and values, and the scores before the softmax."""
    query, heads = call.input(0), call.int_attr("num_heads")
    q = query.shape
    if q is None or len(q) not in (3, 5) or heads < 1:
        return [Info(None, query.dtype)] * call.outputs
    k, v = (_keys(call, index, heads) for index in (1, 2))
    if k is None:  # q, k and v packed: [b, s, heads, 3, d] or [b, s, 3 * hidden]
        width = q[4] if len(q) == 5 else call.space.divide(q[2], 3 * heads)
        k = (q[0], heads, q[1], width)
    v = k if v is None else v
    past, shared = call.optional(6), call.optional(8) is not None
    before = past.shape if past is not None else None
    total = k[2]
    if before is not None and len(before) == 4:
        total = before[2] if shared else call.space.add(before[2], k[2])
    results: list[Shape] = [
        (q[0], q[1], call.space.mul(heads, v[3])),
        (q[0], heads, total, k[3]),
        (q[0], heads, total, v[3]),
        (q[0], heads, q[1], total),
    ]
    return [Info(shape, query.dtype) for shape in results[: call.outputs]]


def _keys(call: Call, index: int, heads: int) -> Shape | None:
    """(batch, heads, length, width) of keys or values: 4-D, side by side, or keys and values packed."""
    info = call.optional(index)
    shape = None if info is None else info.shape
    if shape is None or len(shape) == 4:
        return shape
    if len(shape) == 5:  # [b, length, heads, 2, d]
        return shape[0], heads, shape[1], shape[4]
    return (shape[0], heads, shape[1], call.space.divide(shape[2], heads))


@shape_rule(f"{MS}::GroupQueryAttention")
def grouped(call: Call) -> Sequence[Info]:
    """The queries' shape, and presents as long as the total or, where that is longer, as the buffer of the past."""
    query, key, past = call.input(0), call.optional(1), call.optional(3)
    heads, kv_heads = call.int_attr("num_heads"), call.int_attr("kv_num_heads")
    q = query.shape
    if q is None or len(q) != 3 or heads < 1 or kv_heads < 1:
        return [Info(None, query.dtype)] * call.outputs
    width = call.space.divide(q[2], heads if key is not None else heads + 2 * kv_heads)
    before = past.shape if past is not None else None
    length = before[2] if before is not None and len(before) == 4 else None
    told = call.optional(6)
    total = told.values[0] if told is not None and told.values else None
    if isinstance(total, (int, sympy.Expr)):
        length = total if length is None else call.space.maximum(length, total)
    else:
        length = q[1] if length is None else call.space.add(length, q[1])
    present = Info((q[0], kv_heads, length, width), query.dtype if past is None else past.dtype)
    out = Info((q[0], q[1], call.space.mul(heads, width)), query.dtype)
    return [out, present, present][: call.outputs]
