"""Matrix products, convolutions, pooling, reductions and normalisations."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.elementwise import broadcast, prefer
from energy_opt.ir.shapes.info import Call, Info, array, count
from energy_opt.ir.shapes.registry import shape_rule

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


@shape_rule("com.microsoft::QGemm")
def qgemm(call: Call) -> Sequence[Info]:
    """a' @ b' + c, of the type of the output's zero point; without one it is not quantised again."""
    zero = call.optional(8)
    dtype = onnx_ir.DataType.FLOAT if zero is None else zero.dtype
    return [_gemm(call, call.input(3))._replace(dtype=dtype)]


@shape_rule("Gemm", "com.microsoft::FusedGemm")
def gemm(call: Call) -> Sequence[Info]:
    """a' @ b' + c; operands of other ranks were flattened before opset 7."""
    return [_gemm(call, call.input(1))]


def _gemm(call: Call, b: Info) -> Info:
    a = call.input(0)
    dtype = a.dtype if a.dtype is not None else b.dtype
    if a.shape is None or b.shape is None:
        return Info(None, dtype)
    if len(a.shape) != 2 or len(b.shape) != 2:
        call.fail("both matrices must have 2 dimensions")
    rows, inner_a = a.shape[::-1] if call.attrs.get("transA") else a.shape
    inner_b, columns = b.shape[::-1] if call.attrs.get("transB") else b.shape
    if isinstance(inner_a, int) and isinstance(inner_b, int) and inner_a != inner_b:
        call.fail(f"inner sizes {inner_a} and {inner_b} of the matrix product differ")
    if inner_a != inner_b:
        prefer(call.space, inner_a, inner_b)
    return Info((rows, columns), dtype)


# --- reductions ---

_REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]


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
            x = x._replace(
                shape=(x.shape[0], prefer(call.space, x.shape[1], channels), *x.shape[2:])
            )
    statistics = Info(scale.shape, call.input(3).dtype if len(call.inputs) > 3 else scale.dtype)
    return [Info(x.shape, x.dtype), *[statistics] * 4]


@shape_rule("CausalConvWithState", "com.microsoft::CausalConvWithState")
def causal_conv(call: Call) -> Sequence[Info]:
    """The input, and the last kernel - 1 positions of [batch, channels, length]."""
    x, w = call.input(0), call.input(1)
    if x.shape is None or len(x.shape) != 3 or w.shape is None or len(w.shape) != 3:
        return [Info(x.shape, x.dtype), Info(None, x.dtype)]
    kept = call.space.maximum(call.space.sub(w.shape[2], 1), 0)
    return [Info(x.shape, x.dtype), Info((*x.shape[:2], kept), x.dtype)]
