"""Convolutions as implicit matrix products: m = batch * positions, n = Cout / group, k = Cin / group * kernel.

Padding counts as work: every output position meets the whole kernel.
"""

from __future__ import annotations

from dataclasses import replace

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given, integer, result, shape
from energy_opt.ir.rules.formulas import (
    QUANTIZE,
    activation_flops,
    divide,
    elements,
    interpolation,
    matmul,
    moved,
    nbytes,
    plus,
)
from energy_opt.ir.rules.registry import rule


def convolution(
    y: tuple[Dim, ...],
    w: tuple[Dim, ...],
    group: int,
    channel_axis: int = 1,
    x: tuple[Dim, ...] = (),
) -> Work:
    """Work of a convolution with weights w[Cout, Cin / group, kernel..] in either order after Cout, giving y.

    With the input's dims x the sizes also say what plane the kernel slides over: `images`, `rows`, `columns` of the
    output, `inputs` (places of one image) and `side` of a square kernel, 1 where there is no plane or none such.
    """
    positions = _places(y, channel_axis)
    work = matmul(group, product(positions), divide(w[0], group), product(w[1:]))
    if not x:
        return work
    kernel = w[2:] if group * w[1] == x[channel_axis] else w[1:-1]
    side = kernel[0] if len(kernel) == 2 and kernel[0] == kernel[1] else 1
    rows, columns = positions[1:] if len(positions) == 3 else (product(positions[1:]), 1)
    inputs = product(_places(x, channel_axis)[1:])
    plane = (("images", positions[0]), ("rows", rows), ("columns", columns))
    return replace(work, sizes=(*work.sizes, *plane, ("inputs", inputs), ("side", side)))


def _places(dims: tuple[Dim, ...], channel_axis: int) -> tuple[Dim, ...]:
    """The dims without the channels."""
    return (*dims[:channel_axis], *dims[channel_axis:][1:]) if channel_axis > 0 else dims[:-1]


def _channel_axis(op: Op) -> int:
    nhwc = "Nhwc" in op.op_type or "nhwc" in op.domain or integer(op, "channels_last", 0)
    return -1 if nhwc else 1


@rule("conv", "Conv", "com.microsoft::FusedConv", "com.microsoft.nchwc::Conv")
@rule(
    "conv", "com.microsoft::NhwcConv", "com.microsoft::NhwcFusedConv", "com.ms.internal.nhwc::Conv"
)
def conv(op: Op) -> Work:
    """The product, a bias, an added tensor (the fourth input of fused forms) and an activation."""
    axis, group = _channel_axis(op), integer(op, "group", 1)
    work = convolution(op.y.dims, shape(op, 1, 2), group, axis, op.x.dims)
    extra = given(op, 2) + given(op, 3) + activation_flops(op.attr("activation"))
    return plus(work, extra * elements(op.y))


@rule("conv", "ConvInteger")
def conv_integer(op: Op) -> Work:
    """The product, and one subtraction per element of an operand that has a zero point."""
    shifts = total(given(op, i + 2) * elements(op.need(i)) for i in (0, 1))
    return plus(convolution(op.y.dims, shape(op, 1, 2), integer(op, "group", 1)), shifts)


@rule("conv", "QLinearConv", "com.microsoft::QLinearConv", "com.ms.internal.nhwc::QLinearConv")
def conv_quantised(op: Op) -> Work:
    """x at input 0 by w at input 3, the bias at 8, and requantisation."""
    work = convolution(op.y.dims, shape(op, 3, 2), integer(op, "group", 1), _channel_axis(op))
    return plus(work, (QUANTIZE + given(op, 8)) * elements(op.y))


def transposed(x: tuple[Dim, ...], w: tuple[Dim, ...], group: int, channel_axis: int = 1) -> Work:
    """Work of a transposed convolution with w[Cin, Cout / group, kernel..]: each input meets the whole kernel."""
    positions = (*x[:channel_axis], *x[channel_axis:][1:]) if channel_axis > 0 else x[:-1]
    return matmul(group, product(positions), product(w[1:]), divide(w[0], group))


@rule("conv", "ConvTranspose", "com.ms.internal.nhwc::ConvTranspose")
def conv_transpose(op: Op) -> Work:
    """The product over input positions, and the bias."""
    work = transposed(shape(op, 0, 2), shape(op, 1, 2), integer(op, "group", 1), _channel_axis(op))
    return plus(work, given(op, 2) * elements(op.y))


@rule("conv", "com.microsoft::ConvTransposeWithDynamicPads")
def conv_transpose_dynamic(op: Op) -> Work:
    """A transposed convolution whose pads are the third input and whose bias is the fourth."""
    work = transposed(shape(op, 0, 2), shape(op, 1, 2), integer(op, "group", 1))
    return plus(work, given(op, 3) * elements(op.y))


@rule("conv", "com.ms.internal.nhwc::QLinearConvTranspose")
def conv_transpose_quantised(op: Op) -> Work:
    """x at input 0 by w at input 3 over input positions, the bias at 8, and requantisation."""
    work = transposed(shape(op, 0, 2), shape(op, 3, 2), integer(op, "group", 1), -1)
    return plus(work, (QUANTIZE + given(op, 8)) * elements(op.y))


@rule("conv", "DeformConv")
def conv_deformable(op: Op) -> Work:
    """The product, a bilinear sample (and a mask factor) per input channel and kernel point, and the bias."""
    x, w, y = shape(op, 0, 2), shape(op, 1, 2), result(op, 0, 2)
    work = convolution(y, w, integer(op, "group", 1))
    per_sample = interpolation("linear", len(w) - 2) + given(op, 4)
    samples = product((per_sample, y[0], x[1], *w[2:], *y[2:]))
    return plus(work, total((samples, given(op, 3) * elements(op.y))))


@rule("conv", "CausalConvWithState", "com.microsoft::CausalConvWithState")
@rule("conv", "com.microsoft::VarlenCausalConvWithState")
def conv_causal(op: Op) -> Work:
    """A depthwise convolution along time with weights w[channels, 1, kernel], the bias and the activation."""
    w, bias = shape(op, 1, 2), given(op, 3 if "Varlen" in op.op_type else 2)
    work = matmul(w[0], divide(elements(op.y), w[0]), 1, product(w[1:]))
    return plus(work, (bias + activation_flops(op.attr("activation"))) * elements(op.y))


@rule("conv", "com.microsoft::WordConvEmbedding")
def word_conv_embedding(op: Op) -> Work:
    """Per word, a convolution w[filters, 1, window, d] over its letters' embeddings, a tanh and a maximum."""
    words, w = shape(op, 0, 1), shape(op, 1, 4)
    positions = total((words[-1], 1, product((-1, w[2]))))
    if isinstance(positions, int) and positions < 1:
        raise ValueError(f"words of {words[-1]} letters under a window of {w[2]}")
    work = matmul(1, product((*words[:-1], positions)), w[0], product(w[1:]))
    return plus(work, product((3, *words[:-1], positions, w[0])))


@rule("elementwise", "Col2Im")
def col2im(op: Op) -> Work:
    """One addition per column element; the image is written once."""
    return Work(other_flops=elements(op.x), bytes_read=nbytes(op.x), bytes_written=nbytes(op.y))


@rule("copy", "com.microsoft::UnfoldTensor", "com.microsoft.nchwc::ReorderInput")
@rule("copy", "com.microsoft.nchwc::ReorderOutput")
def rearranged(op: Op) -> Work:
    """The input read once, the rearranged windows or blocks written once."""
    return moved(nbytes(op.x), nbytes(op.y))
