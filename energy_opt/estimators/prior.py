"""What is assumed of a device of which only the datasheet is known."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from energy_opt.estimators.coefficients import ENGINE, EnergyModel, Spread, TimeModel
from energy_opt.estimators.data import Fraction, NonNegative, Positive, Record

_PRIORS = Path(__file__).parent / "priors"


class Generation(Record):
    """Dynamic energy of a chip generation: J per float32 FLOP of the vector units, per 16-bit FLOP of the matrix
    engines, and per byte of memory traffic. `source` says what it was derived from.
    """

    vector_j: Positive
    engine_j: Positive
    byte_j: Positive
    source: str


class EnergyPrior(Record):
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


class Facts(Record):
    """The facts of a device that its energy priors follow from."""

    arch: str
    peaks: dict[str, float]
    vector_flops_per_s: float
    mem_bw_bytes_per_s: float
    tdp_w: float
    idle_w: float


class Priors(Record):
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
