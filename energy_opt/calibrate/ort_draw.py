"""What is drawn in ONNX's vocabulary: nodes of exported transformers and convolutional networks, as they stand there.

Sizes are drawn as for PyTorch (`draw.Sizes`); operands are those that exporters write.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from energy_opt.calibrate.draw import CPU, Means, Shape, Sizes
from energy_opt.calibrate.ort_primitives import Node, OnnxPrimitive, chain, one
from energy_opt.calibrate.primitives import TensorSpec
from energy_opt.errors import CalibrationError

Maker = Callable[[Sizes], OnnxPrimitive]


def draw(
    count: int,
    *,
    dtype: str = "float32",
    means: Means = CPU,
    seed: int = 0,
    kinds: Sequence[str] | None = None,
) -> list[OnnxPrimitive]:
    """About `count` distinct primitives in that type, each node in proportion to its share of what models do.

    `kinds` keeps only these kinds of work. What exceeds the means is drawn again.
    """
    sizes = Sizes(seed, dtype, means)
    entries = [(share, make) for share, kind, make in MENU if kinds is None or kind in kinds]
    total = sum(share for share, _ in entries)
    found: dict[str, OnnxPrimitive] = {}
    for share, make in entries:
        for _ in range(max(1, round(count * share / total))):
            primitive = _within(sizes, make)
            if primitive is not None:
                found.setdefault(primitive.key, primitive)
    return list(found.values())


def _within(sizes: Sizes, make: Maker) -> OnnxPrimitive | None:
    """A draw that the means allow and that is one kernel, None where twenty were not."""
    for _ in range(20):
        made = make(sizes)
        with contextlib.suppress(CalibrationError):  # fusions are the passes' to decide
            if made.nbytes <= sizes.means.nbytes and made.row.matmul_flops <= sizes.means.flops:
                return made
    return None


# -- products ----------------------------------------------------------------------------------------------------------


def _features(s: Sizes) -> tuple[int, int]:
    """Features into and out of a layer."""
    width, times = s.width(64, 4096), s.pick(1, 1, 1, 2, 3, 4, 4)
    if times == 1:
        return width, width if s.chance(0.6) else s.width(64, 4096)
    return (width, times * width) if s.chance(0.5) else (times * width, width)


def layer(s: Sizes) -> OnnxPrimitive:
    """A layer on a text's activations; its bias is a node of its own."""
    k, n = _features(s)
    rows = s.tokens()
    return one("MatMul", [s.x(*rows, k), s.w(k, n)], s.x(*rows, n))


def layer_few(s: Sizes) -> OnnxPrimitive:
    """A layer on one position per text."""
    k, n = _features(s)
    b = s.between(1, s.means.batch)
    return one("MatMul", [s.x(b, 1, k), s.w(k, n)], s.x(b, 1, n))


def vocabulary(s: Sizes) -> OnnxPrimitive:
    """The head of a language model."""
    k, n = s.width(64, 2048), s.between(2000, 64000)
    rows = s.tokens()
    return one("MatMul", [s.x(*rows, k), s.w(k, n)], s.x(*rows, n))


def gemm(s: Sizes) -> OnnxPrimitive:
    """A layer on rows, with its bias, whose weight is stored either way."""
    k, n = _features(s)
    m, across = s.between(1, s.means.batch * 512), s.pick(0, 1)
    w = s.w(n, k) if across else s.w(k, n)
    return one("Gemm", [s.x(m, k), w, s.w(n)], s.x(m, n), transB=across)


def scores(s: Sizes) -> OnnxPrimitive:
    """Queries by keys, already transposed."""
    b, h, length, d = s.heads()
    inputs: list[TensorSpec | None] = [s.x(b, h, length, d), s.x(b, h, d, length)]
    return one("MatMul", inputs, s.x(b, h, length, length))


def mixed(s: Sizes) -> OnnxPrimitive:
    """Scores by values."""
    b, h, length, d = s.heads()
    inputs: list[TensorSpec | None] = [s.x(b, h, length, length), s.x(b, h, length, d)]
    return one("MatMul", inputs, s.x(b, h, length, d))


def attention(s: Sizes) -> OnnxPrimitive:
    """ONNX Runtime's own attention, over a text or one position over a cache."""
    heads, d = s.pick(2, 4, 6, 8, 12, 16), s.pick(32, 64, 64, 128)
    b, length = s.between(1, s.means.batch), s.between(8, 1024)
    q, width = (length if s.chance(0.7) else 1), heads * d
    inputs: list[TensorSpec | None] = [
        s.x(b, q, width),
        s.x(b, length, width),
        s.x(b, length, width),
    ]
    return one("com.microsoft::MultiHeadAttention", inputs, s.x(b, q, width), num_heads=heads)


# -- convolutions ------------------------------------------------------------------------------------------------------


def _channels(s: Sizes, count: int) -> int:
    """So many channels as networks have: mostly multiples of 16, else of 8, seldom neither."""
    if s.chance(0.1):
        return count
    block = 16 if s.chance(0.8) else 8
    return max(block, block * round(count / block))


def _image(s: Sizes) -> Shape:
    """Batch, channels, height and width of an image's activations."""
    b, c, height, width = s.image()
    return b, _channels(s, c), height, width


def _conv(
    s: Sizes, shape: Shape, out: int, kernel: int, stride: int, groups: int, pad: int
) -> OnnxPrimitive:
    """A convolution, and what is fused to it: an activation, or a skip connection and an activation."""
    b, c, *sides = shape
    y = s.x(b, out, *((side + 2 * pad - kernel) // stride + 1 for side in sides))
    axes = len(sides)
    plain = one(
        "Conv", [s.x(*shape), s.w(out, c // groups, *[kernel] * axes), s.w(out)], y,
        kernel_shape=(kernel,) * axes, strides=(stride,) * axes, pads=(pad,) * (2 * axes),
        dilations=(1,) * axes, group=groups,
    )  # fmt: skip
    how = s.random.random()
    if how < 0.4 or axes == 1:
        return plain
    if how < 0.85:
        return chain(plain, Node("Relu", ("o0",), ("r",)), r=y)
    nodes = (Node("Add", ("o0", "skip"), ("sum",)), Node("Relu", ("sum",), ("r",)))
    return chain(plain, *nodes, skip=y, sum=y, r=y)


def conv(s: Sizes) -> OnnxPrimitive:
    """Over few or many channels."""
    shape, kernel = _image(s), s.pick(3, 3, 3, 5)
    out = shape[1] if s.chance(0.6) else _channels(s, s.width(16, 1024))
    return _conv(s, shape, out, kernel, s.pick(1, 1, 1, 2), 1, kernel // 2)


def pointwise(s: Sizes) -> OnnxPrimitive:
    """1x1: widening, narrowing, or between stages."""
    shape = _image(s)
    out = s.pick(
        shape[1] * s.pick(1, 2, 4, 6), max(8, shape[1] // s.pick(2, 4, 6)), s.width(16, 2048)
    )
    return _conv(s, shape, _channels(s, out), 1, s.pick(1, 1, 1, 1, 2), 1, 0)


def depthwise(s: Sizes) -> OnnxPrimitive:
    """Each channel by itself."""
    shape, kernel = _image(s), s.pick(3, 3, 3, 5, 7)
    return _conv(s, shape, shape[1], kernel, s.pick(1, 1, 1, 2), shape[1], kernel // 2)


def grouped(s: Sizes) -> OnnxPrimitive:
    """Within groups of channels."""
    b, _, height, width = _image(s)
    groups = s.pick(2, 4, 8, 16, 32)
    channels = groups * s.pick(4, 8, 16, 32)
    return _conv(s, (b, channels, height, width), channels, 3, s.pick(1, 1, 2), groups, 1)


def stem(s: Sizes) -> OnnxPrimitive:
    """The first of an image network, or patches of a transformer."""
    side = s.pick(128, 160, 192, 224, 224, 224, 256, 384)
    shape = (s.between(1, s.means.batch), 3, side, side)
    if s.chance(0.5):
        patch = s.pick(4, 8, 14, 16, 16, 32)
        return _conv(s, shape, s.width(48, 1280), patch, patch, 1, 0)
    kernel = s.pick(3, 3, 7)
    return _conv(s, shape, s.pick(16, 24, 32, 64), kernel, 2, 1, kernel // 2)


def conv1d(s: Sizes) -> OnnxPrimitive:
    """Over a sound or a sequence."""
    shape = (s.between(1, s.means.batch), s.pick(80, s.width(64, 768)), s.between(50, 3000))
    kernel = s.pick(3, 3, 5)
    return _conv(s, shape, s.width(64, 768), kernel, s.pick(1, 2), 1, kernel // 2)


# -- norms -------------------------------------------------------------------------------------------------------------


def layer_norm(s: Sizes) -> OnnxPrimitive:
    """Over the last axis."""
    shape = s.hidden()
    d = shape[-1]
    return one(
        "LayerNormalization", [s.x(*shape), s.w(d), s.w(d)], s.x(*shape), axis=-1, epsilon=1e-5
    )


def skip_norm(s: Sizes) -> OnnxPrimitive:
    """A skip connection and the norm of its sum, which others may read too."""
    x = s.x(*s.hidden())
    w = s.w(x.shape[-1])
    norm = Node("LayerNormalization", ("o0", "w", "b"), ("y",), (("axis", -1), ("epsilon", 1e-5)))
    made = chain(one("Add", [x, x], x), norm, w=w, b=w, y=x)
    if s.chance(0.5):
        return made
    return OnnxPrimitive(made.nodes, made.tensors, ("y", "o0"), made.constants)


def batch_norm(s: Sizes) -> OnnxPrimitive:
    """With statistics that were learned, where no convolution takes it."""
    shape = s.image()
    weights = [s.w(shape[1]) for _ in range(4)]
    return one("BatchNormalization", [s.x(*shape), *weights], s.x(*shape), epsilon=1e-5)


def softmax(s: Sizes) -> OnnxPrimitive:
    """Over the last axis."""
    shape = s.scores()
    return one("Softmax", [s.x(*shape)], s.x(*shape), axis=-1)


# -- elementwise -------------------------------------------------------------------------------------------------------


def unary(op: str, result: str = "", **attributes: Any) -> Maker:
    """A node on one operand of any shape."""

    def make(s: Sizes) -> OnnxPrimitive:
        x = s.x(*(s.activation() if s.chance(0.8) else s.scores()))
        return one(op, [x], s.flags(*x.shape) if result == "bool" else x, **attributes)

    return make


def binary(op: str) -> Maker:
    """A node on two operands of equal shape, or one of which is broadcast, or one number."""

    def make(s: Sizes) -> OnnxPrimitive:
        shape, how = s.activation(), s.random.random()
        other = s.x(*shape)
        if how > 0.4:
            other = s.w(shape[-1]) if how > 0.7 else s.w() if how > 0.5 else s.x(*shape[:-1], 1)
        return one(op, [s.x(*shape), other], s.x(*shape))

    return make


def bias_gelu(s: Sizes) -> OnnxPrimitive:
    """A layer's bias and its activation."""
    x = s.x(*s.hidden())
    return chain(one("Add", [x, s.w(x.shape[-1])], x), Node("Gelu", ("o0",), ("y",)), y=x)


def per_channel(s: Sizes) -> OnnxPrimitive:
    """A factor per channel of an image."""
    shape = s.image()
    return one("Mul", [s.x(*shape), s.x(*shape[:2], 1, 1)], s.x(*shape))


def masked(s: Sizes) -> OnnxPrimitive:
    """A mask or a position's term added to scores."""
    shape = s.scores()
    return one("Add", [s.x(*shape), s.x(shape[0], 1, *shape[2:])], s.x(*shape))


def power(s: Sizes) -> OnnxPrimitive:
    """Squares, or cubes as some activations have them."""
    x = s.x(*s.hidden())
    return one("Pow", [x, s.x()], x, constants={1: (float(s.pick(2, 2, 3)),)})


def clip(s: Sizes) -> OnnxPrimitive:
    """Between two numbers."""
    x = s.x(*s.image())
    return one("Clip", [x, s.x(), s.x()], x, constants={1: (0.0,), 2: (6.0,)})


def few(op: str) -> Maker:
    """Of one number per row."""

    def make(s: Sizes) -> OnnxPrimitive:
        x = s.x(*s.tokens(), 1)
        return one(op, [x], x)

    return make


def chosen(s: Sizes) -> OnnxPrimitive:
    """A constant or the operand, element by element."""
    x = s.x(*s.scores())
    mask = s.flags(*x.shape) if s.chance(0.6) else s.flags(x.shape[0], 1, *x.shape[2:])
    return one("Where", [mask, s.x(), x], x, constants={1: (0.0,)})


def cast(s: Sizes) -> OnnxPrimitive:
    """Whole numbers or flags as activations."""
    b, length = s.tokens()
    shape = (b, 1, length, length) if s.chance(0.5) else (b, length)
    x = s.flags(*shape) if s.chance(0.5) else s.ints(*shape)
    return one("Cast", [x], s.x(*shape), to=1)


def compared(op: str) -> Maker:
    """Positions compared, each with each."""

    def make(s: Sizes) -> OnnxPrimitive:
        b, length = s.tokens()
        inputs: list[TensorSpec | None] = [s.ints(b, 1, length, 1), s.ints(b, 1, 1, length)]
        return one(op, inputs, s.flags(b, 1, length, length))

    return make


def both(s: Sizes) -> OnnxPrimitive:
    """Two masks joined."""
    b, length = s.tokens()
    mask = s.flags(b, 1, length, length)
    return one("And", [mask, mask], mask)


# -- reductions, pooling, movement -------------------------------------------------------------------------------------


def reduced(op: str) -> Maker:
    """The last axis of a text's activations as one number."""

    def make(s: Sizes) -> OnnxPrimitive:
        shape = s.hidden()
        inputs: list[TensorSpec | None] = [s.x(*shape), s.ints(1)]
        return one(op, inputs, s.x(*shape[:-1], 1), constants={1: (-1,)}, keepdims=1)

    return make


def mean_positions(s: Sizes) -> OnnxPrimitive:
    """The positions of an image averaged."""
    shape = s.image()
    inputs: list[TensorSpec | None] = [s.x(*shape), s.ints(2)]
    return one("ReduceMean", inputs, s.x(*shape[:2], 1, 1), constants={1: (2, 3)}, keepdims=1)


def positions_normed(s: Sizes) -> OnnxPrimitive:
    """The positions of an image whose channels are last, as one number per channel."""
    b, c, height, width = _image(s)
    inputs: list[TensorSpec | None] = [s.x(b, height, width, c), s.ints(2)]
    return one("ReduceL2", inputs, s.x(b, 1, 1, c), constants={1: (1, 2)}, keepdims=1)


def whole(s: Sizes) -> OnnxPrimitive:
    """The same as exporters of older networks write it."""
    shape = s.image()
    return one("GlobalAveragePool", [s.x(*shape)], s.x(*shape[:2], 1, 1))


def pooled(op: str, kernel: int, stride: int) -> Maker:
    """Windows of an image."""

    def make(s: Sizes) -> OnnxPrimitive:
        b, c, height, width = s.image()
        pad = (kernel - 1) // 2
        y = [(side + 2 * pad - kernel) // stride + 1 for side in (height, width)]
        window: dict[str, Any] = {
            "kernel_shape": (kernel,) * 2,
            "strides": (stride,) * 2,
            "pads": (pad,) * 4,
        }
        return one(op, [s.x(b, c, height, width)], s.x(b, c, *y), **window)

    return make


def embedding(s: Sizes) -> OnnxPrimitive:
    """Rows of a table."""
    rows, d, shape = s.between(2, 50000), s.width(32, 4096), s.tokens()
    return one("Gather", [s.w(rows, d), s.ints(*shape, high=rows)], s.x(*shape, d), axis=0)


def elements(s: Sizes) -> OnnxPrimitive:
    """Elements along the last axis by index."""
    rows, d, count = s.between(4, 2048), s.width(32, 1024), s.between(1, 512)
    inputs: list[TensorSpec | None] = [s.x(rows, d), s.ints(rows, count, high=d)]
    return one("GatherElements", inputs, s.x(rows, count), axis=-1)


def heads_apart(s: Sizes) -> OnnxPrimitive:
    """Heads put before positions, or back."""
    b, h, length, d = s.heads()
    shape = (b, length, h, d) if s.chance(0.5) else (b, h, length, d)
    y = (shape[0], shape[2], shape[1], shape[3])
    return one("Transpose", [s.x(*shape)], s.x(*y), perm=(0, 2, 1, 3))


def keys_across(s: Sizes) -> OnnxPrimitive:
    """Keys transposed, from either order."""
    b, h, length, d = s.heads()
    if s.chance(0.5):
        return one("Transpose", [s.x(b, length, h, d)], s.x(b, h, d, length), perm=(0, 2, 3, 1))
    return one("Transpose", [s.x(b, h, length, d)], s.x(b, h, d, length), perm=(0, 1, 3, 2))


def channels_moved(s: Sizes) -> OnnxPrimitive:
    """An image's channels put last, or first."""
    b, c, height, width = s.image()
    if s.chance(0.5):
        return one(
            "Transpose", [s.x(b, c, height, width)], s.x(b, height, width, c), perm=(0, 2, 3, 1)
        )
    return one("Transpose", [s.x(b, height, width, c)], s.x(b, c, height, width), perm=(0, 3, 1, 2))


def joined(s: Sizes) -> OnnxPrimitive:
    """Halves of heads joined, or a position put before others."""
    b, h, length, d = s.heads()
    if s.chance(0.6):
        half = s.x(b, h, length, d // 2)
        return one("Concat", [half, half], s.x(b, h, length, d // 2 * 2), axis=-1)
    b, length, d = s.hidden()
    return one("Concat", [s.x(b, 1, d), s.x(b, length, d)], s.x(b, length + 1, d), axis=1)


def split(s: Sizes) -> OnnxPrimitive:
    """Queries, keys and values taken apart."""
    b, length = s.tokens()
    d, parts = s.width(64, 1024), s.pick(2, 3)
    y = [s.x(b, length, d)] * parts
    inputs: list[TensorSpec | None] = [s.x(b, length, parts * d), s.ints(parts)]
    return one("Split", inputs, *y, constants={1: (d,) * parts}, axis=-1)


def halved(s: Sizes) -> OnnxPrimitive:
    """Half of each head."""
    b, h, length, d = s.heads()
    bounds: list[TensorSpec | None] = [s.ints(1)] * 3
    constants: dict[int, tuple[int, ...]] = {1: (0,), 2: (d // 2,), 3: (3,)}
    return one(
        "Slice", [s.x(b, h, length, d), *bounds], s.x(b, h, length, d // 2), constants=constants
    )


def repeated(s: Sizes) -> OnnxPrimitive:
    """Keys repeated for the queries that share them, or a mask for every head."""
    b, h, length, d = s.heads()
    y = (b, h, s.pick(2, 4), length, d)
    inputs: list[TensorSpec | None] = [s.x(b, h, 1, length, d), s.ints(5)]
    return one("Expand", inputs, s.x(*y), constants={1: y})


def padded(s: Sizes) -> OnnxPrimitive:
    """A rim of zeros around an image."""
    b, c, height, width = s.image()
    rim = s.pick(1, 1, 3)
    inputs: list[TensorSpec | None] = [s.x(b, c, height, width), s.ints(8)]
    pads = (0, 0, rim, rim, 0, 0, rim, rim)
    return one("Pad", inputs, s.x(b, c, height + 2 * rim, width + 2 * rim), constants={1: pads})


MENU: tuple[tuple[float, str, Maker], ...] = (
    (24, "matmul", layer), (5, "matmul", layer_few), (3, "matmul", vocabulary), (10, "matmul", gemm),
    (7, "matmul", scores), (7, "matmul", mixed), (8, "attention", attention),
    (14, "conv", conv), (14, "conv", pointwise), (9, "conv", depthwise), (5, "conv", grouped), (6, "conv", stem),
    (4, "conv", conv1d),
    (5, "norm", layer_norm), (8, "norm", skip_norm), (4, "norm", batch_norm), (6, "softmax", softmax),
    (6, "elementwise", bias_gelu), (4, "elementwise", unary("Gelu")),
    (4, "elementwise", unary("Gelu", approximate="tanh")), (3, "elementwise", unary("Erf")),
    (4, "elementwise", unary("Relu")), (4, "elementwise", unary("Tanh")), (4, "elementwise", unary("Sigmoid")),
    (3, "elementwise", unary("Exp")), (3, "elementwise", unary("HardSwish")), (3, "elementwise", unary("HardSigmoid")),
    (2, "elementwise", unary("Cos")), (2, "elementwise", unary("Sin")), (2, "elementwise", unary("Neg")),
    (2, "elementwise", unary("Sqrt")), (3, "elementwise", unary("IsNaN", "bool")),
    (2, "elementwise", few("Sqrt")), (2, "elementwise", few("Reciprocal")),
    (8, "elementwise", binary("Add")), (4, "elementwise", masked), (6, "elementwise", binary("Mul")),
    (2, "elementwise", per_channel), (3, "elementwise", binary("Sub")), (3, "elementwise", binary("Div")),
    (4, "elementwise", power), (3, "elementwise", clip), (5, "elementwise", chosen), (3, "elementwise", cast),
    (2, "elementwise", compared("LessOrEqual")), (2, "elementwise", compared("GreaterOrEqual")),
    (2, "elementwise", compared("Equal")), (2, "elementwise", both),
    (4, "reduction", reduced("ReduceMean")), (2, "reduction", reduced("ReduceSum")),
    (2, "reduction", reduced("ReduceMax")), (3, "reduction", mean_positions), (2, "reduction", positions_normed),
    (2, "pool", whole),
    (3, "pool", pooled("MaxPool", 3, 2)), (2, "pool", pooled("AveragePool", 2, 2)),
    (5, "gather", embedding), (2, "gather", elements),
    (6, "copy", heads_apart), (4, "copy", keys_across), (4, "copy", channels_moved), (4, "copy", joined),
    (4, "copy", split), (3, "copy", halved), (3, "copy", repeated), (2, "copy", padded),
)  # fmt: skip
"""How many of each in a draw of about 300: the share, the kind that the rules give it, and what makes it."""
