"""Key-value caches: how long they are, and what a shared buffer costs to update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Tensor, Work, bytes_of
from energy_opt.ir.rules.arguments import shape
from energy_opt.ir.rules.formulas import divide

Dims = tuple[Dim, ...]


def output_shape(op: Op, index: int, rank: int) -> Dims | None:
    """The shape of an output where it is there, known and of that rank."""
    dims = op.outputs[index].shape if index < len(op.outputs) else None
    return dims if dims is not None and len(dims) == rank else None


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


def cached(
    op: Op,
    work: Work,
    new: Dim,
    caches: Mapping[int, int],
    keys: Dim | None = None,
    angles: Sequence[int] = (),
) -> Work:
    """The work with the traffic of caches that are updated in place and of tables that are read in part.

    `caches` maps inputs to the outputs that continue them. A present with the very shape of its past is taken to be
    the same buffer, which is how decoders bind it: `keys` of its rows are read (all by default) and `new` ones written.
    A present that is longer is a new tensor: the past is read and the present written in full. `angles` are inputs of
    rotary tables[positions, width], of which only `new` rows are read.
    """
    read = {index: tensor.nbytes for index, tensor in enumerate(op.inputs) if tensor is not None}
    written = {index: tensor.nbytes for index, tensor in enumerate(op.outputs)}
    partial = False
    for past, present in caches.items():
        before = op.input(past)
        if (
            before is None
            or present >= len(op.outputs)
            or op.outputs[present].shape != before.shape
        ):
            continue
        dims = before.shape or ()
        if len(dims) >= 4:
            read[past] = before.nbytes if keys is None else _rows(before, keys, -2)
            written[present] = _rows(before, new, -2)
            partial = True
    for index in angles:
        table = op.input(index)
        if table is not None and table.shape is not None and len(table.shape) == 2:
            read[index] = _rows(table, new, 0)
            partial = True
    return (
        replace(work, bytes_read=total(read.values()), bytes_written=total(written.values()))
        if partial
        else work
    )


def _rows(tensor: Tensor, count: Dim, axis: int) -> Dim:
    dims = list(tensor.dims)
    dims[axis] = count
    return bytes_of(product(dims), tensor.dtype)
