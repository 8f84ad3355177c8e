"""Windows that slide over spatial axes: convolutions and pooling."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.info import Call, Info
from energy_opt.ir.shapes.layout import INT64, as_dim
from energy_opt.ir.shapes.neural import INT32, UINT8
from energy_opt.ir.shapes.registry import shape_rule


def window(
    call: Call, spatial: Sequence[Dim], kernel: Sequence[Dim] | None, *, pool: bool = False
) -> list[Dim]:
    """Sizes after sliding a window over the spatial axes. Raises ModelError where the attributes do not fit."""
    rank, space = len(spatial), call.space
    if kernel is None or len(kernel) != rank:
        call.fail(f"a kernel of {0 if kernel is None else len(kernel)} sizes for {rank} axes")
    strides = _per_axis(call, "strides", rank, 1)
    dilations = _per_axis(call, "dilations", rank, 1)
    pads = call.ints_attr("pads") or [0] * 2 * rank
    if len(pads) != 2 * rank:
        call.fail(f"{len(pads)} pads for {rank} axes, there must be two for each")
    mode = call.str_attr("auto_pad", "NOTSET")
    round_up = pool and call.attrs.get("ceil_mode", 0) == 1
    result = []
    for i, dim in enumerate(spatial):
        stride = strides[i]
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            result.append(space.ceil_div(dim, stride))
            continue
        before, after = (0, 0) if mode == "VALID" else (pads[i], pads[i + rank])
        reach = space.add(space.mul(space.sub(kernel[i], 1), dilations[i]), 1)
        room = space.sub(space.add(dim, before + after), reach)
        if isinstance(room, int) and room < 0:
            if dim == 0:
                result.append(0)
                continue
            call.fail(f"a window of {reach} does not fit into {dim} padded by {before} and {after}")
        if not round_up:
            result.append(space.add(space.floor_div(room, stride), 1))
            continue
        # rounded up, but no window may start in the padding behind: whichever of the two counts is smaller,
        # ceil((room + stride) / stride) or ceil((dim + before) / stride), whose numerators differ by a constant
        last = space.sub(space.add(room, stride), space.add(dim, before))
        most = (
            space.add(dim, before)
            if isinstance(last, int) and last > 0
            else space.add(room, stride)
        )
        size = space.ceil_div(most, stride)
        result.append(size)
    return result


def _per_axis(call: Call, name: str, rank: int, default: int) -> list[int]:
    given = call.ints_attr(name)
    if not given:
        return [default] * rank
    if len(given) != rank or any(value < 1 for value in given):
        call.fail(f"{name} {given} must be one positive number for each of {rank} axes")
    return given


def _conv(call: Call, x: Info, w: Info, dtype: onnx_ir.DataType | None) -> Info:
    if x.shape is None:
        rank = None if w.shape is None else len(w.shape)
        if rank is None or w.shape is None:
            return Info(None, dtype)
        unknown = [call.space.fresh() for _ in range(rank - 2)]
        return Info((call.space.fresh(), w.shape[0], *unknown), dtype)
    if len(x.shape) < 3:
        call.fail("the input of a convolution has at least 3 dimensions")
    kernel: Sequence[Dim] | None = call.ints_attr("kernel_shape")
    if w.shape is None:
        filters: Dim = call.space.fresh()
        if kernel is None:
            return Info((x.shape[0], filters, *(call.space.fresh() for _ in x.shape[2:])), dtype)
    else:
        if len(w.shape) != len(x.shape):
            call.fail(f"weights of {len(w.shape)} dimensions for an input of {len(x.shape)}")
        filters = w.shape[0]
        kernel = kernel or w.shape[2:]
        groups, channels, per_group = call.int_attr("group", 1), x.shape[1], w.shape[1]
        if (
            isinstance(channels, int)
            and isinstance(per_group, int)
            and channels != per_group * groups
        ):
            call.fail(f"{channels} channels, but the weights take {per_group} in {groups} group(s)")
    return Info((x.shape[0], filters, *window(call, x.shape[2:], kernel)), dtype)


@shape_rule("Conv", "com.microsoft::FusedConv", "DeformConv")
def conv(call: Call) -> Sequence[Info]:
    """[batch, filters, spatial...]."""
    x, w = call.input(0), call.input(1)
    if call.op == "DeformConv" and x.shape is not None and w.shape is not None:
        if len(x.shape) < 3 or len(w.shape) != len(x.shape):
            call.fail(f"weights of {len(w.shape)} dimensions for an input of {len(x.shape)}")
        kernel = call.ints_attr("kernel_shape") or w.shape[2:]
        return [Info((x.shape[0], w.shape[0], *window(call, x.shape[2:], kernel)), x.dtype)]
    return [_conv(call, x, w, x.dtype)]


@shape_rule("ConvInteger")
def conv_integer(call: Call) -> Sequence[Info]:
    """A convolution in 32-bit integers."""
    return [_conv(call, call.input(0), call.input(1), INT32)]


@shape_rule("QLinearConv")
def qlinear_conv(call: Call) -> Sequence[Info]:
    """A convolution, of the type of the output's zero point."""
    zero = call.optional(7)
    dtype = UINT8 if zero is None else zero.dtype
    return [_conv(call, call.input(0), call.input(3), dtype)]


@shape_rule("ConvTranspose")
def conv_transpose(call: Call) -> Sequence[Info]:
    """[batch, filters, spatial...], each spatial size stretched by its stride."""
    x, w = call.input(0), call.input(1)
    if x.shape is None or w.shape is None:
        return [Info(None, x.dtype)]
    rank, space = len(x.shape) - 2, call.space
    if rank < 1 or len(w.shape) != len(x.shape):
        call.fail(f"weights of {len(w.shape)} dimensions for an input of {len(x.shape)}")
    if isinstance(x.shape[1], int) and isinstance(w.shape[0], int) and x.shape[1] != w.shape[0]:
        call.fail(f"{x.shape[1]} channels, but the weights take {w.shape[0]}")
    filters = space.mul(w.shape[1], call.int_attr("group", 1))
    asked = call.ints_attr("output_shape")
    if asked:
        if len(asked) not in (rank, rank + 2):
            call.fail(f"output_shape {asked} for {rank} axes")
        return [Info((x.shape[0], filters, *asked[-rank:]), x.dtype)]
    kernel = call.ints_attr("kernel_shape") or w.shape[2:]
    strides = _per_axis(call, "strides", rank, 1)
    dilations = _per_axis(call, "dilations", rank, 1)
    pads = call.ints_attr("pads") or [0] * 2 * rank
    extra = call.ints_attr("output_padding") or [0] * rank
    if len(kernel) != rank or len(pads) != 2 * rank or len(extra) != rank:
        call.fail(f"kernel, pads or output_padding do not fit {rank} axes")
    same = call.str_attr("auto_pad", "NOTSET").startswith("SAME")
    padded = call.str_attr("auto_pad", "NOTSET") == "NOTSET"
    sizes: list[Dim] = []
    for i, dim in enumerate(x.shape[2:]):
        if same:
            sizes.append(space.mul(dim, strides[i]))
            continue
        reach = space.add(space.mul(space.sub(kernel[i], 1), dilations[i]), 1)
        total = space.add(space.mul(space.sub(dim, 1), strides[i]), reach)
        cut = pads[i] + pads[i + rank] if padded else 0
        sizes.append(space.add(total, extra[i] - cut))
    return [Info((x.shape[0], filters, *sizes), x.dtype)]


@shape_rule("MaxPool", "AveragePool", "LpPool")
def pool(call: Call) -> Sequence[Info]:
    """[batch, channels, spatial...], and for MaxPool where each maximum was."""
    x = call.input(0)
    if x.shape is None:
        return [Info(None, x.dtype), Info(None, INT64)]
    if len(x.shape) < 3:
        call.fail("the input of a pooling has at least 3 dimensions")
    spatial = window(call, x.shape[2:], call.ints_attr("kernel_shape"), pool=True)
    shape = (*x.shape[:2], *spatial)
    return [Info(shape, x.dtype), Info(shape, INT64)]


@shape_rule("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(call: Call) -> Sequence[Info]:
    """[batch, channels, 1...]."""
    x = call.input(0)
    if x.shape is None:
        return [Info(None, x.dtype)]
    return [Info((*x.shape[:2], *(1 for _ in x.shape[2:])), x.dtype)]


@shape_rule("MaxUnpool")
def max_unpool(call: Call) -> Sequence[Info]:
    """The shape asked for, or the smallest that the pooling can have had."""
    x, asked = call.input(0), call.optional(2)
    if asked is not None and asked.values is not None:
        return [Info(tuple(as_dim(call, v, "output_shape") for v in asked.values), x.dtype)]
    if x.shape is None:
        return [Info(None, x.dtype)]
    rank, space = len(x.shape) - 2, call.space
    if asked is not None:
        return [Info((*x.shape[:2], *(space.fresh() for _ in range(rank))), x.dtype)]
    kernel, strides = call.ints_attr("kernel_shape") or [], _per_axis(call, "strides", rank, 1)
    pads = call.ints_attr("pads") or [0] * 2 * rank
    if len(kernel) != rank or len(pads) != 2 * rank:
        call.fail(f"kernel_shape or pads do not fit {rank} axes")
    sizes = [
        space.add(space.mul(space.sub(dim, 1), strides[i]), kernel[i] - pads[i] - pads[i + rank])
        for i, dim in enumerate(x.shape[2:])
    ]
    return [Info((*x.shape[:2], *sizes), x.dtype)]
