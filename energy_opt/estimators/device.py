"""Device profiles: data that says how fast a device is, what it draws, where each number is from, how sure it is."""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from energy_opt.errors import DeviceError
from energy_opt.estimators.coefficients import (
    ENGINE,
    Coefficients,
    EnergyModel,
    Spread,
    TimeModel,
)
from energy_opt.estimators.data import Positive, Record
from energy_opt.estimators.fitted import Fitted
from energy_opt.estimators.forms import Chip
from energy_opt.estimators.naming import explain, find
from energy_opt.estimators.prior import Facts, priors
from energy_opt.estimators.runtime import HostCost

_PROFILES = Path(__file__).parent / "profiles"
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]*(@[0-9]+)?")
_MAX_BYTES = 16_000_000
"""A profile with 64 draws is some 100 kB; a larger file is not one."""

_MAX_DRAWS = 1024

Provenance = Literal["measured", "fitted", "modelled", "datasheet"]
Dtype = Literal[
    "float64", "float32", "tf32", "float16", "bfloat16", "float8", "int8", "float4", "int4"
]

WIDER: dict[str, tuple[str, ...]] = {
    "float4": ("float8", "float16", "bfloat16", "float32"),
    "int4": ("int8", "float16", "bfloat16", "float32"),
    "float8": ("float16", "bfloat16", "float32"),
    "int8": ("float16", "bfloat16", "float32"),
    "float16": ("float32",),
    "bfloat16": ("float32",),
    "tf32": ("float32",),
}
"""Where arithmetic in a type runs on a device whose profile has no peak for it: in the next wider type."""


class Provenances(Record):
    """Where each part of a profile comes from."""

    peaks: Provenance = "datasheet"
    time: Provenance = "datasheet"
    energy: Provenance = "datasheet"


class Scaling(Record):
    """How a CPU profile scales with vCPUs: everything in proportion, bandwidth no further than the socket's."""

    vcpus: Annotated[int, Field(gt=0)]
    max_vcpus: Annotated[int, Field(gt=0)]
    socket_bw_bytes_per_s: Positive


class Calibration(Record):
    """How a fitted or measured profile was made; every field is optional.

    `partial` says that it was cut short; `thin` names kinds and types that got fewer points than planned.
    """

    date: str | None = None
    tool: str | None = None
    driver: str | None = None
    libraries: dict[str, str] = Field(default_factory=dict)
    host: str | None = None
    clocks_hz: dict[str, Positive] = Field(default_factory=dict)
    power_limit_w: Positive | None = None
    meter: str | None = None
    seed: int | None = None
    budget_s: Positive | None = None
    took_s: Positive | None = None
    points: Annotated[int, Field(ge=0)] | None = None
    models: tuple[str, ...] = ()
    partial: bool = False
    thin: tuple[str, ...] = ()
    samples: str | None = None


class Device(Record):
    """A device profile. Peaks in FLOP/s (a multiply-add is 2), dense; bandwidth in bytes/s; power in W.

    A profile needs no more than the datasheet's facts: `time`, `energy` and `spread` are taken from the priors for its
    kind where it does not give them. `fits` hold what was fitted to measurements, per kind of work and type; what they
    do not cover is priced by the priors. `host` holds measured costs of the host per runtime, instead of the runtime's
    own.

    Source: each profile names its own in `sources`; what nobody has checked is in `unverified`.
    """

    # The name on disk is "schema", which pydantic's BaseModel uses for itself.
    schema_: Literal["energy-opt/device/1"] = Field(alias="schema")
    name: str
    label: str
    kind: Literal["gpu", "cpu"]
    arch: str = ""
    units: Annotated[int, Field(gt=0)]
    clock_hz: Positive | None = None
    peaks: dict[Dtype, Positive]
    vector_flops_per_s: Positive
    mem_bw_bytes_per_s: Positive
    l2_bytes: Positive | None = None
    memory_bytes: Positive | None = None
    tdp_w: Positive
    idle_w: Positive | None = None
    idle_context_w: Positive | None = None
    boundary: Literal["board", "package", "system"] = "board"
    energy_ground_truth: bool = True
    time: TimeModel | None = None
    energy: EnergyModel | None = None
    spread: Spread | None = None
    fits: tuple[Fitted, ...] = ()
    host: dict[str, HostCost] = Field(default_factory=dict)
    provenance: Provenances = Provenances()
    calibration: Calibration | None = None
    scaling: Scaling | None = None
    sources: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @field_validator("name")
    @classmethod
    def _slug(cls, name: str) -> str:
        if not _SLUG.fullmatch(name):
            raise ValueError("a lower-case slug is needed, such as a100-sxm4-40gb")
        return name

    @field_validator("peaks")
    @classmethod
    def _has_float32(cls, peaks: dict[str, float]) -> dict[str, float]:
        if "float32" not in peaks:
            raise ValueError("float32 is missing: every other type falls back on it")
        return peaks

    @model_validator(mode="after")
    def _consistent(self) -> Device:
        if self.idle_w is not None and self.idle_w >= self.tdp_w:
            raise ValueError(f"idle_w is {self.idle_w}, not below tdp_w, which is {self.tdp_w}")
        counts = {
            len(values)
            for fitted in self.fits
            for part in (fitted.time, fitted.energy)
            if part is not None
            for values in part.draws.values()
        }
        if len(counts) > 1 or 0 in counts:
            raise ValueError(
                "draws: every parameter of every fit needs the same number of draws, at least 1"
            )
        if max(counts, default=0) > _MAX_DRAWS:
            raise ValueError(f"draws: {max(counts)} of each are given, more than {_MAX_DRAWS}")
        limit_w = max(self.tdp_w, self.energy.cap_w if self.energy else 0.0)
        for fitted in (f for f in self.fits if f.energy is not None):
            cap_w = fitted.energy.at["cap_w"] if fitted.energy else 0.0
            if cap_w > 1.001 * limit_w:  # files hold five digits
                raise ValueError(
                    f"fits: cap_w of {fitted.kind}/{fitted.dtype} is {cap_w}, above the power limit of {limit_w}"
                )
        keys = Counter((f.kind, f.dtype, f.op, f.regime, f.runtime) for f in self.fits)
        for key in (key for key, count in keys.items() if count > 1):
            raise ValueError(f"fits: {'/'.join(filter(None, key))} is given more than once")
        return self

    @staticmethod
    def load(name_or_path: str | Path) -> Device:
        """The profile of that name or in that `.json` file. A unique prefix or a near miss is understood.

        `NAME@N` scales a CPU profile to N vCPUs.

        Raises:
            DeviceError: there is no such profile (it suggests the nearest), or the file is not a valid one (it names
                the field).
        """
        if isinstance(name_or_path, Path) or str(name_or_path).lower().endswith(".json"):
            return _read(Path(name_or_path))
        wanted, at, size = str(name_or_path).strip().lower().partition("@")
        device = _shipped(find(wanted, Device.names()))
        if not at:
            return device
        if not size.isascii() or not size.isdigit() or len(size) > 6:
            raise DeviceError(
                f"device {str(name_or_path)!r}: after @ stands a number of vCPUs, such as {device.name}@16"
            )
        return device.scaled(int(size))

    @staticmethod
    def names() -> list[str]:
        """Names of the profiles that ship with the package, sorted."""
        return sorted(path.stem for path in _PROFILES.glob("*.json"))

    def scaled(self, vcpus: int) -> Device:
        """The same CPU with that many vCPUs. Raises DeviceError where the profile does not scale that far."""
        if self.scaling is None:
            raise DeviceError(f"device {self.name}: only CPU profiles scale; leave out @{vcpus}")
        if not 1 <= vcpus <= self.scaling.max_vcpus:
            raise DeviceError(
                f"device {self.name}@{vcpus}: a socket has 1 to {self.scaling.max_vcpus} vCPUs"
            )
        if vcpus == self.scaling.vcpus:
            return self
        by = vcpus / self.scaling.vcpus
        notes = list(self.notes)
        if self.fits:
            notes.append(
                f"what was fitted at {self.scaling.vcpus} vCPUs does not hold at {vcpus}: left out"
            )
        bandwidth = min(self.mem_bw_bytes_per_s * by, self.scaling.socket_bw_bytes_per_s)
        return Device.model_validate(
            self.model_dump(by_alias=True)
            | {
                "name": f"{self.name}@{vcpus}",
                "label": f"{self.label.partition(',')[0]}, {vcpus} vCPUs",
                "units": max(1, round(self.units * by)),
                "peaks": {dtype: peak * by for dtype, peak in self.peaks.items()},
                "vector_flops_per_s": self.vector_flops_per_s * by,
                "mem_bw_bytes_per_s": bandwidth,
                "tdp_w": self.tdp_w * by,
                "idle_w": self.idle_w and self.idle_w * by,
                "idle_context_w": self.idle_context_w and self.idle_context_w * by,
                "energy": self.energy
                and self.energy.model_dump()
                | {"base_w": self.energy.base_w * by, "cap_w": self.energy.cap_w * by},
                "fits": [],
                "calibration": None if self.fits else self.calibration,
                "notes": notes,
                "scaling": self.scaling.model_dump() | {"vcpus": vcpus},
            }
        )

    def arithmetic(self, dtype: str) -> str:
        """The type whose peak prices arithmetic in `dtype` here: itself, or the next wider one the profile has."""
        family = dtype_family(dtype)
        if family in self.peaks:
            return family
        return next((wider for wider in WIDER.get(family, ()) if wider in self.peaks), "float32")

    def peak(self, dtype: str) -> float:
        """FLOP/s of dense matrix arithmetic in that type; float64 without a peak of its own is float32's / 32."""
        if dtype == "float64" and "float64" not in self.peaks:
            return self.peaks["float32"] / 32
        return self.peaks[self.arithmetic(dtype)]  # type: ignore[index]

    def chip(self, dtype: str) -> Chip:
        """The facts that forms of the time equation work with, for arithmetic in that type."""
        peak = self.peak(dtype)
        return Chip(
            peak=peak,
            vector=self.vector_flops_per_s,
            bandwidth=self.mem_bw_bytes_per_s,
            units=self.units,
            l2_bytes=self.l2_bytes or 0.0,
            engine=peak > ENGINE * self.vector_flops_per_s,
        )

    @property
    def draws(self) -> int | None:
        """How many joint draws the fits hold; None where there are none."""
        for fitted in self.fits:
            for part in (fitted.time, fitted.energy):
                for values in part.draws.values() if part is not None else ():
                    return len(values)
        return None

    def coefficients(self) -> Coefficients:
        """Coefficients of the time and energy equations: the profile's own, else the priors for its kind."""
        prior = priors(self.kind)
        energy = self.energy or prior.energy_for(
            Facts(
                arch=self.arch,
                peaks={str(dtype): peak for dtype, peak in self.peaks.items()},
                vector_flops_per_s=self.vector_flops_per_s,
                mem_bw_bytes_per_s=self.mem_bw_bytes_per_s,
                tdp_w=self.tdp_w,
                idle_w=self.idle_context_w or self.idle_w or 0.0,
            )
        )
        spread = self.spread or prior.spread
        if self.spread is None and not self.energy_ground_truth:
            spread = spread.without_energy_ground_truth()
        return Coefficients(self.time or prior.time, energy, spread)

    def to_dict(self) -> dict[str, Any]:
        """The facts a report shows: label, kind, powers, peaks, sources and what is unverified."""
        return {
            "name": self.name,
            "label": self.label,
            "kind": self.kind,
            "provenance": self.provenance.time,
            "energy_provenance": self.provenance.energy,
            "boundary": self.boundary,
            "tdp_w": self.tdp_w,
            "idle_w": self.idle_w,
            "peaks": dict(self.peaks),
            "vector_flops_per_s": self.vector_flops_per_s,
            "mem_bw_bytes_per_s": self.mem_bw_bytes_per_s,
            "memory_bytes": self.memory_bytes,
            "unverified": list(self.unverified),
            "sources": list(self.sources),
            "notes": list(self.notes),
        }


def dtype_family(dtype: str) -> str:
    """The profile's name for an arithmetic type: `float8e4m3fn` is `float8`, `uint8` is `int8`."""
    lower = dtype.lower()
    if lower in ("uint8", "uint4"):
        return lower[1:]
    for family in ("float8", "float4"):
        if lower.startswith(family):
            return family
    return lower


@functools.cache
def _shipped(name: str) -> Device:
    return _read(_PROFILES / f"{name}.json")


def _read(path: Path) -> Device:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DeviceError(f"{path}: too large for a device profile")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DeviceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DeviceError(f"{path}: not JSON: {str(error).splitlines()[0]}") from error
    try:
        return Device.model_validate(data)
    except ValidationError as error:
        raise DeviceError(f"{path}: not a valid device profile: {explain(error)}") from error
