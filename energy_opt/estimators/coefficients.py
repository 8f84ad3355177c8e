"""Coefficients of the time and energy equations, in physical units, and how unsure they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from energy_opt.estimators.data import Fraction, NonNegative, Positive, Record

ENGINE = 1.5
"""A type whose matrix peak is more than this many times the vector peak runs on a matrix engine (or packed)."""


class KindTime(Record):
    """How much of its peaks a kind of work attains, and what one kernel of it costs at least.

    `compute` is of the matrix peak where that is the vector units' own, `tensor` where it is a matrix engine's,
    `narrow` where it is an engine's for types of 8 bits and fewer; `vector` is of the vector
    peak, `memory` of the bandwidth. Fractions of at most 1 keep times above the bound.
    """

    compute: Fraction
    tensor: Fraction
    narrow: Fraction
    vector: Fraction
    memory: Fraction
    start_s: NonNegative


class Tiles(Record):
    """How a matrix product falls into tiles, on GPUs.

    `weight` pulls the number of waves towards its ceiling; `edge` is the cost of a small tile, as an extra length in m
    and n; `depth` the cost of starting a tile, as an extra length in k.
    """

    weight: Annotated[float, Field(ge=0, le=1)]
    edge: NonNegative
    depth: NonNegative


class TimeModel(Record):
    """`t = start_s * kernels + (t_compute^norm + t_memory^norm)^(1/norm)` per kind of work.

    The tiles are those of matrix kernels on the vector units and on the matrix engines.
    """

    norm: Literal[2, 4, 8]
    vector_tiles: Tiles
    engine_tiles: Tiles
    kinds: dict[str, KindTime]

    @field_validator("kinds")
    @classmethod
    def _has_other(cls, kinds: dict[str, KindTime]) -> dict[str, KindTime]:
        if "other" not in kinds:
            raise ValueError("other is missing: kinds that are not named fall back on it")
        return kinds

    def kind(self, name: str) -> KindTime:
        """The kind's own numbers, or those of `other`."""
        return self.kinds.get(name) or self.kinds["other"]


class EnergyModel(Record):
    """`E = base_w * t + factor * (flop_j * F + vector_flop_j * V + byte_j * bytes) + start_j * kernels`.

    F are matmul FLOPs in the row's type, V all others.
    `cap_w` is what the device may draw on average; `factor` is per kind, 1 where it is not named.
    """

    base_w: Positive
    cap_w: Positive
    flop_j: dict[str, NonNegative]
    vector_flop_j: NonNegative
    byte_j: NonNegative
    start_j: NonNegative = 0.0
    factors: dict[str, Positive] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _leaves_power(self) -> EnergyModel:
        if self.base_w >= self.cap_w:
            raise ValueError(f"base_w is {self.base_w}, not below cap_w, which is {self.cap_w}")
        if "float32" not in self.flop_j:
            raise ValueError("flop_j: float32 is missing: every other type falls back on it")
        return self


class Spread(Record):
    """How unsure the coefficients are: standard deviations of the logarithm.

    `time` is shared by everything on the device, `kinds` by the rows of a kind, `rows` is each row's own; likewise for
    dynamic energy. `start` is that of kernel starts and host launches, `base` that of the base power. The conformal
    factors scale the half-widths (in logarithm) of whole-model intervals.
    """

    time: NonNegative
    kinds: dict[str, NonNegative]
    rows: dict[str, NonNegative]
    start: NonNegative
    base: NonNegative
    energy: NonNegative
    energy_kinds: NonNegative
    energy_rows: NonNegative
    conformal_time: Positive = 1.0
    conformal_energy: Positive = 1.0

    @field_validator("kinds", "rows")
    @classmethod
    def _has_other(cls, kinds: dict[str, float]) -> dict[str, float]:
        if "other" not in kinds:
            raise ValueError("other is missing: kinds that are not named fall back on it")
        return kinds

    def without_energy_ground_truth(self) -> Spread:
        """The same, with the power terms as wide as the absence of any measurement of them demands.

        Models of power were seen off by factors of 0.70 to 1.35 on devices that they were not fitted to, where their
        sum could be checked; here not even that can.
        """
        return self.model_copy(
            update={"base": max(self.base, 0.35), "energy": max(self.energy, 0.45)}
        )


@dataclass(frozen=True)
class Coefficients:
    """What the equations of one device need."""

    time: TimeModel
    energy: EnergyModel
    spread: Spread
