"""Operators beyond the standard set that runtimes write into models, and classic machine learning."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.elementwise import BOOL, broadcast
from energy_opt.ir.shapes.indexing import gather, gather_nd
from energy_opt.ir.shapes.info import Call, Info
from energy_opt.ir.shapes.layout import as_dim, pad
from energy_opt.ir.shapes.neural import INT32, product_shape
from energy_opt.ir.shapes.registry import RULES, Rule, ops, shape_rule
from energy_opt.ir.shapes.signal import grid_sample
from energy_opt.ir.shapes.windows import conv, conv_transpose, global_pool, pool, window

MS, NCHWC, NHWC = "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"
FLOAT = onnx_ir.DataType.FLOAT


@shape_rule(
    *ops("BiasSoftmax Inverse Trilu SampleOp NGramRepeatBlock DequantizeWithOrder", MS),
    *ops("BatchNormalization InstanceNormalization LRN", NHWC),
)
def same(call: Call) -> Sequence[Info]:
    """Shape and dtype of the first input."""
    x = call.input(0)
    index = 1 if call.op == "NGramRepeatBlock" and call.optional(1) is not None else 0
    x = call.input(index)
    return [Info(x.shape, x.dtype)]


@shape_rule(*ops("BiasDropout BitmaskBiasDropout BitmaskDropout", MS))
def dropout(call: Call) -> Sequence[Info]:
    """The input and a mask, bits packed into 32-bit words where it is a bit mask."""
    x = call.input(0)
    if call.op.startswith("Bitmask"):
        words: tuple[Dim, ...] | None = None
        if x.shape is not None:
            words = (call.space.ceil_div(call.space.mul(*x.shape), 32),)
        return [Info(x.shape, x.dtype), Info(words, onnx_ir.DataType.UINT32)]
    return [Info(x.shape, x.dtype), Info(x.shape, BOOL)]


@shape_rule(*ops("ComplexMul ComplexMulConj MulInteger", MS))
def binary(call: Call) -> Sequence[Info]:
    """Broadcast of two inputs."""
    a, b = call.input(0), call.input(2 if call.op == "MulInteger" else 1)
    dtype = INT32 if call.op == "MulInteger" else a.dtype
    return [Info(broadcast(call, (a.shape, b.shape)), dtype)]


@shape_rule(
    *ops("DynamicQuantizeMatMul MatMulInteger16 MatMulIntegerToFloat SparseToDenseMatMul", MS)
)
def quantised_matmul(call: Call) -> Sequence[Info]:
    """a @ b of quantised operands."""
    a, b = call.input(0), call.input(1)
    shape = product_shape(call, a.shape, b.shape)
    if call.op == "MatMulInteger16":
        return [Info(shape, INT32)]
    index = {"MatMulIntegerToFloat": 2, "DynamicQuantizeMatMul": 0, "SparseToDenseMatMul": 1}
    return [Info(shape, call.input(index[call.op]).dtype)]


@shape_rule(f"{MS}::FusedMatMulActivation")
def fused_matmul(call: Call) -> Sequence[Info]:
    """a' @ b' with either side transposed, then an activation."""
    shapes = []
    for index, name in ((0, "transA"), (1, "transB")):
        shape = call.input(index).shape
        if shape is not None and len(shape) > 1 and call.attrs.get(name):
            shape = (*shape[:-2], shape[-1], shape[-2])
        shapes.append(shape)
    return [Info(product_shape(call, shapes[0], shapes[1]), call.input(0).dtype)]


@shape_rule(f"{MS}::MatMulBnb4")
def matmul_4bit(call: Call) -> Sequence[Info]:
    """a @ b with b packed in 4 bits; N is an attribute."""
    a = call.input(0)
    shape = None if not a.shape else (*a.shape[:-1], call.int_attr("N"))
    return [Info(shape, a.dtype)]


@shape_rule(*ops("QuantizeLinear DequantizeLinear", MS))
def quantize(call: Call) -> Sequence[Info]:
    """The input in the type of the zero point, or of the scale when dequantising."""
    x, zero = call.input(0), call.optional(2)
    if call.op == "DequantizeLinear":
        return [Info(x.shape, call.input(1).dtype)]
    return [Info(x.shape, onnx_ir.DataType.UINT8 if zero is None else zero.dtype)]


@shape_rule(f"{MS}::ExpandDims")
def expand_dims(call: Call) -> Sequence[Info]:
    """With an axis of size 1 put in."""
    x, axis = call.input(0), call.ints(1, "axis")
    if x.shape is None or not axis:
        return [Info(None, x.dtype)]
    at = call.axis(axis[0], len(x.shape) + 1)
    return [Info((*x.shape[:at], 1, *x.shape[at:]), x.dtype)]


@shape_rule(f"{MS}::GatherBlockQuantized")
def gather_quantised(call: Call) -> Sequence[Info]:
    """A gather from packed rows, dequantised: unpacked along `quantize_axis`."""
    x, indices, scales = call.input(0), call.input(1), call.input(2)
    shape = x.shape
    bits = call.int_attr("bits", 4)
    if shape is not None and x.dtype is onnx_ir.DataType.UINT8 and bits < 8:
        axis = call.axis(call.int_attr("quantize_axis", 1), len(shape))
        shape = (*shape[:axis], call.space.mul(shape[axis], 8 // bits), *shape[axis + 1 :])
    if shape is None or indices.shape is None:
        return [Info(None, scales.dtype)]
    at = call.axis(call.int_attr("gather_axis", 0), len(shape))
    return [Info((*shape[:at], *indices.shape, *shape[at + 1 :]), scales.dtype)]


@shape_rule(f"{MS}::TorchEmbedding")
def torch_embedding(call: Call) -> Sequence[Info]:
    """One row of the weight per index."""
    return gather(call)


@shape_rule(f"{MS}::IsAllFinite")
def is_all_finite(call: Call) -> Sequence[Info]:
    """One boolean."""
    return [Info((), BOOL)]


@shape_rule(f"{MS}::CDist")
def cdist(call: Call) -> Sequence[Info]:
    """Distances of every row of a to every row of b."""
    a, b = call.input(0), call.input(1)
    if a.shape is None or b.shape is None:
        return [Info(None, a.dtype)]
    return [Info((a.shape[0], b.shape[0]), a.dtype)]


@shape_rule(*ops("Rfft Irfft", MS))
def rfft(call: Call) -> Sequence[Info]:
    """The half spectrum of the last axis with real and imaginary parts, or back from it."""
    x, space = call.input(0), call.space
    if not x.shape:
        return [Info(None, x.dtype)]
    if call.op == "Rfft":
        half = space.add(space.floor_div(x.shape[-1], 2), 1)
        return [Info((*x.shape[:-1], half, 2), x.dtype)]
    return [Info((*x.shape[:-2], space.mul(space.sub(x.shape[-2], 1), 2)), x.dtype)]


@shape_rule(f"{MS}::RelativePositionBias")
def relative_position_bias(call: Call) -> Sequence[Info]:
    """[1, heads, query length, key length]."""
    table = call.input(0)
    lengths = [call.input(i).values for i in (1, 2)]
    sizes = [as_dim(call, v[0] if v else None, "a length") for v in lengths]
    heads = table.shape[1] if table.shape and len(table.shape) > 1 else call.space.fresh()
    return [Info((1, heads, *sizes), table.dtype)]


@shape_rule(f"{MS}::CropAndResize")
def crop_and_resize(call: Call) -> Sequence[Info]:
    """[regions, channels, height, width]."""
    x, regions, size = call.input(0), call.input(1), call.input(3).values
    height, width = size if size and len(size) == 2 else (None, None)
    number = regions.shape[0] if regions.shape else call.space.fresh()
    channels = x.shape[1] if x.shape and len(x.shape) > 1 else call.space.fresh()
    sizes = (as_dim(call, height, "a height"), as_dim(call, width, "a width"))
    return [Info((number, channels, *sizes), x.dtype)]


@shape_rule(*ops("BeamSearch GreedySearch Sampling WhisperBeamSearch", MS))
def generate(call: Call) -> Sequence[Info]:
    """The sequences that a generation loop makes, as long as `max_length` allows."""
    ids, length = call.input(0), call.input(1).values
    batch = ids.shape[0] if ids.shape else call.space.fresh("input")
    steps = as_dim(call, length[0] if length else None, "max_length")
    if "Beam" not in call.op:
        return [Info((batch, steps), INT32)]
    returned = call.optional(4)
    number = as_dim(call, returned.values[0] if returned and returned.values else None, "sequences")
    return [Info((batch, number, steps), INT32), Info((batch, number), FLOAT), Info(None, FLOAT)]


# --- layouts of ONNX Runtime's own kernels ---


def _first(
    infos: tuple[Info | None, ...], shape: tuple[Dim, ...] | None
) -> tuple[Info | None, ...]:
    head = infos[0]
    return (None if head is None else head._replace(shape=shape, values=None), *infos[1:])


def _channels_last(rule: Rule) -> Rule:
    """The rule for tensors whose channels are the last axis."""

    def apply(call: Call) -> Sequence[Info]:
        shape = call.input(0).shape
        if shape is not None and len(shape) > 2:
            shape = (shape[0], shape[-1], *shape[1:-1])
        moved = Call(
            call.space,
            call.name,
            call.domain,
            call.op,
            call.version,
            _first(call.inputs, shape),
            call.attrs,
            call.outputs,
        )
        return [
            info._replace(shape=(info.shape[0], *info.shape[2:], info.shape[1]))
            if info.shape is not None and len(info.shape) > 2
            else info
            for info in rule(moved)
        ]

    return apply


@shape_rule(f"{NCHWC}::Conv")
def blocked_conv(call: Call) -> Sequence[Info]:
    """A convolution whose channels come in blocks: their number is padded, so it is not checked."""
    x, w = call.input(0), call.input(1)
    if x.shape is None or w.shape is None:
        return [Info(None, x.dtype)]
    kernel = call.ints_attr("kernel_shape") or w.shape[2:]
    return [Info((x.shape[0], w.shape[0], *window(call, x.shape[2:], kernel)), x.dtype)]


@shape_rule(*ops("ReorderInput ReorderOutput", NCHWC))
def reorder(call: Call) -> Sequence[Info]:
    """The same tensor in blocks, or out of them with the channels it had."""
    x = call.input(0)
    if x.shape is None or len(x.shape) < 3:
        return [Info(None, x.dtype)]
    batch, second, *rest = x.shape
    if call.op == "ReorderInput":
        if call.attrs.get("channels_last"):
            return [Info((batch, x.shape[-1], *x.shape[1:-1]), x.dtype)]
        return [Info(x.shape, x.dtype)]
    channels = call.int_attr("channels", second if isinstance(second, int) else None)
    if call.attrs.get("channels_last"):
        return [Info((batch, *rest, channels), x.dtype)]
    return [Info((batch, channels, *rest), x.dtype)]


@shape_rule(f"{MS}::NhwcConv", f"{MS}::NhwcFusedConv")
def nhwc_conv(call: Call) -> Sequence[Info]:
    """[batch, spatial..., filters] with weights [filters, kernel..., channels]."""
    x, w = call.input(0), call.input(1)
    if x.shape is None or w.shape is None:
        return [Info(None, x.dtype)]
    kernel = call.ints_attr("kernel_shape") or w.shape[1:-1]
    return [Info((x.shape[0], *window(call, x.shape[1:-1], kernel), w.shape[0]), x.dtype)]


def _register_layouts() -> None:
    pools: list[tuple[str, Rule]] = [("MaxPool", pool), ("AveragePool", pool), ("LpPool", pool)]
    pools += [(f"Global{name}", global_pool) for name in ("AveragePool", "MaxPool", "LpPool")]
    for name, rule in pools:
        RULES[NCHWC, name] = rule
        RULES[NHWC, name] = _channels_last(rule)
    moved = (("Conv", conv), ("ConvTranspose", conv_transpose), ("GridSample", grid_sample))
    for name, rule in moved:
        RULES[NHWC, name] = _channels_last(rule)
    RULES[MS, "NhwcMaxPool"] = _channels_last(pool)
    RULES[MS, "Pad"] = pad
    RULES[MS, "GatherND"] = gather_nd


_register_layouts()
