"""Draws of norms, softmax, activations and other arithmetic that passes once over its operands."""

from __future__ import annotations

from typing import Any

from energy_opt.calibrate.draw import Maker, Sizes, call
from energy_opt.calibrate.primitives import Primitive

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
