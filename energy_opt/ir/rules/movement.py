"""Data movement: no FLOPs. Views rename memory and move nothing; copies read what they need and write the result.

Small inputs that only say where or how much (shapes, axes, pads, starts, k) are read by the host and not counted.
"""

from __future__ import annotations

from energy_opt.ir.dims import ceil_div, total
from energy_opt.ir.op import Op, Work, bytes_of
from energy_opt.ir.rules.arguments import given, integer, integers, positive, text
from energy_opt.ir.rules.formulas import VIEW, elements, least, moved, nbytes
from energy_opt.ir.rules.registry import rule


@rule("view", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "BitCast", "Constant")
@rule("view", "com.microsoft::ExpandDims", "MemcpyFromHost", "MemcpyToHost", "GivenTensorFill")
@rule("view", "Optional", "OptionalGetElement", "OptionalHasElement")
def view(op: Op) -> Work:
    """Nothing: the same memory under another shape or name."""
    return VIEW


@rule("copy", "Transpose")
def transpose(op: Op) -> Work:
    """A copy, or a view where only dims of size 1 change places."""
    dims = op.x.dims
    order = integers(op, "perm") or tuple(reversed(range(len(dims))))
    kept = [axis for axis in order if 0 <= axis < len(dims) and dims[axis] != 1]
    return VIEW if kept == sorted(kept) else moved(nbytes(op.x), nbytes(op.y))


@rule(
    "copy", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "com.ms.internal.nhwc::DepthToSpace"
)
@rule("copy", "com.ms.internal.nhwc::SpaceToDepth")
def copy(op: Op) -> Work:
    """The input once, the output once: ONNX Runtime materialises an expansion."""
    return moved(nbytes(op.x), nbytes(op.y))


@rule("copy", "Slice", "DynamicSlice", "Crop", "CenterCropPad", "ReverseSequence")
def window(op: Op) -> Work:
    """What is kept is read and written; the rest of the input is not touched."""
    return moved(nbytes(op.y), nbytes(op.y))


@rule("copy", "Pad", "com.microsoft::Pad")
def pad(op: Op) -> Work:
    """The input read, the larger output written."""
    return moved(nbytes(op.x), nbytes(op.y))


@rule("copy", "Split", "SplitToSequence")
def split(op: Op) -> Work:
    """The parts together are the input."""
    return moved(nbytes(op.x), nbytes(op.x))


@rule("copy", "Concat", "ai.onnx.ml::FeatureVectorizer")
def concat(op: Op) -> Work:
    """Every input read, the output written."""
    return moved(nbytes(*op.inputs), nbytes(op.y))


@rule("copy", "ConcatFromSequence", "StringConcat", "StringSplit", "StringNormalizer")
@rule("copy", "RegexFullMatch", "com.microsoft::Tokenizer", "TfIdfVectorizer", "ImageDecoder")
def rewritten(op: Op) -> Work:
    """The output written, and as much read: the characters or the coded image are not in the graph."""
    return moved(nbytes(op.y), nbytes(op.y))


@rule("copy", "com.microsoft::RemovePadding", "com.microsoft::RestorePadding")
def padding(op: Op) -> Work:
    """The tokens that are kept, read and written, and their offsets."""
    kept = least(nbytes(op.x), nbytes(op.y))
    return moved(total((kept, nbytes(*op.inputs[1:]))), nbytes(*op.outputs))


@rule("gather", "Gather", "GatherElements", "GatherND", "com.microsoft::GatherND")
@rule("gather", "ai.onnx.ml::ArrayFeatureExtractor", "com.microsoft::TorchEmbedding", "Compress")
def gather(op: Op) -> Work:
    """The indices and the elements they name, not the table."""
    return moved(total((nbytes(op.y), nbytes(op.need(1)))), nbytes(op.y))


@rule("scatter", "ScatterElements", "ScatterND", "Scatter")
def scatter(op: Op) -> Work:
    """The data copied, then the updates written over it; a reduction also reads what it updates, 1 FLOP each."""
    indices, updates = op.need(1), op.need(2)
    reduced = text(op, "reduction", "none") != "none"
    read = [nbytes(op.x, indices, updates), nbytes(updates) if reduced else 0]
    return Work(
        other_flops=elements(updates) if reduced else 0,
        bytes_read=total(read),
        bytes_written=total((nbytes(op.x), nbytes(updates))),
    )


@rule("scatter", "TensorScatter")
def tensor_scatter(op: Op) -> Work:
    """The update, read and written into the cache in place, which is what the op is for."""
    update = nbytes(op.need(1))
    return moved(total((update, nbytes(op.input(2)))), update)


@rule("scatter", "MaxUnpool", "com.ms.internal.nhwc::MaxUnpool")
def max_unpool(op: Op) -> Work:
    """Values and indices read, the zero-filled output written."""
    return moved(nbytes(op.x, op.need(1)), nbytes(op.y))


@rule("shape", "Shape", "Size", "SequenceLength")
def shape_of(op: Op) -> Work:
    """A few integers that the host already has."""
    return moved(0, op.y.nbytes)


@rule("copy", "ConstantOfShape", "EyeLike")
def filled(op: Op) -> Work:
    """Nothing read, the output written."""
    return moved(0, nbytes(op.y))


@rule("elementwise", "Range", "com.microsoft::Range")
def arange(op: Op) -> Work:
    """start + i * delta: nothing read, two FLOPs per element written."""
    return Work(other_flops=2 * elements(op.y), bytes_read=0)


@rule("copy", "OneHot")
def one_hot(op: Op) -> Work:
    """The indices read, the output written."""
    return moved(nbytes(op.x), nbytes(op.y))


@rule("copy", "Trilu", "com.microsoft::Trilu")
def triangle(op: Op) -> Work:
    """A copy; the other triangle is written as zeros, and counted as read to stay on the safe side."""
    return moved(nbytes(op.x), nbytes(op.y))


@rule("gather", "NonZero")
def non_zero(op: Op) -> Work:
    """A comparison per element; the coordinates written."""
    return Work(other_flops=elements(op.x), bytes_read=nbytes(op.x))


@rule("gather", "com.microsoft::GatherBlockQuantized")
def gather_quantised(op: Op) -> Work:
    """The indices, the packed elements they name and those elements' scales, dequantised."""
    bits, block = integer(op, "bits", 4), positive(op, "block_size", 128)
    scales = op.need(2)
    values = ceil_div(bits * elements(op.y), 8)
    factors = bytes_of(ceil_div(elements(op.y), block), scales.dtype)
    read = total((values, factors, nbytes(op.need(1))))
    return Work(other_flops=(1 + given(op, 3)) * elements(op.y), bytes_read=read)
