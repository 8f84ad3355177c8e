"""What is drawn of ONNX's reductions, pools, lookups and copies."""

from __future__ import annotations

from typing import Any

from energy_opt.calibrate.draw import Sizes
from energy_opt.calibrate.ort_draw_products import image
from energy_opt.calibrate.ort_primitives import Maker, OnnxPrimitive, one
from energy_opt.calibrate.primitives import TensorSpec


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
    b, c, height, width = image(s)
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
