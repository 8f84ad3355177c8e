"""Matrix products, convolutions, pooling, reductions and normalisations."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.elementwise import broadcast, prefer
from energy_opt.ir.shapes.info import Call, Info, array, count
from energy_opt.ir.shapes.layout import INT64, as_dim
from energy_opt.ir.shapes.registry import ops, shape_rule

INT32 = onnx_ir.DataType.INT32
UINT8 = onnx_ir.DataType.UINT8


def product_shape(
    call: Call, a: tuple[Dim, ...] | None, b: tuple[Dim, ...] | None
) -> tuple[Dim, ...] | None:
    """The shape of a @ b under numpy's rules. Raises ModelError where the inner sizes differ."""
    if a is None or b is None:
        return None
    if not a or not b:
        call.fail("a scalar cannot be an operand of a matrix product")
    inner_a, inner_b = a[-1], b[-2] if len(b) > 1 else b[0]
    if isinstance(inner_a, int) and isinstance(inner_b, int) and inner_a != inner_b:
        call.fail(f"inner sizes {inner_a} and {inner_b} of the matrix product differ")
    if inner_a != inner_b:
        prefer(call.space, inner_a, inner_b)
    rows = a[-2:-1] if len(a) > 1 else ()
    columns = b[-1:] if len(b) > 1 else ()
    batch = broadcast(call, (a[:-2], b[:-2]))
    return None if batch is None else (*batch, *rows, *columns)


@shape_rule("MatMul")
def matmul(call: Call) -> Sequence[Info]:
    """a @ b."""
    a, b = call.input(0), call.input(1)
    return [Info(product_shape(call, a.shape, b.shape), a.dtype if a.dtype else b.dtype)]


@shape_rule("MatMulInteger")
def matmul_integer(call: Call) -> Sequence[Info]:
    """a @ b in 32-bit integers."""
    return [Info(product_shape(call, call.input(0).shape, call.input(1).shape), INT32)]


@shape_rule("QLinearMatMul")
def qlinear_matmul(call: Call) -> Sequence[Info]:
    """a @ b, of the type of the output's zero point."""
    zero = call.optional(7)
    dtype = call.input(0).dtype if zero is None else zero.dtype
    return [Info(product_shape(call, call.input(0).shape, call.input(3).shape), dtype)]


@shape_rule("Gemm", "com.microsoft::FusedGemm")
def gemm(call: Call) -> Sequence[Info]:
    """a' @ b' + c; operands of other ranks were flattened before opset 7."""
    a, b = call.input(0), call.input(1)
    dtype = a.dtype if a.dtype is not None else b.dtype
    if a.shape is None or b.shape is None:
        return [Info(None, dtype)]
    if len(a.shape) != 2 or len(b.shape) != 2:
        call.fail("both matrices must have 2 dimensions")
    rows, inner_a = a.shape[::-1] if call.attrs.get("transA") else a.shape
    inner_b, columns = b.shape[::-1] if call.attrs.get("transB") else b.shape
    if isinstance(inner_a, int) and isinstance(inner_b, int) and inner_a != inner_b:
        call.fail(f"inner sizes {inner_a} and {inner_b} of the matrix product differ")
    if inner_a != inner_b:
        prefer(call.space, inner_a, inner_b)
    return [Info((rows, columns), dtype)]


# --- convolutions and pooling ---


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
        size = space.add(space.ceil_div(room, stride), 1)
        if isinstance(size, int) and isinstance(dim, int):
            if (size - 1) * stride >= dim + before:  # the last window would start in the padding
                size -= 1
        elif stride > 1:  # the same rule written for symbols
            size = space.minimum(size, space.ceil_div(space.add(dim, before), stride))
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
        space.add(
            space.mul(space.sub(dim, 1), strides[i]), kernel[i] - pads[i] - pads[i + rank]
        )
        for i, dim in enumerate(x.shape[2:])
    ]
    return [Info((*x.shape[:2], *sizes), x.dtype)]


# --- reductions ---

_REDUCTIONS = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split()


@shape_rule(*(f"Reduce{name}" for name in _REDUCTIONS))
def reduce(call: Call) -> Sequence[Info]:
    """Without the axes reduced, or with 1 in their place."""
    x = call.input(0)
    keep = bool(call.int_attr("keepdims", 1))
    if x.shape is None:
        axes_given = call.attrs.get("axes") is not None or call.optional(1) is not None
        return [Info(None if keep or axes_given else (), x.dtype)]
    rank = len(x.shape)
    axes = call.axes(1, rank)
    if isinstance(axes, str):
        operand = call.inputs[1]
        number = None if operand is None else count(operand.shape)
        if number == 0:
            axes = None
        elif keep:
            # any axis may be the reduced one, so no size is certain; but a full set leaves only ones
            if number == rank:
                return [Info((1,) * rank, x.dtype)]
            return [Info(tuple(1 if d == 1 else call.space.fresh() for d in x.shape), x.dtype)]
        elif number is not None and number <= rank:
            return [Info(tuple(call.space.fresh() for _ in range(rank - number)), x.dtype)]
        else:
            return [Info(None, x.dtype)]
    if not axes:
        if axes is not None or call.optional(1) is not None or "axes" in call.attrs:
            if call.attrs.get("noop_with_empty_axes"):
                return [Info(x.shape, x.dtype, x.values if call.op == "ReduceSum" else None)]
        elif call.attrs.get("noop_with_empty_axes"):
            return [Info(x.shape, x.dtype, None)]
        axes = list(range(rank))
    if keep:
        shape = tuple(1 if i in axes else dim for i, dim in enumerate(x.shape))
    else:
        shape = tuple(dim for i, dim in enumerate(x.shape) if i not in axes)
    return [Info(shape, x.dtype, _reduced(call, x, axes))]


def _reduced(call: Call, x: Info, axes: list[int]) -> tuple[Dim, ...] | None:
    """The followed result of reducing all elements to one: exporters count elements so."""
    elements = array(x)
    if elements is None or None in elements or len(axes) != elements.ndim:
        return None
    values = elements.ravel().tolist()
    if not all(isinstance(v, int) or hasattr(v, "is_Integer") for v in values) or not values:
        return None
    space = call.space
    if call.op == "ReduceProd":
        return (space.mul(*values),)
    if call.op == "ReduceSum":
        return (space.add(*values),)
    if call.op in ("ReduceMax", "ReduceMin"):
        best = values[0]
        for value in values[1:]:
            best = (space.maximum if call.op == "ReduceMax" else space.minimum)(best, value)
        return (best,)
    return None


# --- normalisations ---


@shape_rule("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def layer_norm(call: Call) -> Sequence[Info]:
    """The input, and mean and inverse deviation with the normalised axes reduced to 1."""
    x = call.input(0)
    stash = onnx_ir.DataType(call.int_attr("stash_type", 1))
    if x.shape is None:
        return [Info(None, x.dtype), Info(None, stash), Info(None, stash)]
    axis = call.axis(call.int_attr("axis", -1), len(x.shape))
    scale = call.optional(1)
    if scale is not None and scale.shape and isinstance(scale.shape[-1], int):
        last = x.shape[-1]
        if isinstance(last, int) and scale.shape[-1] not in (1, last) and axis == len(x.shape) - 1:
            call.fail(f"{scale.shape[-1]} scales for a last axis of {last}")
    kept = (*x.shape[:axis], *(1 for _ in x.shape[axis:]))
    return [Info(x.shape, x.dtype), Info(kept, stash), Info(kept, stash)]


@shape_rule("BatchNormalization")
def batch_norm(call: Call) -> Sequence[Info]:
    """The input; statistics follow where the model is in training."""
    x, scale = call.input(0), call.input(1)
    channels = scale.shape[0] if scale.shape else None
    if x.shape is not None and len(x.shape) > 1 and isinstance(channels, int):
        if isinstance(x.shape[1], int) and x.shape[1] != channels:
            call.fail(f"{channels} scales for {x.shape[1]} channels")
        if not isinstance(x.shape[1], int):
            x = x._replace(shape=(x.shape[0], prefer(call.space, x.shape[1], channels), *x.shape[2:]))
    statistics = Info(scale.shape, call.input(3).dtype if len(call.inputs) > 3 else scale.dtype)
    return [Info(x.shape, x.dtype), *[statistics] * 4]


__all__ = ["INT32", "INT64", "UINT8", "ops"]
