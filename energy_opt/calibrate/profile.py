"""A device profile from fits, and the profile as a file that people can read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from energy_opt.errors import CalibrationError
from energy_opt.estimators.coefficients import EnergyModel
from energy_opt.estimators.device import Calibration, Device
from energy_opt.estimators.fitted import Fitted, FittedEnergy, FittedTime
from energy_opt.estimators.runtime import HostCost
from energy_opt.files import write_whole

_DIGITS = 5
"""Significant digits of coefficients and draws in a file: far below what they are known to."""


def assemble(
    base: Device,
    fits: Sequence[Fitted],
    *,
    host: Mapping[str, HostCost] | None = None,
    calibration: Calibration | None = None,
    name: str | None = None,
    label: str | None = None,
    notes: Sequence[str] = (),
    energy: EnergyModel | None = None,
    idle_context_w: float | None = None,
) -> Device:
    """The base device with what was fitted: facts, priors and power model stay as they are where nothing was.

    `host` holds measured costs of the host by runtime, `energy` a power model that replaces the base's. Fits of the
    base for the same work are replaced, others stay.

    Raises:
        CalibrationError: the parts contradict each other, such as numbers of draws that differ.
    """
    new = {_key(fitted) for fitted in fits}
    count = next((len(v) for f in fits for part in _parts(f) for v in part.draws.values()), None)
    kept = [_drawn(fitted, count) for fitted in base.fits if _key(fitted) not in new]
    fits = sorted((_rounded(fitted) for fitted in [*kept, *fits]), key=_key)
    sources = [part.source for f in fits for part in _parts(f)]
    changes: dict[str, Any] = {
        "name": name or base.name,
        "label": label or base.label,
        "fits": [fitted.model_dump() for fitted in fits],
        "host": {k: v.model_dump() for k, v in {**base.host, **(host or {})}.items()},
        # That of what no fit serves: each fit has its own.
        "provenance": base.provenance.model_dump() | ({"energy": "modelled"} if energy else {}),
        "sources": list(dict.fromkeys([*base.sources, *sources])),
        "notes": list(dict.fromkeys([*base.notes, *notes])),
    }
    if calibration is not None:
        changes["calibration"] = calibration.model_dump()
    if energy is not None:
        changes["energy"] = energy.model_dump()
    if idle_context_w is not None:
        changes["idle_context_w"] = idle_context_w
    if any(f.energy is not None and f.energy.basis != "modelled" for f in fits):
        changes["energy_ground_truth"] = True
    try:
        return Device.model_validate(base.model_dump(by_alias=True) | changes)
    except ValidationError as error:
        said = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in said["loc"])
        raise CalibrationError(
            f"the parts of the profile {changes['name']} do not fit together: {where} {said['msg']}"
        ) from error


def at_least(
    base: Device, *, peaks: Mapping[str, float], vector_flops_per_s: float, bytes_per_s: float, units: int | None = None
) -> Device:  # fmt: skip
    """The base with no peak below what was seen on the machine at hand, which would bound its times from below.

    `peaks` are the best rates of products by type, in FLOP/s. What was raised is listed as unverified.
    """
    raised = {t: rate for t, rate in peaks.items() if rate > base.peaks.get(t, 0.0)}  # type: ignore[call-overload]
    changes: dict[str, Any] = {"peaks": {**base.peaks, **raised}}
    unverified = [f"peak {dtype}: the best rate seen while calibrating" for dtype in raised]
    if vector_flops_per_s > base.vector_flops_per_s:
        changes["vector_flops_per_s"] = vector_flops_per_s
        unverified.append("vector peak: the best rate seen while calibrating")
    if bytes_per_s > base.mem_bw_bytes_per_s:
        changes["mem_bw_bytes_per_s"] = bytes_per_s
        unverified.append("memory bandwidth: the best rate seen while calibrating, caches included")
    if units is not None:
        changes["units"] = units
    changes["unverified"] = list(dict.fromkeys([*base.unverified, *unverified]))
    return Device.model_validate(base.model_dump(by_alias=True) | changes)


def write(device: Device, path: str | Path) -> None:
    """Write the profile, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    write_whole(path, text(device).encode())


def text(device: Device) -> str:
    """The profile as JSON: one quantity per line, every list of numbers on one line."""
    return (
        _lines(_told(device.model_dump(mode="json", by_alias=True, exclude_none=True)), "") + "\n"
    )


def _told(value: Any) -> Any:
    """The value without what says nothing: empty texts, lists and records."""
    if isinstance(value, dict):
        told = {key: _told(item) for key, item in value.items()}
        return {key: item for key, item in told.items() if item not in ({}, [], "")}
    return [_told(item) for item in value] if isinstance(value, list) else value


def _lines(value: Any, indent: str) -> str:
    deeper = indent + " "
    if isinstance(value, dict) and value:
        if not any(isinstance(item, (dict, list)) for item in value.values()) and len(value) < 8:
            return json.dumps(value, ensure_ascii=False)
        parts = [f"{deeper}{json.dumps(k)}: {_lines(v, deeper)}" for k, v in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, (dict, str)) for item in value):
        parts = [deeper + _lines(item, deeper) for item in value]
        return "[\n" + ",\n".join(parts) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def _parts(fitted: Fitted) -> list[FittedTime | FittedEnergy]:
    return [part for part in (fitted.time, fitted.energy) if part is not None]


def _drawn(fitted: Fitted, count: int | None) -> Fitted:
    """The fit with that many draws, its own again and again: all fits of a profile have equally many."""
    if count is None:
        return fitted
    parts = {
        name: part.model_copy(
            update={
                "draws": {k: [v[i % len(v)] for i in range(count)] for k, v in part.draws.items()}
            }
        )
        for name in ("time", "energy")
        if (part := getattr(fitted, name)) is not None
    }
    return fitted.model_copy(update=parts)


def _key(fitted: Fitted) -> tuple[str, ...]:
    return (fitted.kind, fitted.dtype, fitted.op, fitted.regime, fitted.runtime)


def _rounded(fitted: Fitted) -> Fitted:
    def short(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.{_DIGITS}g}")
        if isinstance(value, dict):
            return {name: short(item) for name, item in value.items()}
        return (
            type(value)(short(item) for item in value)
            if isinstance(value, (list, tuple))
            else value
        )

    return Fitted.model_validate(short(fitted.model_dump()))
