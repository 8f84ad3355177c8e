"""What is drawn of ONNX's products, attention and convolutions."""

from __future__ import annotations

from energy_opt.calibrate.draw import Shape, Sizes
from energy_opt.calibrate.ort_primitives import Node, OnnxPrimitive, chain, one
from energy_opt.calibrate.primitives import TensorSpec


def channels(s: Sizes, count: int) -> int:
    """So many channels as networks have: mostly multiples of 16, else of 8, seldom neither."""
    if s.chance(0.1):
        return count
    block = 16 if s.chance(0.8) else 8
    return max(block, block * round(count / block))


def image(s: Sizes) -> Shape:
    """Batch, channels, height and width of an image's activations."""
    b, c, height, width = s.image()
    return b, channels(s, c), height, width


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
    shape, kernel = image(s), s.pick(3, 3, 3, 5)
    out = shape[1] if s.chance(0.6) else channels(s, s.width(16, 1024))
    return _conv(s, shape, out, kernel, s.pick(1, 1, 1, 2), 1, kernel // 2)


def pointwise(s: Sizes) -> OnnxPrimitive:
    """1x1: widening, narrowing, or between stages."""
    shape = image(s)
    out = s.pick(
        shape[1] * s.pick(1, 2, 4, 6), max(8, shape[1] // s.pick(2, 4, 6)), s.width(16, 2048)
    )
    return _conv(s, shape, channels(s, out), 1, s.pick(1, 1, 1, 1, 2), 1, 0)


def depthwise(s: Sizes) -> OnnxPrimitive:
    """Each channel by itself."""
    shape, kernel = image(s), s.pick(3, 3, 3, 5, 7)
    return _conv(s, shape, shape[1], kernel, s.pick(1, 1, 1, 2), shape[1], kernel // 2)


def grouped(s: Sizes) -> OnnxPrimitive:
    """Within groups of channels."""
    b, _, height, width = image(s)
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
