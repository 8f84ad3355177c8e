"""What is drawn of each operator, and how often: the layers of transformers and convolutional networks, op by op.

Arguments are those that PyTorch's modules pass, as a recorded graph has them.
"""

from __future__ import annotations

from typing import Any

from energy_opt.calibrate.draw import Maker, Shape, Sizes, call
from energy_opt.calibrate.primitives import Primitive

Entry = tuple[float, str, Maker]


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


# -- norms -------------------------------------------------------------------------------------------------------------


def layer_norm(s: Sizes) -> Primitive:
    """Over the last axis."""
    shape = s.hidden()
    d = shape[-1]
    return call(
        "layer_norm", [s.x(*shape), s.w(d), s.w(d)], s.x(*shape), normalized_shape=(d,), eps=1e-5
    )


def rms_norm(s: Sizes) -> Primitive:
    """Over the last axis, by PyTorch's own operator."""
    shape = s.hidden()
    return call(
        "rms_norm", [s.x(*shape), s.w(shape[-1])], s.x(*shape), normalized_shape=(shape[-1],)
    )


def batch_norm(s: Sizes) -> Primitive:
    """With statistics that were learned."""
    shape = s.image()
    weights = [s.w(shape[1]) for _ in range(4)]
    return call(
        "batch_norm", [s.x(*shape), *weights], s.x(*shape), training=0, momentum=0.1, eps=1e-5
    )


def group_norm(s: Sizes) -> Primitive:
    """Over groups of channels."""
    b, _, height, width = s.image()
    groups = s.pick(1, 8, 16, 32)
    shape = (b, groups * s.pick(2, 4, 8, 16), height, width)
    return call(
        "group_norm",
        [s.x(*shape), s.w(shape[1]), s.w(shape[1])],
        s.x(*shape),
        num_groups=groups,
        eps=1e-5,
    )


def softmax(s: Sizes) -> Primitive:
    """Over the last axis."""
    shape = s.scores()
    return call("softmax", [s.x(*shape)], s.x(*shape), overload="int", dim=-1)


# -- elementwise -------------------------------------------------------------------------------------------------------


def unary(name: str, **attributes: Any) -> Maker:
    """An operator on one operand of any shape."""

    def make(s: Sizes) -> Primitive:
        shape = s.activation()
        return call(name, [s.x(*shape)], s.x(*shape), **attributes)

    return make


def unary_in_place(name: str, **attributes: object) -> Maker:
    """The same written over its operand."""
    return unary(name, in_place=1, **attributes)


def binary(name: str, **attributes: object) -> Maker:
    """An operator on two operands of equal shape, or one of which is broadcast."""

    def make(s: Sizes) -> Primitive:
        shape, how = s.activation(), s.random.random()
        other = s.x(*shape)
        if how > 0.6:
            other = s.x(*shape[:-1], 1) if how > 0.8 else s.w(shape[-1])
        return call(name, [s.x(*shape), other], s.x(*shape), overload="Tensor", **attributes)

    return make


def per_channel(s: Sizes) -> Primitive:
    """A factor per channel of an image."""
    shape = s.image()
    return call("mul", [s.x(*shape), s.x(*shape[:2], 1, 1)], s.x(*shape), overload="Tensor")


def rotated(s: Sizes) -> Primitive:
    """Queries by a table of positions, as rotary embeddings have it."""
    b, h, length, d = s.heads()
    over = (h * length * d, d, h * d, 1)
    return call(
        "mul",
        [s.x(b, h, length, d, strides=over), s.x(1, 1, length, d)],
        s.x(b, h, length, d, strides=over),
        overload="Tensor",
    )


def half_negated(s: Sizes) -> Primitive:
    """Half of each head, negated."""
    b, h, length, d = s.heads()
    half = s.x(b, h, length, d // 2, strides=(h * length * d, d, h * d, 1))
    return call("neg", [half], s.x(b, h, length, d // 2))


def scalar(name: str, value: float) -> Maker:
    """An operator on an activation and a number."""

    def make(s: Sizes) -> Primitive:
        shape = s.activation()
        more: dict[str, Any] = {"alpha": 1} if name in ("add", "sub") else {}
        return call(name, [s.x(*shape)], s.x(*shape), overload="Tensor", other=value, **more)

    return make


def added_in_place(s: Sizes) -> Primitive:
    """A skip connection written over its branch."""
    shape = s.activation()
    return call(
        "add_", [s.x(*shape), s.x(*shape)], s.x(*shape), overload="Tensor", alpha=1, in_place=1
    )


def power(s: Sizes) -> Primitive:
    """Squares, or cubes as some activations have them."""
    shape = s.hidden()
    exponent = s.pick(2, 2, 3)
    return call("pow", [s.x(*shape)], s.x(*shape), overload="Tensor_Scalar", exponent=exponent)


def rsqrt(s: Sizes) -> Primitive:
    """Of one number per row."""
    shape = (*s.tokens(), 1)
    return call("rsqrt", [s.x(*shape)], s.x(*shape))


def masked(s: Sizes) -> Primitive:
    """Scores where a mask is false become a constant."""
    shape = s.scores()
    mask = s.flags(shape[0], 1, *shape[2:])
    return call("masked_fill", [s.x(*shape), mask], s.x(*shape), overload="Scalar", value=-1e9)


def chosen(s: Sizes) -> Primitive:
    """One of two operands, element by element."""
    shape = s.activation()
    return call("where", [s.flags(*shape), s.x(*shape), s.x(*shape)], s.x(*shape), overload="self")


def counted(name: str) -> Maker:
    """Arithmetic on positions."""

    def make(s: Sizes) -> Primitive:
        shape = s.tokens()
        return call(
            name, [s.ints(*shape), s.ints(*shape)], s.ints(*shape), overload="Tensor", alpha=1
        )

    return make


def compared(name: str) -> Maker:
    """A comparison of positions, each with each."""

    def make(s: Sizes) -> Primitive:
        b, length = s.tokens()
        inputs = [s.ints(b, 1, length, 1), s.ints(b, 1, 1, length)]
        return call(name, inputs, s.flags(b, 1, length, length), overload="Tensor")

    return make


def both(s: Sizes) -> Primitive:
    """Two masks joined."""
    b, length = s.tokens()
    mask = s.flags(b, 1, length, length)
    return call("__and__", [mask, mask], mask, overload="Tensor")


# -- reductions, pooling, movement -------------------------------------------------------------------------------------


def reduced(name: str, overload: str) -> Maker:
    """The last axis of a text's activations reduced to one number."""

    def make(s: Sizes) -> Primitive:
        shape = s.hidden()
        return call(
            name, [s.x(*shape)], s.x(*shape[:-1], 1), overload=overload, dim=(-1,), keepdim=1
        )

    return make


def mean_positions(s: Sizes) -> Primitive:
    """The positions of an image averaged."""
    shape = s.image()
    return call("mean", [s.x(*shape)], s.x(*shape[:2]), overload="dim", dim=(-2, -1), keepdim=0)


def pooled(name: str, kernel: int, stride: int) -> Maker:
    """Windows of an image."""

    def make(s: Sizes) -> Primitive:
        b, c, height, width = s.image()
        pad = (kernel - 1) // 2
        y = [(max(side, kernel) + 2 * pad - kernel) // stride + 1 for side in (height, width)]
        more: dict[str, Any] = {"dilation": (1, 1)} if name == "max_pool2d" else {}
        return call(
            name,
            [s.x(b, c, max(height, kernel), max(width, kernel))],
            s.x(b, c, *y),
            kernel_size=(kernel, kernel),
            stride=(stride, stride),
            padding=(pad, pad),
            ceil_mode=0,
            **more,
        )

    return make


def pooled_whole(s: Sizes) -> Primitive:
    """An image's positions averaged, as classifiers and gates do."""
    shape = s.image()
    return call("adaptive_avg_pool2d", [s.x(*shape)], s.x(*shape[:2], 1, 1), output_size=(1, 1))


def embedding(s: Sizes) -> Primitive:
    """Rows of a table."""
    rows, d = s.between(2, 50000), s.width(32, 4096)
    shape = s.tokens()
    return call(
        "embedding",
        [s.w(rows, d), s.ints(*shape, high=rows)],
        s.x(*shape, d),
        padding_idx=-1,
        scale_grad_by_freq=0,
        sparse=0,
    )


def selected(s: Sizes) -> Primitive:
    """Rows of activations by index."""
    rows, d, count = s.between(16, 4096), s.width(32, 1024), s.between(4, 4096)
    return call(
        "index",
        [s.x(rows, d), s.ints(count, high=rows)],
        s.x(count, d),
        overload="Tensor",
        indices=1,
    )


def gathered(s: Sizes) -> Primitive:
    """Elements along the last axis by index."""
    rows, d, count = s.between(4, 2048), s.width(32, 1024), s.between(1, 512)
    return call(
        "gather",
        [s.x(rows, d), s.ints(rows, count, high=d)],
        s.x(rows, count),
        dim=-1,
        sparse_grad=0,
    )


def joined(s: Sizes) -> Primitive:
    """Two halves joined along the last axis, or a token put before others."""
    b, h, length, d = s.heads()
    if s.chance(0.6):
        half = s.x(b, h, length, d // 2)
        rest = s.x(b, h, length, d // 2, strides=(h * length * d, d, h * d, 1))
        return call("cat", [half, rest], s.x(b, h, length, d), tensors=2, dim=-1)
    b, length, d = s.hidden()
    return call("cat", [s.x(b, 1, d), s.x(b, length, d)], s.x(b, length + 1, d), tensors=2, dim=1)


def heads_together(s: Sizes) -> Primitive:
    """Heads put beside each other again: a transposed tensor made contiguous."""
    b, h, length, d = s.heads()
    x = s.x(b, length, h, d, strides=(h * length * d, d, length * d, 1))
    return call("contiguous", [x], s.x(b, length, h, d), memory_format=0)


def channels_last(s: Sizes) -> Primitive:
    """An image's axes permuted and the result made contiguous."""
    b, c, height, width = s.image()
    x = s.x(b, height, width, c, strides=(c * height * width, width, 1, height * width))
    return call("contiguous", [x], s.x(b, height, width, c), memory_format=0)


def repeated(s: Sizes) -> Primitive:
    """Keys repeated for the queries that share them."""
    b, h, length, d = s.heads()
    times = s.pick(2, 4)
    x = s.x(b, h, times, length, d, strides=(h * length * d, length * d, 0, d, 1))
    return call("reshape", [x], s.x(b, h * times, length, d), shape=(b, h * times, length, d))


def cloned(s: Sizes) -> Primitive:
    """A copy of contiguous memory."""
    shape = s.activation()
    return call("clone", [s.x(*shape)], s.x(*shape))


def padded(s: Sizes) -> Primitive:
    """A rim of zeros around an image."""
    b, c, height, width = s.image()
    before, after = s.pick(0, 1, 1, 3), s.pick(0, 1, 1, 3)
    y = (b, c, height + before + after, width + before + after)
    pad = (before, after, before, after)
    return call("pad", [s.x(b, c, height, width)], s.x(*y), pad=pad, mode="constant", value=0.0)


def rolled(s: Sizes) -> Primitive:
    """An image shifted around its edges."""
    b, side, d = s.between(1, s.means.batch), s.pick(7, 14, 28, 56), s.width(32, 512)
    shape = (b, side, side, d)
    return call("roll", [s.x(*shape)], s.x(*shape), shifts=(-3, -3), dims=(1, 2))


def filled(s: Sizes) -> Primitive:
    """Constants."""
    shape = s.tokens()
    return call("zeros", [], s.x(*shape), size=shape, dtype=s.dtype)


def counted_off(s: Sizes) -> Primitive:
    """0, 1, 2, ..."""
    length = s.between(1, 2048)
    return call("arange", [], s.ints(length), end=length)


MENU: tuple[Entry, ...] = (
    (24, "matmul", linear), (4, "matmul", linear_few), (2, "matmul", linear_vocabulary), (8, "matmul", addmm),
    (4, "matmul", scores), (4, "matmul", mixed), (4, "matmul", bmm),
    (8, "attention", prefill), (4, "attention", decode),
    (12, "conv", conv), (12, "conv", pointwise), (8, "conv", depthwise), (5, "conv", grouped), (5, "conv", stem),
    (4, "conv", conv1d),
    (5, "norm", layer_norm), (2, "norm", rms_norm), (5, "norm", batch_norm), (2, "norm", group_norm),
    (4, "softmax", softmax),
    (3, "elementwise", unary("gelu", approximate="none")), (3, "elementwise", unary("gelu", approximate="tanh")),
    (3, "elementwise", unary("relu")), (2, "elementwise", unary_in_place("relu_")),
    (3, "elementwise", unary("silu")), (2, "elementwise", unary_in_place("silu_")),
    (3, "elementwise", unary("tanh")), (3, "elementwise", unary("sigmoid")), (3, "elementwise", unary("exp")),
    (2, "elementwise", unary("hardtanh", min_val=0.0, max_val=6.0)), (2, "elementwise", unary("hardswish")),
    (2, "elementwise", unary("cos")), (2, "elementwise", unary("sin")), (2, "elementwise", half_negated),
    (5, "elementwise", binary("add", alpha=1)), (2, "elementwise", added_in_place),
    (4, "elementwise", binary("mul")), (2, "elementwise", per_channel), (2, "elementwise", rotated),
    (2, "elementwise", binary("sub", alpha=1)), (2, "elementwise", binary("div")),
    (2, "elementwise", scalar("mul", 0.5)), (2, "elementwise", scalar("add", 1.0)), (3, "elementwise", power),
    (2, "elementwise", rsqrt), (2, "elementwise", masked), (2, "elementwise", chosen),
    (2, "elementwise", counted("add")), (2, "elementwise", compared("le")), (2, "elementwise", compared("eq")),
    (2, "elementwise", both), (2, "elementwise", counted_off),
    (3, "reduction", reduced("mean", "dim")), (2, "reduction", reduced("sum", "dim_IntList")),
    (2, "reduction", reduced("amax", "")), (2, "reduction", mean_positions),
    (2, "pool", pooled("max_pool2d", 3, 2)), (2, "pool", pooled("avg_pool2d", 2, 2)), (2, "pool", pooled_whole),
    (4, "gather", embedding), (2, "gather", selected), (2, "gather", gathered),
    (3, "copy", joined), (3, "copy", heads_together), (2, "copy", channels_last), (2, "copy", repeated),
    (2, "copy", cloned), (2, "copy", padded), (2, "copy", rolled), (2, "copy", filled),
)  # fmt: skip
"""How many of each in a draw of about 240: the share, the kind that the rules give it, and what makes it."""
