"""Draws of products, attention and convolutions: layers as transformers and convolutional networks have them."""

from __future__ import annotations

from energy_opt.calibrate.draw import Shape, Sizes, call
from energy_opt.calibrate.primitives import Primitive

# -- products ----------------------------------------------------------------------------------------------------------


def _features(s: Sizes) -> tuple[int, int]:
    """Features out of and into a layer: square, widening or narrowing, as transformers have them."""
    width = s.width(64, 4096) if s.chance(0.4) else s.width(256, 2048)
    times = s.pick(1, 1, 1, 2, 3, 4, 4)
    if times == 1:
        return (width, width) if s.chance(0.6) else (s.width(64, 4096), width)
    wide = times * width
    return (wide, width) if s.chance(0.5) else (width, wide)


def linear(s: Sizes) -> Primitive:
    """A layer on a text's activations."""
    n, k = _features(s)
    rows = s.tokens() if s.chance(0.8) else (s.between(1, s.means.batch * 8),)
    bias = [s.w(n)] if s.chance(0.7) else []
    return call("linear", [s.x(*rows, k), s.w(n, k), *bias], s.x(*rows, n))


def linear_few(s: Sizes) -> Primitive:
    """A layer on few rows: decoding a token per sequence, a pooler, a classifier."""
    n, k = _features(s)
    rows = s.between(1, s.means.batch)
    bias = [s.w(n)] if s.chance(0.5) else []
    return call("linear", [s.x(rows, k), s.w(n, k), *bias], s.x(rows, n))


def linear_vocabulary(s: Sizes) -> Primitive:
    """The head of a language model."""
    k, n = s.width(64, 2048), s.between(2000, 64000)
    rows = s.tokens()
    return call("linear", [s.x(*rows, k), s.w(n, k)], s.x(*rows, n))


def addmm(s: Sizes) -> Primitive:
    """A layer whose weight is stored as [in, out]."""
    n, k = _features(s)
    m = s.between(1, s.means.batch * 512)
    return call("addmm", [s.w(n), s.x(m, k), s.w(k, n)], s.x(m, n), beta=1, alpha=1)


def scores(s: Sizes) -> Primitive:
    """Queries by transposed keys, heads in the batch."""
    b, h, length, d = s.heads()
    over = (h * length * d, d, h * d, 1)
    keys = (h * length * d, d, 1, h * d)
    return call(
        "matmul",
        [s.x(b, h, length, d, strides=over), s.x(b, h, d, length, strides=keys)],
        s.x(b, h, length, length),
    )


def mixed(s: Sizes) -> Primitive:
    """Scores by values, heads in the batch."""
    b, h, length, d = s.heads()
    values = (h * length * d, d, h * d, 1)
    return call(
        "matmul",
        [s.x(b, h, length, length), s.x(b, h, length, d, strides=values)],
        s.x(b, h, length, d),
    )


def bmm(s: Sizes) -> Primitive:
    """A batch of products."""
    b, m, n, k = s.between(1, 64), s.between(8, 512), s.between(8, 512), s.width(16, 512)
    return call("bmm", [s.x(b, m, k), s.x(b, k, n)], s.x(b, m, n))


# -- attention ---------------------------------------------------------------------------------------------------------


def _attention(s: Sizes, q: int, kv: int, batch: int, *, causal: bool, masked: bool) -> Primitive:
    heads, d = s.pick(2, 4, 6, 8, 12, 16, 32), s.pick(32, 64, 64, 128)
    shared = heads // s.pick(2, 4) if s.chance(0.2) and heads % 4 == 0 else heads

    def laid_out(h: int, length: int) -> Shape:
        return (length * h * d, d, h * d, 1)  # split from [b, length, h * d]

    inputs = [
        s.x(batch, heads, q, d, strides=laid_out(heads, q)),
        s.x(batch, shared, kv, d, strides=laid_out(shared, kv)),
        s.x(batch, shared, kv, d, strides=laid_out(shared, kv)),
    ]
    if masked:
        inputs.append(s.flags(batch, 1, q, kv))
    return call(
        "scaled_dot_product_attention",
        inputs,
        s.x(batch, heads, q, d, strides=laid_out(heads, q)),
        dropout_p=0.0,
        is_causal=int(causal),
        scale=d**-0.5,
        enable_gqa=int(shared != heads),
    )


def prefill(s: Sizes) -> Primitive:
    """All positions of a text or an image meet each other."""
    length = s.between(8, 1500)
    how = s.random.random()
    return _attention(
        s, length, length, s.between(1, s.means.batch), causal=how < 0.25, masked=how > 0.4
    )


def decode(s: Sizes) -> Primitive:
    """One position per sequence meets a cache."""
    return _attention(
        s, 1, s.between(16, 4096), s.between(1, s.means.batch), causal=False, masked=s.chance(0.5)
    )


# -- convolutions ------------------------------------------------------------------------------------------------------


def _conv2d(
    s: Sizes, shape: Shape, out: int, kernel: int, stride: int, groups: int, padding: int
) -> Primitive:
    b, c, height, width = shape
    y = [(side + 2 * padding - kernel) // stride + 1 for side in (height, width)]
    bias = [s.w(out)] if s.chance(0.3) else [None]
    return call(
        "conv2d",
        [s.x(*shape), s.w(out, c // groups, kernel, kernel), *bias],
        s.x(b, out, *y),
        stride=(stride, stride),
        padding=(padding, padding),
        dilation=(1, 1),
        groups=groups,
    )


def conv(s: Sizes) -> Primitive:
    """A convolution over few or many channels."""
    shape = s.image()
    kernel = s.pick(3, 3, 3, 5)
    out = shape[1] if s.chance(0.6) else s.channels(16, 1024)
    return _conv2d(s, shape, out, kernel, s.pick(1, 1, 1, 2), 1, kernel // 2)


def pointwise(s: Sizes) -> Primitive:
    """A 1x1 convolution: widening, narrowing, or between stages."""
    shape = s.image()
    out = s.pick(
        shape[1] * s.pick(1, 2, 4, 6), max(8, shape[1] // s.pick(2, 4, 6)), s.channels(16, 2048)
    )
    return _conv2d(s, shape, out, 1, s.pick(1, 1, 1, 1, 2), 1, 0)


def depthwise(s: Sizes) -> Primitive:
    """A convolution of each channel by itself."""
    shape = s.image()
    kernel = s.pick(3, 3, 3, 5, 7)
    return _conv2d(s, shape, shape[1], kernel, s.pick(1, 1, 1, 2), shape[1], kernel // 2)


def grouped(s: Sizes) -> Primitive:
    """A convolution within groups of channels."""
    b, _, height, width = s.image()
    groups = s.pick(2, 4, 8, 16, 32)
    channels = groups * s.pick(4, 8, 16, 32)
    return _conv2d(s, (b, channels, height, width), channels, 3, s.pick(1, 1, 2), groups, 1)


def stem(s: Sizes) -> Primitive:
    """The first convolution of an image network, or patches of a transformer."""
    side = s.pick(128, 160, 192, 224, 224, 224, 256, 384)
    shape = (s.between(1, s.means.batch), 3, side, side)
    if s.chance(0.5):
        patch = s.pick(4, 8, 14, 16, 16, 32)
        return _conv2d(s, shape, s.width(48, 1280), patch, patch, 1, 0)
    kernel = s.pick(3, 3, 7)
    return _conv2d(s, shape, s.pick(16, 24, 32, 64), kernel, 2, 1, kernel // 2)


def conv1d(s: Sizes) -> Primitive:
    """A convolution over a sound or a sequence."""
    b, length = s.between(1, s.means.batch), s.between(50, 3000)
    c, kernel, stride = s.pick(80, s.width(64, 768)), s.pick(3, 3, 5), s.pick(1, 2)
    out = s.width(64, 768)
    y = (length + 2 * (kernel // 2) - kernel) // stride + 1
    return call(
        "conv1d",
        [s.x(b, c, length), s.w(out, c, kernel), s.w(out)],
        s.x(b, out, y),
        stride=(stride,),
        padding=(kernel // 2,),
        dilation=(1,),
        groups=1,
    )
