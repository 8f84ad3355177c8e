"""Draws of reductions, pooling, look-ups and copies."""

from __future__ import annotations

from typing import Any

from energy_opt.calibrate.draw import Maker, Sizes, call
from energy_opt.calibrate.primitives import Primitive

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
