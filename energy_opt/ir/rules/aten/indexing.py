"""Gathers read what is named and the names; scatters write what is named, in place, or after a copy of the rest."""

from __future__ import annotations

import functools
import itertools

import onnx_ir

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Tensor, Work, bytes_of
from energy_opt.ir.rules.arguments import axis_of, given, integer, shape
from energy_opt.ir.rules.aten.names import aten, in_place, tensors
from energy_opt.ir.rules.formulas import elements, known, least, moved, nbytes

_MASKS = (onnx_ir.DataType.BOOL, onnx_ir.DataType.UINT8)


@aten("gather", "embedding index_select gather take take_along_dim masked_select")
def gather(op: Op) -> Work:
    """The indices or the mask, and the elements they name, not the table."""
    return moved(total((nbytes(op.y), nbytes(op.need(1)))), nbytes(op.y))


@aten("gather", "index _unsafe_index _unsafe_masked_index")
def index(op: Op) -> Work:
    """The indices of every dim, or the mask, and the elements they name."""
    return moved(total((nbytes(op.y), nbytes(*op.inputs[1:]))), nbytes(op.y))


@aten("gather", "nonzero nonzero_static nonzero_numpy argwhere")
def nonzero(op: Op) -> Work:
    """A comparison per element; the coordinates written."""
    return Work(other_flops=elements(op.x), bytes_read=nbytes(op.x))


_SUM, _MEAN = 0, 1


@aten("gather", "embedding_bag _embedding_bag _embedding_bag_forward_only")
def embedding_bag(op: Op) -> Work:
    """The rows named, summed, averaged or compared within their bag; weights of samples are a product more."""
    width, indices = shape(op, 0, 1)[-1], op.need(1)
    rows = product((elements(indices), width))
    mean = elements(op.y) if integer(op, "mode", _SUM) == _MEAN else 0
    read = total((bytes_of(rows, op.x.dtype), nbytes(*op.inputs[1:])))
    return Work(other_flops=total(((1 + given(op, 3)) * rows, mean)), bytes_read=read)


@aten("scatter", "embedding_renorm* _no_grad_embedding_renorm_")
def embedding_renorm(op: Op) -> Work:
    """The rows named read, their norms bounded, written back."""
    rows = product((elements(op.need(1)), shape(op, 0, 1)[-1]))
    size = bytes_of(rows, op.x.dtype)
    return Work(
        other_flops=3 * rows, bytes_read=total((size, nbytes(op.need(1)))), bytes_written=size
    )


@aten(
    "scatter",
    "embedding_dense_backward embedding_backward gather_backward index_select_backward masked_select_backward",
)
def gather_backward(op: Op) -> Work:
    """Zeros, then every gradient added where it was gathered, as the last operand says."""
    grown = nbytes(op.x)
    read = total((2 * grown, nbytes(op.need(max(len(op.inputs) - 1, 1)))))
    return Work(
        other_flops=elements(op.x), bytes_read=read, bytes_written=total((grown, nbytes(op.y)))
    )


@aten("scatter", "_embedding_bag_backward _embedding_bag_dense_backward")
def embedding_bag_backward(op: Op) -> Work:
    """Zeros for the table, then every bag's gradient added to each of its rows."""
    rows = product((elements(op.need(1)), shape(op, 0, 1)[-1]))
    grown = bytes_of(rows, op.x.dtype)
    read = total((2 * grown, nbytes(*op.inputs[1:])))
    return Work(other_flops=rows, bytes_read=read, bytes_written=total((grown, nbytes(op.y))))


@aten("gather", "_embedding_bag_per_sample_weights_backward")
def sample_weights_backward(op: Op) -> Work:
    """A dot product of a gradient and a row for every sample."""
    rows = product((elements(op.need(2)), shape(op, 0, 1)[-1]))
    return Work(other_flops=2 * rows, bytes_read=2 * bytes_of(rows, op.x.dtype))


# -- writing ---------------------------------------------------------------------------------------------------------


def _updated(op: Op, count: Dim, read: Dim, reduces: bool) -> Work:
    """`count` elements overwritten by what is read: in place, or in a copy; a reduction reads what it updates."""
    size = bytes_of(count, op.x.dtype)
    copied = 0 if in_place(op) else nbytes(op.x)
    return Work(
        other_flops=count if reduces else 0,
        bytes_read=total((copied, read, size if reduces else 0)),
        bytes_written=total((copied, size)),
    )


@aten("scatter", "scatter* scatter_add* scatter_reduce*")
def scatter(op: Op) -> Work:
    """As many updates as indices, from a tensor or a number."""
    indices = op.need(1)
    count = elements(indices)
    source = bytes_of(count, op.x.dtype) if given(op, 2) else 0
    reduces = op.op_type.startswith(("scatter_add", "scatter_reduce")) or bool(op.attr("reduce"))
    return _updated(op, count, total((nbytes(indices), source)), reduces)


@aten("scatter", "index_add* index_copy* index_reduce*")
def index_update(op: Op) -> Work:
    """The slices named overwritten, summed or reduced with those of the source."""
    source = op.need(2)
    reduces = not op.op_type.startswith("index_copy")
    return _updated(op, elements(source), nbytes(op.need(1), source), reduces)


@aten("scatter", "index_fill*")
def index_fill(op: Op) -> Work:
    """The slices named overwritten with one number."""
    dims, indices = op.x.dims, op.need(1)
    axis = axis_of(op, len(dims), 0, "dim")
    count = product((*dims[:axis], *dims[axis + 1 :], elements(indices)))
    return _updated(op, count, nbytes(indices), reduces=False)


@aten("scatter", "index_put* _index_put_impl* _unsafe_index_put")
def index_put(op: Op) -> Work:
    """The elements that the indices name, overwritten or added to."""
    places = tensors(op, "indices")
    values = op.need(1 + places)
    count = _named(op.x.dims, op.inputs[1 : 1 + places])
    return _updated(op, count, nbytes(*op.inputs[1 : 1 + places], values), _accumulates(op))


@aten("scatter", "_unsafe_masked_index_put_accumulate")
def masked_index_put(op: Op) -> Work:
    """The values added where a mask says so."""
    values = op.need(max(len(op.inputs) - 1, 0))
    return _updated(op, elements(values), nbytes(*op.inputs[1:]), reduces=True)


@aten("scatter", "put*")
def put(op: Op) -> Work:
    """As many elements as indices, overwritten or added to."""
    indices = op.need(1)
    return _updated(op, elements(indices), nbytes(indices, op.need(2)), _accumulates(op))


def _accumulates(op: Op) -> bool:
    return bool(op.attr("accumulate", 0))


def _named(dims: tuple[Dim, ...], places: tuple[Tensor | None, ...]) -> Dim:
    """How many elements of the dims the index tensors name; a mask is taken to name all that it covers."""
    rest: list[Dim] = []
    shapes: list[tuple[Dim, ...]] = []
    axis = 0
    for place in places:
        if place is None:
            rest += dims[axis : axis + 1]
            axis += 1
        elif place.dtype in _MASKS:
            shapes.append((elements(place),))
            axis += place.rank
        else:
            shapes.append(place.dims)
            axis += 1
    return product((*_broadcast(shapes), *rest, *dims[axis:]))


def _broadcast(shapes: list[tuple[Dim, ...]]) -> list[Dim]:
    columns = itertools.zip_longest(*(reversed(dims) for dims in shapes), fillvalue=1)
    return [_widest(column) for column in columns]


def _widest(column: tuple[Dim, ...]) -> Dim:
    widest: Dim = 1
    for dim in column:
        if dim != 1:
            widest = dim if widest == 1 else known(widest, dim)
    return widest


@aten("scatter", "slice_scatter select_scatter diagonal_scatter as_strided_scatter")
def window_scatter(op: Op) -> Work:
    """A copy with a window of it overwritten."""
    source = op.need(1)
    return _updated(op, elements(source), nbytes(source), reduces=False)


@aten("scatter", "masked_scatter*")
def masked_scatter(op: Op) -> Work:
    """Where the mask says so, the source's elements in order: at most all of them; the mask is counted first."""
    mask = op.need(1)
    read = nbytes(mask, op.need(2))
    copied = 0 if in_place(op) else nbytes(op.x)
    return Work(
        other_flops=total((elements(mask), elements(op.y))), bytes_read=total((copied, read))
    )


@aten("gather", "masked_scatter_backward")
def masked_scatter_backward(op: Op) -> Work:
    """The gradients of the places that the mask names."""
    return moved(nbytes(*op.inputs), nbytes(op.y))


@aten("scatter", "fill_diagonal_")
def fill_diagonal(op: Op) -> Work:
    """One row's length of elements written."""
    shortest = functools.reduce(least, shape(op, 0, 2))
    return moved(0, bytes_of(shortest, op.x.dtype))
