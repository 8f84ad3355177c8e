"""Convolutions of PyTorch as implicit matrix products. Groups follow from the shapes; padding counts as work."""

from __future__ import annotations

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Tensor, Work
from energy_opt.ir.rules.arguments import given, integer, shape
from energy_opt.ir.rules.aten.matmul import gradients, wanted
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.conv import convolution, transposed
from energy_opt.ir.rules.formulas import (
    divide,
    elements,
    interpolation,
    matmul,
    nbytes,
    plus,
)
from energy_opt.ir.rules.registry import rule

Dims = tuple[Dim, ...]


def _batched(tensor: Tensor, rank: int) -> Dims:
    """The tensor's dims with a batch in front, which torch lets a caller leave out."""
    dims = tensor.dims
    if len(dims) == rank - 1:
        return (1, *dims)
    if len(dims) != rank:
        raise ValueError(
            f"a convolution over a tensor of rank {len(dims)} with weights of rank {rank}"
        )
    return dims


def _groups(channels: Dim, per_group: Dim) -> int:
    groups = divide(channels, per_group)
    if not isinstance(groups, int):
        raise ValueError(f"{channels} channels in groups of {per_group}")
    return groups


def forward(x: Tensor, w: Dims, y: Tensor) -> Work:
    """x[b, Cin, ..] by w[Cout, Cin / groups, kernel..] giving y[b, Cout, ..]."""
    dims = _batched(x, len(w))
    return convolution(_batched(y, len(w)), w, _groups(dims[1], w[1]), x=dims)


def backwards(x: Tensor, w: Dims, y: Tensor) -> Work:
    """The transposed convolution of x[b, Cin, ..] with w[Cin, Cout / groups, kernel..] giving y[b, Cout, ..]."""
    groups = _groups(_batched(y, len(w))[1], w[1])
    return transposed(_batched(x, len(w)), w, groups)


_PLAIN = (
    "conv1d conv2d conv3d convolution _convolution convolution_overrideable _convolution_mode thnn_conv2d "
    "slow_conv3d slow_conv3d_forward _slow_conv2d_forward slow_conv_dilated2d slow_conv_dilated3d conv_depthwise3d "
    "_conv_depthwise2d mkldnn_convolution cudnn_convolution miopen_convolution miopen_depthwise_convolution "
    "_mps_convolution _nnpack_spatial_convolution"
)
_TRANSPOSED = (
    "conv_transpose1d conv_transpose2d conv_transpose3d slow_conv_transpose2d slow_conv_transpose3d "
    "cudnn_convolution_transpose miopen_convolution_transpose _mps_convolution_transpose"
)


@aten("conv", _PLAIN)
def conv(op: Op) -> Work:
    """The product and the bias; a transposed one where the argument says so."""
    product_of = backwards if integer(op, "transposed", 0) else forward
    return plus(product_of(op.x, shape(op, 1, 3), op.y), given(op, 2) * elements(op.y))


@aten("conv", _TRANSPOSED)
def conv_transpose(op: Op) -> Work:
    """The product over input positions, and the bias."""
    return plus(backwards(op.x, shape(op, 1, 3), op.y), given(op, 2) * elements(op.y))


@aten("conv", "cudnn_convolution_relu miopen_convolution_relu")
def conv_relu(op: Op) -> Work:
    """The product, the bias and a Relu."""
    return plus(forward(op.x, shape(op, 1, 3), op.y), (1 + given(op, 2)) * elements(op.y))


@aten("conv", "cudnn_convolution_add_relu miopen_convolution_add_relu")
def conv_add_relu(op: Op) -> Work:
    """The product, a scaled tensor added, the bias at input 3 and a Relu."""
    return plus(forward(op.x, shape(op, 1, 3), op.y), (3 + given(op, 3)) * elements(op.y))


@aten("conv", "conv_tbc")
def conv_time_first(op: Op) -> Work:
    """x[t, b, Cin] by w[kernel, Cin, Cout], and the bias."""
    w, y = shape(op, 1, 3), op.y.dims
    return plus(matmul(1, product(y[:-1]), w[2], product(w[:2])), elements(op.y))


@rule("conv", "torchvision::deform_conv2d")
def conv_deformable(op: Op) -> Work:
    """The product, a bilinear sample (and a mask factor) per input channel and kernel point, the bias at 4."""
    x, w, y = shape(op, 0, 4), shape(op, 1, 4), op.y.dims
    masked = integer(op, "use_mask", given(op, 3)) != 0
    samples = product((interpolation("linear", 2) + masked, x[0], x[1], *w[2:], *y[2:]))
    return plus(forward(op.x, w, op.y), total((samples, given(op, 4) * elements(op.y))))


@aten("conv", "convolution_backward convolution_backward_overrideable")
def conv_backward(op: Op) -> Work:
    """grad, x, weight: a product as large as the forward one for x and for the weight, a sum for the bias, as asked."""
    mask, w = wanted(op, "output_mask", 3), shape(op, 2, 3)
    product_of = backwards if integer(op, "transposed", 0) else forward
    work = gradients(product_of(op.need(1), w, op.x), mask[0] + mask[1])
    return plus(work, mask[2] * elements(op.x))


@aten("elementwise", "col2im")
def col2im(op: Op) -> Work:
    """One addition per column element; the image is written once."""
    return Work(other_flops=elements(op.x), bytes_read=nbytes(op.x), bytes_written=nbytes(op.y))
