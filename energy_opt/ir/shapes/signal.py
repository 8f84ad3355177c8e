"""Resizing, windows, spectra, grids and patches: sizes that come from small operands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import onnx_ir
import sympy

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.elementwise import dtype_of
from energy_opt.ir.shapes.info import Call, Info, Scalar
from energy_opt.ir.shapes.layout import as_dim
from energy_opt.ir.shapes.registry import shape_rule

FLOAT = onnx_ir.DataType.FLOAT


def scaled(call: Call, dim: Dim, scale: Scalar) -> Dim:
    """floor(dim * scale) as runtimes compute it, in float32; symbols need a scale that is a plain fraction."""
    if scale is None:
        return call.space.fresh()
    if isinstance(scale, (int, float)):
        if not math.isfinite(scale) or scale <= 0:
            call.fail(f"scale {scale} is not a positive number")
        if isinstance(dim, int):
            size = math.floor(float(np.float32(scale) * np.float32(dim)))
            return call.space.add(size, 0)
        plain = Fraction(scale).limit_denominator(1024)
        if np.float32(float(plain)) != np.float32(scale):
            return call.space.fresh()
        factor: sympy.Expr = sympy.Rational(plain.numerator, plain.denominator)
    else:
        factor = scale
    return call.space.bounded(sympy.floor(sympy.Mul(dim, factor)))


@shape_rule("Resize")
def resize(call: Call) -> Sequence[Info]:
    """Each axis as long as `sizes` says, or floor(axis * scale)."""
    x = call.input(0)
    if x.shape is None:
        return [Info(None, x.dtype)]
    rank = len(x.shape)
    given = call.ints_attr("axes")
    axes = list(range(rank)) if given is None else [call.axis(axis, rank) for axis in given]
    scales = call.optional(1 if call.version < 11 else 2)
    sizes = call.optional(3)
    shape: list[Dim] = list(x.shape)
    if sizes is not None and sizes.shape != (0,):
        asked: Sequence[Scalar] = sizes.values if sizes.values is not None else [None] * len(axes)
        if len(asked) != len(axes):
            call.fail(f"{len(asked)} sizes for {len(axes)} axes")
        wanted = [as_dim(call, value, "a size") for value in asked]
        wanted = _keep_ratio(call, [x.shape[axis] for axis in axes], wanted)
        for axis, size in zip(axes, wanted, strict=True):
            shape[axis] = size
        return [Info(tuple(shape), x.dtype)]
    if scales is None:
        return [Info(tuple(shape), x.dtype)]
    return [Info(_scale_axes(call, x.shape, axes, scales), x.dtype)]


def _scale_axes(
    call: Call, shape: tuple[Dim, ...], axes: list[int], scales: Info
) -> tuple[Dim, ...]:
    factors: Sequence[Scalar] = scales.values if scales.values is not None else [None] * len(axes)
    if len(factors) != len(axes):
        call.fail(f"{len(factors)} scales for {len(axes)} axes")
    result = list(shape)
    for axis, factor in zip(axes, factors, strict=True):
        result[axis] = scaled(call, shape[axis], factor)
    return tuple(result)


def _keep_ratio(call: Call, dims: list[Dim], sizes: list[Dim]) -> list[Dim]:
    """Sizes under `keep_aspect_ratio_policy`: one scale for all axes, rounded half up."""
    policy = call.str_attr("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return sizes
    if not all(isinstance(dim, int) and dim > 0 for dim in dims) or not all(
        isinstance(size, int) for size in sizes
    ):
        return [call.space.fresh() for _ in sizes]
    ratios = [Fraction(s, d) for s, d in zip(sizes, dims, strict=True)]
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    return [math.floor(ratio * d + Fraction(1, 2)) for d in dims]


@shape_rule("Upsample")
def upsample(call: Call) -> Sequence[Info]:
    """floor(axis * scale) for each axis."""
    x = call.input(0)
    if x.shape is None:
        return [Info(None, x.dtype)]
    scales = call.attrs.get("scales")
    if scales is None and "height_scale" in call.attrs and len(x.shape) == 4:
        scales = [1.0, 1.0, call.attrs["height_scale"], call.attrs.get("width_scale", 1.0)]
    operand = Info(None, None, tuple(scales)) if scales is not None else call.input(1)
    return [Info(_scale_axes(call, x.shape, list(range(len(x.shape))), operand), x.dtype)]


@shape_rule("HannWindow", "HammingWindow", "BlackmanWindow")
def window_function(call: Call) -> Sequence[Info]:
    """As many samples as asked."""
    size = call.input(0)
    number = as_dim(call, size.values[0] if size.values else None, "the window's size")
    return [Info((number,), dtype_of(call, call.attrs.get("output_datatype", 1)))]


@shape_rule("MelWeightMatrix")
def mel_weights(call: Call) -> Sequence[Info]:
    """[frequencies of the half spectrum, mel bins]."""
    bins, length = call.input(0), call.input(1)
    dtype = dtype_of(call, call.attrs.get("output_datatype", 1))
    number = as_dim(call, bins.values[0] if bins.values else None, "num_mel_bins")
    if length.values:
        samples = as_dim(call, length.values[0], "dft_length")
        half = call.space.add(call.space.floor_div(samples, 2), 1)
    else:
        half = call.space.fresh()
    return [Info((half, number), dtype)]


@shape_rule("DFT")
def dft(call: Call) -> Sequence[Info]:
    """The spectrum along `axis`, half of it if one-sided; the last axis holds real and imaginary parts."""
    x, length, space = call.input(0), call.optional(1), call.space
    if x.shape is None:
        return [Info(None, x.dtype)]
    rank = len(x.shape)
    place: int | None
    if call.version < 20:
        place = call.int_attr("axis", 1)
    elif call.optional(2) is not None:
        given = call.ints(2, "axis")
        place = given[0] if given else None
    else:
        place = -2
    one_sided = bool(call.int_attr("onesided", 0))
    inverse = bool(call.int_attr("inverse", 0))
    last = 1 if one_sided and inverse else 2
    if place is None:
        return [Info((*(space.fresh() for _ in x.shape[:-1]), last), x.dtype)]
    axis = call.axis(place, rank)
    if length is None:
        number = x.shape[axis]
        if one_sided and inverse:
            number = space.mul(space.sub(number, 1), 2)
    else:
        number = as_dim(call, length.values[0] if length.values else None, "dft_length")
    if one_sided and not inverse:
        number = space.add(space.floor_div(number, 2), 1)
    shape = list(x.shape)
    shape[axis] = number
    shape[-1] = last
    return [Info(tuple(shape), x.dtype)]


@shape_rule("STFT")
def stft(call: Call) -> Sequence[Info]:
    """[batch, frames, frequencies, 2]."""
    x, step, frame, length = call.input(0), call.input(1), call.optional(2), call.optional(3)
    space = call.space
    if x.shape is None or len(x.shape) < 2:
        return [Info(None, x.dtype)]
    size: Dim | None = None
    if frame is not None and frame.shape:
        size = frame.shape[0]
    elif length is not None and length.values:
        size = as_dim(call, length.values[0], "frame_length")
    hop = step.values[0] if step.values else None
    if size is None:
        return [Info((x.shape[0], space.fresh(), space.fresh(), 2), x.dtype)]
    bins = size
    if call.int_attr("onesided", 1):
        bins = space.add(space.floor_div(size, 2), 1)
    if hop is None or (isinstance(hop, int) and hop < 1):
        return [Info((x.shape[0], space.fresh(), bins, 2), x.dtype)]
    frames = space.add(space.floor_div(space.sub(x.shape[1], size), as_dim(call, hop, "hop")), 1)
    return [Info((x.shape[0], frames, bins, 2), x.dtype)]


@shape_rule("Col2Im")
def col2im(call: Call) -> Sequence[Info]:
    """[batch, channels, image...] of patches put back."""
    x, image, block, space = call.input(0), call.input(1), call.input(2), call.space
    if x.shape is None or len(x.shape) < 2:
        return [Info(None, x.dtype)]
    if image.values is not None:
        sizes = [as_dim(call, value, "an image size") for value in image.values]
    elif image.shape and isinstance(image.shape[0], int) and image.shape[0] <= 64:
        sizes = [space.fresh() for _ in range(image.shape[0])]
    else:
        return [Info(None, x.dtype)]
    if block.values is None:
        return [Info((x.shape[0], space.fresh(), *sizes), x.dtype)]
    patch = space.mul(*(as_dim(call, value, "a block size") for value in block.values))
    if patch == 0:
        call.fail("the block has no elements")
    return [Info((x.shape[0], space.divide(x.shape[1], patch), *sizes), x.dtype)]


@shape_rule("CenterCropPad")
def center_crop_pad(call: Call) -> Sequence[Info]:
    """The named axes cropped or padded to the sizes asked."""
    x, asked = call.input(0), call.input(1)
    if x.shape is None:
        return [Info(None, x.dtype)]
    given = call.ints_attr("axes")
    rank = len(x.shape)
    axes = list(range(rank)) if given is None else [call.axis(axis, rank) for axis in given]
    sizes: Sequence[Scalar] = asked.values if asked.values is not None else [None] * len(axes)
    if len(sizes) != len(axes):
        call.fail(f"{len(sizes)} sizes for {len(axes)} axes")
    shape = list(x.shape)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = as_dim(call, size, "a size")
    return [Info(tuple(shape), x.dtype)]


@shape_rule("AffineGrid")
def affine_grid(call: Call) -> Sequence[Info]:
    """[batch, spatial..., coordinates] for a size of [batch, channels, spatial...]."""
    theta, size = call.input(0), call.input(1)
    if size.values is None:
        if size.shape and isinstance(size.shape[0], int) and size.shape[0] in (4, 5):
            rank = size.shape[0]
            unknown = [call.space.fresh() for _ in range(rank - 1)]
            return [Info((*unknown, rank - 2), theta.dtype)]
        return [Info(None, theta.dtype)]
    dims = [as_dim(call, value, "a size") for value in size.values]
    if len(dims) not in (4, 5):
        call.fail(f"a size of {len(dims)} dimensions, must be 4 or 5")
    return [Info((dims[0], *dims[2:], len(dims) - 2), theta.dtype)]


@shape_rule("RoiAlign", "MaxRoiPool")
def roi(call: Call) -> Sequence[Info]:
    """[regions, channels, height, width]."""
    x, regions = call.input(0), call.input(1)
    if call.op == "RoiAlign":
        size = [call.int_attr("output_height", 1), call.int_attr("output_width", 1)]
    else:
        size = call.ints_attr("pooled_shape") or []
    number = regions.shape[0] if regions.shape else call.space.fresh()
    channels = x.shape[1] if x.shape and len(x.shape) > 1 else call.space.fresh()
    return [Info((number, channels, *size), x.dtype)]


@shape_rule("GridSample", "com.microsoft::GridSample")
def grid_sample(call: Call) -> Sequence[Info]:
    """[batch, channels] of the input, spatial sizes of the grid."""
    x, grid = call.input(0), call.input(1)
    if x.shape is None or grid.shape is None or len(x.shape) < 3:
        return [Info(None, x.dtype)]
    return [Info((*x.shape[:2], *grid.shape[1:-1]), x.dtype)]
