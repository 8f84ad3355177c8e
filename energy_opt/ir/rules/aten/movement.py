"""Data movement: views move nothing; copies read what they need and write the result. No FLOPs but those of casts.

In torch a transpose, an expansion, a slice and a split are views. What may be either (reshape, contiguous, to) is what
it was when it ran: attribute `is_view`. A view that repeats memory (expand) is counted at its full size by its readers.
"""

from __future__ import annotations

from energy_opt.ir.dims import total
from energy_opt.ir.op import Op, Tensor, Work
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import VIEW, elements, least, moved, nbytes

_VIEWS = (
    "mT mH matrix_H numpy_T adjoint t* transpose* swapaxes* swapdims* permute movedim moveaxis "
    "view view_as _unsafe_view _reshape_alias _mkldnn_transpose* unflatten unsqueeze* squeeze* "
    "atleast_1d atleast_2d atleast_3d as_strided* select slice narrow diagonal linalg_diagonal unfold "
    "split split_with_sizes tensor_split chunk unsafe_chunk unsafe_split unsafe_split_with_sizes unbind dsplit hsplit "
    "vsplit unflatten_dense_tensors expand expand_as broadcast_to broadcast_tensors meshgrid "
    "alias detach* lift lift_fresh positive data view_as_real view_as_complex real imag conj _conj _neg_view "
    "requires_grad_ set_ resize_ resize_as_ _resize_output_ _fw_primal _make_dual _unpack_dual slice_inverse "
    "_nested_view_from_buffer values indices _values _indices crow_indices col_indices ccol_indices row_indices"
)


@aten("view", _VIEWS)
def view(op: Op) -> Work:
    """Nothing: the same memory under another shape or name."""
    return VIEW


@aten(
    "copy",
    "to _to_copy type_as cpu cuda chalf _to_cpu to_dense _to_dense to_mkldnn _cast_Byte _cast_Char _cast_Double "
    "_cast_Float _cast_Half _cast_Int _cast_Long _cast_Short _autocast_to_full_precision "
    "_autocast_to_reduced_precision",
)
def cast(op: Op) -> Work:
    """A copy where type or place are not right already; a conversion is 1 FLOP per element."""
    return _converted(op.x, op.y)


@aten("copy", "copy* _copy_from _copy_from_and_resize")
def copy_from(op: Op) -> Work:
    """The source read, the destination written, with a conversion where the types differ."""
    return _converted(op.need(1), op.y)


def _converted(source: Tensor, y: Tensor) -> Work:
    converts = source.dtype is not y.dtype
    return Work(
        other_flops=elements(y) if converts else 0,
        bytes_read=nbytes(source),
        kind="elementwise" if converts else None,
    )


_COPIES = (
    "reshape reshape_as flatten ravel contiguous resolve_conj resolve_neg clone _lazy_clone pin_memory _pin_memory "
    "_mkldnn_reshape _reshape_copy tril* triu* one_hot im2col repeat tile roll flip fliplr flipud rot90 diag_embed "
    "channel_shuffle native_channel_shuffle pixel_shuffle pixel_unshuffle view_copy alias_copy detach_copy "
    "lift_fresh_copy t_copy transpose_copy permute_copy unsqueeze_copy squeeze_copy view_as_real_copy "
    "view_as_complex_copy _conj_copy _neg_view_copy _reshape_alias_copy as_strided_copy expand_copy unfold_copy "
    "_fw_primal_copy values_copy indices_copy fft_fftshift fft_ifftshift _pack_padded_sequence _pad_packed_sequence"
)


@aten("copy", _COPIES)
def copy(op: Op) -> Work:
    """The first input read, the output written; the zeros of a triangle count as read, to stay on the safe side."""
    return moved(nbytes(op.x), nbytes(op.y))


@aten(
    "copy",
    "reflection_pad1d_backward reflection_pad2d_backward reflection_pad3d_backward replication_pad1d_backward "
    "replication_pad2d_backward replication_pad3d_backward",
)
def pad_backward(op: Op) -> Work:
    """Gradients read and added where they came from."""
    return Work(other_flops=elements(op.x), bytes_read=nbytes(op.x), kind="elementwise")


@aten(
    "copy",
    "pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d "
    "replication_pad3d _pad_circular _pad_enum",
)
def pad(op: Op) -> Work:
    """The input read and the output written; negative pads cut, and what is cut is not read."""
    x, y = nbytes(op.x), nbytes(op.y)
    return moved(min(x, y) if isinstance(x, int) and isinstance(y, int) else x, y)


@aten("copy", "diag diagflat")
def diagonal_or_matrix(op: Op) -> Work:
    """The diagonal of a matrix read and written, or a matrix written around it."""
    diagonal = least(nbytes(op.x), nbytes(op.y))
    return moved(diagonal, nbytes(op.y))


@aten("copy", "narrow_copy select_copy slice_copy diagonal_copy")
def window(op: Op) -> Work:
    """What is kept is read and written."""
    return moved(nbytes(op.y), nbytes(op.y))


@aten("copy", "split_copy split_with_sizes_copy unbind_copy")
def split(op: Op) -> Work:
    """The parts together are the input."""
    return moved(nbytes(op.x), nbytes(*op.outputs))


@aten(
    "copy",
    "cat concat concatenate stack _stack hstack vstack dstack row_stack column_stack block_diag _chunk_cat "
    "pad_sequence _pack_sequence cartesian_prod combinations _list_to_tensor flatten_dense_tensors "
    "repeat_interleave",
)
def concat(op: Op) -> Work:
    """Every input read (of repeat_interleave the counts too), the output written."""
    return moved(nbytes(*op.inputs), nbytes(op.y))


@aten("copy", "slice_backward select_backward diagonal_backward unfold_backward trace_backward")
def window_backward(op: Op) -> Work:
    """Zeros written, the gradient over them."""
    return moved(nbytes(op.x), total((nbytes(op.x), nbytes(op.y))))


@aten(
    "copy",
    "nested_to_padded_tensor to_padded_tensor _jagged_to_padded_dense_forward _padded_dense_to_jagged_forward",
)
def padding(op: Op) -> Work:
    """Rows moved to where their sequence is: no more than the smaller side holds."""
    return moved(least(nbytes(op.x), nbytes(op.y)), nbytes(op.y))
