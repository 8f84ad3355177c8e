"""Primitives at random: operators at sizes drawn log-uniformly over what models use, within a machine's means."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from energy_opt.calibrate.primitives import Primitive, TensorSpec
from energy_opt.errors import CalibrationError
from energy_opt.ir.row import Row

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Means:
    """What one primitive may take: FLOPs of products, bytes of operands and results, and how large a batch may be."""

    flops: float = 16e9
    nbytes: float = 64e6
    batch: int = 8


CPU = Means()
"""Some tens of milliseconds on a few cores."""
GPU = Means(4e12, 2e9, 64)
"""Some ten milliseconds on a large accelerator."""


class Sizes:
    """Sizes of layers drawn at random; a quarter of them are not multiples of 64."""

    def __init__(self, seed: int, dtype: str, means: Means) -> None:
        self.random = np.random.default_rng(seed)
        self.dtype, self.means = dtype, means

    def between(self, low: float, high: float) -> int:
        """A whole number, log-uniform from `low` to `high`."""
        return round(math.exp(self.random.uniform(math.log(low), math.log(high))))

    def width(self, low: int = 64, high: int = 8192) -> int:
        """The width of a layer."""
        size = self.between(low, high)
        if self.random.random() < 0.25 or size < 64:
            return size
        return max(64, 64 * round(size / 64))

    def channels(self, low: int = 8, high: int = 2048) -> int:
        """Channels of an image: mostly multiples of 16, which libraries block by, else of 8, and a tenth of neither."""
        size, how = self.between(low, high), self.random.random()
        block = 16 if how < 0.75 and size >= 12 else 8 if how < 0.9 else 1
        return max(block, block * round(size / block))

    def pick(self, *of: int) -> int:
        """One of these numbers."""
        return of[int(self.random.integers(len(of)))]

    def chance(self, share: float) -> bool:
        """True in that share of all draws."""
        return bool(self.random.random() < share)

    def tokens(self) -> Shape:
        """Batch and length of a text."""
        return self.between(1, self.means.batch), self.between(4, 1024)

    def hidden(self, high: int = 4096) -> Shape:
        """Batch, length and width of a text's activations, or rows and width, within the means."""
        while True:
            shape = (*self.tokens(), self.width(32, high))
            if math.prod(shape) * 4 * 3 <= self.means.nbytes:
                return shape

    def image(self, least: int = 3) -> Shape:
        """Batch, channels, height and width of an image's activations: the smaller, the more channels."""
        while True:
            side = self.pick(7, 14, 28, 56, 112, 7, 14, 28, 56, self.between(5, 160))
            channels = max(least, self.channels(8, max(24, min(2048, 24000 // side))))
            shape = (self.between(1, self.means.batch), channels, side, side)
            if math.prod(shape) * 4 * 3 <= self.means.nbytes:
                return shape

    def scores(self) -> Shape:
        """Batch, heads, queries and keys."""
        while True:
            length = self.between(8, 1024)
            shape = (
                self.between(1, self.means.batch),
                self.pick(2, 4, 6, 8, 12, 16),
                length,
                length,
            )
            if math.prod(shape) * 4 * 3 <= self.means.nbytes:
                return shape

    def activation(self) -> Shape:
        """Activations of a text, an image or of attention's heads."""
        kind = self.random.random()
        if kind < 0.5:
            return self.hidden()
        return self.image() if kind < 0.8 else self.heads()

    def heads(self) -> Shape:
        """Batch, heads, length and width of a head."""
        while True:
            batch, length = self.tokens()
            shape = (batch, self.pick(2, 4, 6, 8, 12, 16), length, self.pick(32, 64, 64, 128))
            if math.prod(shape) * 4 * 3 <= self.means.nbytes:
                return shape

    # -- operands ----------------------------------------------------------------------------------------------------

    def x(self, *shape: int, strides: Shape | None = None) -> TensorSpec:
        """An activation."""
        return TensorSpec(tuple(shape), self.dtype, strides=strides)

    def w(self, *shape: int, strides: Shape | None = None) -> TensorSpec:
        """A weight."""
        return TensorSpec(tuple(shape), self.dtype, "weight", strides=strides)

    def ints(self, *shape: int, high: int = 2) -> TensorSpec:
        """Whole numbers below `high`."""
        return TensorSpec(tuple(shape), "int64", "index", high)

    def flags(self, *shape: int) -> TensorSpec:
        """A mask that is true everywhere."""
        return TensorSpec(tuple(shape), "bool", "mask")


Maker = Callable[[Sizes], Primitive]


def call(
    name: str,
    inputs: Sequence[TensorSpec | None],
    *outputs: TensorSpec,
    overload: str = "",
    **attributes: Any,
) -> Primitive:
    """A primitive of PyTorch's operator `aten::name`."""
    return Primitive(f"aten::{name}", overload, tuple(attributes.items()), tuple(inputs), outputs)


def draw(
    count: int,
    *,
    dtype: str = "float32",
    means: Means = CPU,
    seed: int = 0,
    kinds: Sequence[str] | None = None,
) -> list[Primitive]:
    """About `count` distinct primitives in that type, of every operator in proportion to its share of what models do.

    `kinds` keeps only these kinds of work. What exceeds the means is drawn again.
    """
    from energy_opt.calibrate.draw_ops import MENU

    return drawn(MENU, Sizes(seed, dtype, means), count, kinds)


class Priced(Protocol):
    """What a draw is held to the means by, and told apart by."""

    @property
    def row(self) -> Row:
        """Its work."""

    @property
    def nbytes(self) -> int:
        """Bytes of operands and results."""

    @property
    def key(self) -> str:
        """Its name."""


P = TypeVar("P", bound=Priced)


def drawn(
    menu: Sequence[tuple[float, str, Callable[[Sizes], P]]],
    sizes: Sizes,
    count: int,
    kinds: Sequence[str] | None,
) -> list[P]:
    """About `count` distinct draws from a menu of (share, kind, maker), each maker in proportion to its share."""
    entries = [(share, maker) for share, kind, maker in menu if kinds is None or kind in kinds]
    total = sum(share for share, _ in entries)
    found: dict[str, P] = {}
    for share, maker in entries:
        for _ in range(max(1, round(count * share / total))):
            primitive = _within(sizes, maker)
            if primitive is not None:
                found.setdefault(primitive.key, primitive)
    return list(found.values())


def _within(sizes: Sizes, maker: Callable[[Sizes], P]) -> P | None:
    """A draw that the means allow and that is one kernel, None where twenty were not."""
    for _ in range(20):
        primitive = maker(sizes)
        with contextlib.suppress(CalibrationError):  # a runtime's fusions decide what is one kernel
            if (
                primitive.row.matmul_flops <= sizes.means.flops
                and primitive.nbytes <= sizes.means.nbytes
            ):
                return primitive
    return None


def in_dtype(primitive: Primitive, dtype: str) -> Primitive:
    """The same primitive with its floating operands and results in another type."""

    def cast(spec: TensorSpec | None) -> TensorSpec | None:
        if spec is None or not spec.dtype.startswith(("float", "bfloat")):
            return spec
        return replace(spec, dtype=dtype)

    outputs = tuple(spec for spec in map(cast, primitive.outputs) if spec is not None)
    return replace(primitive, inputs=tuple(map(cast, primitive.inputs)), outputs=outputs)
