"""Operands whose axes must agree though no rule compares them: attention, skip connections, recurrent states."""

from __future__ import annotations

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.elementwise import prefer
from energy_opt.ir.shapes.info import Call

MS = "com.microsoft"
_SAME_TENSOR = (((0, 0), (1, 0)), ((0, 1), (1, 1)), ((0, 2), (1, 2)))

ALIKE: dict[tuple[str, str], tuple[tuple[tuple[int, int], ...], ...]] = {
    # batch of query, key and value; length of key and value; batch and length of what is cached
    ("", "Attention"): (
        ((0, 0), (1, 0), (2, 0), (4, 0), (5, 0)),
        ((1, -2), (2, -2)),
        ((4, 2), (5, 2)),
    ),
    (MS, "MultiHeadAttention"): (((0, 0), (1, 0), (2, 0), (6, 0), (7, 0)), ((6, 2), (7, 2))),
    (MS, "GroupQueryAttention"): (
        ((0, 0), (1, 0), (2, 0), (3, 0), (4, 0)),
        ((0, 1), (1, 1), (2, 1)),
        ((3, 2), (4, 2)),
    ),
    (MS, "EmbedLayerNormalization"): (((0, 0), (1, 0), (7, 0)), ((0, 1), (1, 1), (7, 1))),
    (MS, "SkipLayerNormalization"): _SAME_TENSOR,
    (MS, "SkipSimplifiedLayerNormalization"): _SAME_TENSOR,
    ("", "GridSample"): (((0, 0), (1, 0)),),
    ("", "RoiAlign"): (((1, 0), (2, 0)),),
    ("", "TensorScatter"): (((0, 0), (1, 0)),),
    # batch of the input and of the states, which stand second unless the layout says otherwise
    ("", "LSTM"): (((0, 1), (5, 1), (6, 1)),),
    ("", "GRU"): (((0, 1), (5, 1)),),
    ("", "RNN"): (((0, 1), (5, 1)),),
}
"""For each op groups of `(input, axis)` that are one size."""


def note_alike(call: Call) -> None:
    """Record the equalities that the op implies between symbols of its operands."""
    groups = ALIKE.get((call.domain, call.op))
    if call.op == "Attention" and not call.domain:
        _note_mask(call)
    if not groups or call.attrs.get("layout"):
        return
    for group in groups:
        first: Dim | None = None
        for index, axis in group:
            info = call.optional(index)
            shape = None if info is None else info.shape
            if shape is None or not -len(shape) <= axis < len(shape):
                continue
            dim = shape[axis]
            if isinstance(dim, int):  # a 1 broadcasts, an empty operand stands for none
                continue
            if first is None:
                first = dim
            elif dim != first:
                prefer(call.space, first, dim)


def _note_mask(call: Call) -> None:
    """A mask is as wide as the keys of the past and the new ones."""
    mask, key, past = call.optional(3), call.optional(1), call.optional(4)
    if mask is None or not mask.shape or key is None or key.shape is None or len(key.shape) < 3:
        return
    width, total = mask.shape[-1], key.shape[-2]
    if past is not None:
        if past.shape is None or len(past.shape) != 4:
            return
        total = call.space.add(past.shape[2], total)
    if not isinstance(width, int) and width != total:
        prefer(call.space, width, total)
