"""Coefficients of the time and energy equations, in physical units, and the priors they come from."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

_FLOP = "energy.flop_j."
_ENERGY = frozenset({"energy.base_w", "energy.vector_flop_j", "energy.byte_j", "energy.start_j"})
ENGINE = 1.5
"""A type whose matrix peak is more than this many times the vector peak runs on a matrix engine (or packed)."""
_PRIORS = Path(__file__).parent / "priors"

Fraction = Annotated[float, Field(gt=0, le=1)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KindTime(_Data):
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


class Tiles(_Data):
    """How a matrix product falls into tiles, on GPUs.

    `weight` pulls the number of waves towards its ceiling; `edge` is the cost of a small tile, as an extra length in m
    and n; `depth` the cost of starting a tile, as an extra length in k.
    """

    weight: Annotated[float, Field(ge=0, le=1)]
    edge: NonNegative
    depth: NonNegative


class TimeModel(_Data):
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


class EnergyModel(_Data):
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


class Spread(_Data):
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
        """The same, with the power terms as wide as the absence of any measurement of them demands."""
        return self.model_copy(
            update={"base": max(self.base, 0.35), "energy": max(self.energy, 0.45)}
        )


@dataclass(frozen=True)
class Coefficients:
    """What the equations of one device need."""

    time: TimeModel
    energy: EnergyModel
    spread: Spread
    draws: Mapping[str, list[float]]

    def check_draws(self) -> None:
        """Raises ValueError where a draw names no coefficient, or the draws are not equally many."""
        lengths = {len(values) for values in self.draws.values()}
        if len(lengths) > 1 or 0 in lengths:
            raise ValueError("draws: every coefficient needs the same number of draws, at least 1")
        fractions = KindTime.model_fields.keys() - {"start_s"}
        for name, values in self.draws.items():
            kind, _, field = name.removeprefix("time.kinds.").partition(".")
            if name.startswith("time.kinds.") and kind in self.time.kinds:
                if field in fractions and max(values) > 1:
                    raise ValueError(f"draws: {name} is a fraction, at most 1")
                if field in KindTime.model_fields:
                    continue
            elif name in _ENERGY or name.removeprefix(_FLOP) in self.energy.flop_j:
                continue
            raise ValueError(f"draws: {name} is no coefficient of this profile")


class Generation(_Data):
    """Dynamic energy of a chip generation: J per float32 FLOP of the vector units, per 16-bit FLOP of the matrix
    engines, and per byte of memory traffic. `source` says what it was derived from.
    """

    vector_j: Positive
    engine_j: Positive
    byte_j: Positive
    source: str


class EnergyPrior(_Data):
    """What is assumed of a device's power: fractions of its TDP, and energies per generation where one is known.

    `flop`, `vector` and `byte` are the power, beyond the base, of matrix arithmetic, other arithmetic and memory
    traffic at their peaks; they serve devices whose generation is not in `generations`. `types` are multiples of a
    generation's energies for other types: of `vector_j` for those under `vector`, of `engine_j` under `engine`.
    """

    base: Fraction
    cap: Fraction
    flop: NonNegative
    vector: NonNegative
    byte: NonNegative
    types: dict[Literal["vector", "engine"], dict[str, Positive]] = Field(default_factory=dict)
    generations: dict[str, Generation] = Field(default_factory=dict)
    factors: dict[str, Positive] = Field(default_factory=dict)


class Facts(_Data):
    """The facts of a device that its energy priors follow from."""

    arch: str
    peaks: dict[str, float]
    vector_flops_per_s: float
    mem_bw_bytes_per_s: float
    tdp_w: float
    idle_w: float


class Priors(_Data):
    """What is assumed of a device of which only the datasheet is known."""

    kind: Literal["gpu", "cpu"]
    date: str
    sources: tuple[str, ...]
    time: TimeModel
    energy: EnergyPrior
    spread: Spread

    def energy_for(self, facts: Facts) -> EnergyModel:
        """Energy coefficients of a device, in W, J/FLOP and J/byte.

        A device whose context is known to idle higher than the prior's base keeps that.
        """
        prior, tdp_w = self.energy, facts.tdp_w
        known = prior.generations.get(facts.arch.rpartition(" ")[2])
        if known is None:
            vector_j = prior.vector * tdp_w / facts.vector_flops_per_s
            byte_j = prior.byte * tdp_w / facts.mem_bw_bytes_per_s
            flop_j = {dtype: prior.flop * tdp_w / peak for dtype, peak in facts.peaks.items()}
        else:
            vector_j, byte_j = known.vector_j, known.byte_j
            flop_j = {dtype: self._flop_j(dtype, known, facts) for dtype in facts.peaks}
        return EnergyModel(
            base_w=max(prior.base * tdp_w, facts.idle_w),
            cap_w=prior.cap * tdp_w,
            flop_j=flop_j,
            vector_flop_j=vector_j,
            byte_j=byte_j,
            factors=prior.factors,
        )

    def _flop_j(self, dtype: str, known: Generation, facts: Facts) -> float:
        types = self.energy.types
        if dtype in types["vector"]:
            return types["vector"][dtype] * known.vector_j
        if facts.peaks[dtype] > ENGINE * facts.vector_flops_per_s:
            return types["engine"].get(dtype, 1.0) * known.engine_j
        # Without a matrix engine for it, a narrow type is packed into the vector units.
        return known.vector_j * facts.vector_flops_per_s / facts.peaks[dtype]


@functools.cache
def priors(kind: str) -> Priors:
    """The priors for `gpu` or `cpu`. Source: docs/estimators.md says what each was fitted to."""
    return Priors.model_validate(json.loads((_PRIORS / f"{kind}.json").read_text("utf-8")))
