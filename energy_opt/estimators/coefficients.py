"""Coefficients of the time and energy equations, in physical units, and the priors they come from."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

_FLOP = "energy.flop_j."
_ENERGY = frozenset({"energy.base_w", "energy.vector_flop_j", "energy.byte_j", "energy.start_j"})
_PRIORS = Path(__file__).parent / "priors"

Fraction = Annotated[float, Field(gt=0, le=1)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KindTime(_Data):
    """How much of its peaks a kind of work attains, and what one kernel of it costs at least.

    `compute` is of the matrix peak where that is the vector units' own, `tensor` where it is a matrix engine's;
    `vector` is of the vector peak, `memory` of the bandwidth. Fractions of at most 1 keep times above the bound.
    """

    compute: Fraction
    tensor: Fraction
    vector: Fraction
    memory: Fraction
    start_s: NonNegative


class TimeModel(_Data):
    """`t = start_s * kernels + (t_compute^norm + t_memory^norm)^(1/norm)` per kind of work.

    `tile_weight` pulls the number of waves towards its ceiling; `tile_edge` is the cost of a small tile, as an extra
    length in m and n; `tile_depth` the cost of starting a tile, as an extra length in k.
    """

    norm: Literal[2, 4, 8]
    tile_weight: Annotated[float, Field(ge=0, le=1)]
    tile_edge: NonNegative
    tile_depth: NonNegative
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


class EnergyPrior(_Data):
    """Power as fractions of the TDP, which is what transfers between devices.

    `flop` is the power of matrix arithmetic at its peak, `vector` of other arithmetic at its peak, `byte` of memory
    traffic at full bandwidth, each beyond the base.
    """

    base: Fraction
    cap: Fraction
    flop: NonNegative
    vector: NonNegative
    byte: NonNegative
    factors: dict[str, Positive] = Field(default_factory=dict)


class Priors(_Data):
    """What is assumed of a device of which only the datasheet is known."""

    kind: Literal["gpu", "cpu"]
    date: str
    sources: tuple[str, ...]
    time: TimeModel
    energy: EnergyPrior
    spread: Spread

    def energy_for(
        self,
        *,
        peaks: Mapping[Any, float],
        vector_flops_per_s: float,
        mem_bw_bytes_per_s: float,
        tdp_w: float,
        idle_w: float,
    ) -> EnergyModel:
        """Energy coefficients of a device, in W, J/FLOP and J/byte, from its TDP, idle power and peaks.

        A device whose context is known to idle higher than the prior's base keeps that.
        """
        prior = self.energy
        return EnergyModel(
            base_w=max(prior.base * tdp_w, idle_w),
            cap_w=prior.cap * tdp_w,
            flop_j={dtype: prior.flop * tdp_w / peak for dtype, peak in peaks.items()},
            vector_flop_j=prior.vector * tdp_w / vector_flops_per_s,
            byte_j=prior.byte * tdp_w / mem_bw_bytes_per_s,
            factors=prior.factors,
        )


@functools.cache
def priors(kind: str) -> Priors:
    """The priors for `gpu` or `cpu`. Source: docs/estimators.md says what each was fitted to."""
    return Priors.model_validate(json.loads((_PRIORS / f"{kind}.json").read_text("utf-8")))
