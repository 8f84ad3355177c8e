"""Matrix products on a GPU: output tiles in waves over the multiprocessors, k split or not, beside the traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from energy_opt.estimators.forms.form import At, Chip, Parameter, Parts
from energy_opt.estimators.forms.roofline import p_norm
from energy_opt.estimators.work import RowWork
from energy_opt.ir.dims import Value

Menu = tuple[tuple[int, int], ...]

MENU: Menu = (
    (16, 64), (32, 32), (32, 64), (64, 32), (64, 64), (32, 128), (128, 32), (64, 128), (128, 64), (128, 128),
    (128, 256), (256, 128),
)  # fmt: skip
"""Output tiles (m, n) that a library chooses from.

Source: names of cuBLAS and CUTLASS kernels; NVIDIA, "Matrix Multiplication Background User's Guide", section 3.
"""

SPLITS = (1, 2, 4, 12)

START = Parameter("start_s", "s", 3e-6, 0.0, 1.0, "one execution, however small")
COMPUTE = Parameter("compute", "1", 0.8, 1e-2, 1.0, "attained share of the matrix peak")
MEMORY = Parameter("memory", "1", 0.7, 1e-2, 1.0, "attained share of the bandwidth")
NORM = Parameter("norm", "1", 4.0, 1.0, 8.0, "how far arithmetic and traffic overlap")
WEIGHT = Parameter("weight", "1", 0.5, 0.0, 1.0, "how much of a full wave the last one costs")
EDGE = Parameter("edge", "1", 4.0, 0.0, 200.0, "what a small tile costs, as a length in m and n")
DEPTH = Parameter("depth", "1", 30.0, 0.0, 2000.0, "what beginning a tile costs, as a length in k")
SERIAL = Parameter(
    "serial_s", "s", 2e-9, 0.0, 1e-6, "one step in k of one tile, however idle the rest"
)
SUSTAINED = Parameter(
    "sustained", "1", 0.8, 0.1, 1.0, "share of the rate that the power cap leaves once it acts"
)
LAG = Parameter(
    "lag_s", "s", 1e-3, 1e-6, 1.0, "length of a product measured alone from which the cap acts"
)

_CORE = (START, COMPUTE, MEMORY, NORM, WEIGHT, EDGE, DEPTH, SERIAL)
CAP = (SUSTAINED, LAG)
_WIDE = (
    Parameter(
        "partial",
        "1",
        20.0,
        0.1,
        1000.0,
        "times that a split product's partial sums cross the memory",
    ),
    Parameter(
        "far", "1", 0.3, 0.0, 5.0, "how much slower where operands in flight exceed the reach"
    ),
    Parameter(
        "reach",
        "bytes",
        3e8,
        1e6,
        1e11,
        "operands that caches and address translation keep at hand",
    ),
    Parameter(
        "resident",
        "1",
        0.1,
        0.0,
        2.0,
        "operands found in L2 when measured over and over, of its size",
    ),
    Parameter("l2", "1", 2.0, 1.0, 10.0, "bandwidth of L2 in units of the memory's"),
)
_SCALING = (
    Parameter("row_s", "s", 5e-9, 0.0, 1e-6, "scaling one row of activations to the narrow type"),
    Parameter(
        "scaling", "1", 0.5, 1e-2, 1.0, "attained share of the bandwidth while they are scaled"
    ),
)

ALONE = frozenset({"lag_s", "resident"})
"""Parameters that hold for products measured alone, over and over. Inside a model the cap acts all the time and weights
come from memory: both are at their least there."""


@dataclass(frozen=True)
class Rate:
    """How fast tiles are done: the chip, the share of its peak, and what tiles cost beyond their FLOPs."""

    units: int
    flops_per_s: Value
    weight: Value
    edge: Value
    depth: Value
    serial_s: Value = 0.0
    partial_s: Value = 0.0

    def quickest(
        self, b: Value, m: Value, n: Value, k: Value, menu: Menu, splits: tuple[int, ...] = (1,)
    ) -> Value:
        """Seconds of `b` products [m, k] by [k, n] in the best tile: waves over the units, time per wave linear in k.

        With k split over several units the partial sums are added up at `partial_s` per element.

        Source: NVIDIA, "Matrix Multiplication Background User's Guide", section 5 (tile and wave quantisation).
        """
        # All tiles and splits at once, along a first axis.
        known = (
            self.flops_per_s,
            self.weight,
            self.edge,
            self.depth,
            self.serial_s,
            self.partial_s,
        )
        axes = max(np.ndim(value) for value in (b, m, n, k, *known))
        choices = np.array([(*tile, split) for split in splits for tile in menu], dtype=np.float64)
        tile_m, tile_n, split = choices.T.reshape(3, -1, *(1,) * axes)
        waves = np.ceil(m / tile_m) * np.ceil(n / tile_n) * (b * split / self.units)
        whole = np.ceil(waves)
        # 2 FLOPs per multiply-add; a wave keeps every unit busy with one tile.
        flops = 2.0 * self.units * (tile_m * tile_n + self.edge * (tile_m + tile_n))
        steps = k / split
        busy = (
            (waves + self.weight * (whole - waves))
            * (steps + self.depth)
            * (flops / self.flops_per_s)
        )
        if np.any(self.serial_s):
            busy = np.maximum(busy, whole * steps * self.serial_s)
        if len(splits) > 1:
            busy = busy + np.where(split > 1, split, 0.0) * (b * m * n * self.partial_s)
        best: Value = np.min(busy, axis=0)
        return best


class Tiles:
    """`t = start_s + p_norm(t_tiles, t_memory)`: the quickest tile and split, or one tile where a library has but one.

    Where `capped`, the arithmetic slows down to `sustained` of its rate in products longer than `lag_s`: a power cap
    acts with a delay. `scaled` adds a pass that scales activations to a narrow type before the product.
    """

    needs: ClassVar[frozenset[str]] = frozenset("mnk")

    def __init__(
        self,
        name: str,
        menu: Menu = MENU,
        *,
        wide: bool = True,
        scaled: bool = False,
        capped: bool = False,
    ) -> None:
        """`wide` has what large and deep products need besides: splits of k, the reach of caches, operands in L2."""
        chosen = ((_WIDE, wide), (_SCALING, scaled), (CAP, capped))
        self.name = name
        self.parameters = _CORE + tuple(p for some, wanted in chosen if wanted for p in some)
        self._menu, self._wide, self._scaled, self._capped = menu, wide, scaled, capped

    def parts(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """Seconds of one execution of the work; without the problem sizes m, n and k no tile is told from another."""
        start: Value = at["start_s"]
        rate, sizes = rate_of(chip, at), work.sizes
        # Sizes that cover less than the row's work (a fused row) must not hide the rest.
        compute = work.matmul_flops / rate.flops_per_s
        if self.needs <= sizes.keys():
            b, m, n, k = sizes.get("b", 1.0), sizes["m"], sizes["n"], sizes["k"]
            tiled = rate.quickest(b, m, n, k, self._menu, SPLITS if self._wide else (1,))
            compute = np.maximum(compute, tiled * _far(work, chip, at) if self._wide else tiled)
            if self._scaled:
                # The activations are read in two bytes each and written in one.
                moved_s = 3.0 * b * m * k / (chip.bandwidth * at["scaling"])
                start = start + m * at["row_s"] + moved_s
        compute = compute + work.other_flops / chip.vector
        if self._capped:
            compute = throttled(compute, at)
        memory = work.bytes / (chip.bandwidth * at["memory"])
        if self._wide:
            memory = _cached(memory, work, chip, at)
        return Parts(start + p_norm(compute, memory, at["norm"]), compute, memory, start)


def rate_of(chip: Chip, at: At, share: str = "compute", edge: str = "edge") -> Rate:
    """The rate at which a chip does tiles, from parameters of those names."""
    # Partial sums are float32.
    partial_s = at.get("partial", 0.0) * (4.0 / chip.bandwidth)
    return Rate(
        chip.units, chip.peak * at[share], at["weight"], at[edge], at["depth"], at.get("serial_s", 0.0), partial_s
    )  # fmt: skip


def throttled(compute: Value, at: At) -> Value:
    """Seconds of arithmetic once the power cap has acted on the part of it that comes after the lag."""
    acting = compute / np.maximum(compute + at["lag_s"], 1e-30)
    return compute * (1.0 + (1.0 / at["sustained"] - 1.0) * acting)


def _far(work: RowWork, chip: Chip, at: At) -> Value:
    """How much slower a product is whose rows and columns in flight, each k long, exceed the reach."""
    m, n, k = work.sizes["m"], work.sizes["n"], work.sizes["k"]
    rows = np.minimum(m, chip.units * 128.0)
    columns = np.minimum(n, chip.units * 128.0 * 128.0 / np.maximum(rows, 1.0))
    # Bytes of an element from the row's own traffic: the form is told no type.
    elements = work.sizes.get("b", 1.0) * (m * k + n * k + m * n)
    size = work.bytes / np.maximum(elements, 1.0)
    over = ((rows + columns) * k * size / at["reach"]) ** 2
    return 1.0 + at["far"] * over / (1.0 + over)


def _cached(memory: Value, work: RowWork, chip: Chip, at: At) -> Value:
    """Seconds of the traffic where operands that fit come from L2."""
    fits = (at["resident"] * chip.l2_bytes / np.maximum(work.bytes, 1.0)) ** 4
    warm = work.bytes / (chip.bandwidth * at["l2"])
    return (memory + warm * fits) / (1.0 + fits)
