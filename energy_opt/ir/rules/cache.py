"""Key-value caches: how long they are, and what a shared buffer costs to update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work, bytes_of
from energy_opt.ir.rules.arguments import integer, shape
from energy_opt.ir.rules.formulas import divide

Dims = tuple[Dim, ...]


def output_shape(op: Op, index: int, rank: int) -> Dims | None:
    """The shape of an output where it is there, known and of that rank."""
    dims = op.outputs[index].shape if index < len(op.outputs) else None
    return dims if dims is not None and len(dims) == rank else None


def heads_of(op: Op, name: str, default: int = 0) -> int:
    """A number of heads. Raises ValueError where it is not given or not positive."""
    heads = integer(op, name, default)
    if heads < 1:
        raise ValueError(f"{name} is {heads}")
    return heads


def by_head(dims: Dims, heads: int) -> Dims:
    """(batch, heads, length, width per head) of a 4-D operand, or of a 3-D one[batch, length, heads * width]."""
    if len(dims) == 4:
        return dims
    if len(dims) != 3:
        raise ValueError(f"attention over a tensor of rank {len(dims)}")
    return dims[0], heads, dims[1], divide(dims[2], heads)


def key_length(op: Op, new: Dim, past: int, present: int, rank: int = 4) -> Dim:
    """Keys attended to: the present cache's length where it is known, else past + new."""
    cache = output_shape(op, present, rank)
    if cache is not None:
        return cache[-2]
    before = op.input(past)
    return new if before is None else total((shape(op, past, rank)[-2], new))


def cached(op: Op, work: Work, new: Dim, pairs: Mapping[int, int], axis: int = -2) -> Work:
    """The work with only `new` tokens written to caches that are updated in place.

    `pairs` maps inputs to the outputs that continue them. A present with the very shape of its past is taken to be the
    same buffer, which is how decoders bind it; one that is longer is a new tensor, and is written in full.
    """
    written = {index: tensor.nbytes for index, tensor in enumerate(op.outputs)}
    shared = False
    for past, present in pairs.items():
        before = op.input(past)
        if before is None or not before.shape or present >= len(op.outputs):
            continue
        if op.outputs[present].shape == before.shape and len(before.shape) >= -axis:
            dims = list(before.shape)
            dims[axis] = new
            written[present] = bytes_of(product(dims), before.dtype)
            shared = True
    return replace(work, bytes_written=total(written.values())) if shared else work
