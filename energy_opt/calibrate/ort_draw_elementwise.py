"""What is drawn of ONNX's norms and elementwise nodes."""

from __future__ import annotations

from typing import Any

from energy_opt.calibrate.draw import Sizes
from energy_opt.calibrate.ort_primitives import Maker, Node, OnnxPrimitive, chain, one
from energy_opt.calibrate.primitives import TensorSpec


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
