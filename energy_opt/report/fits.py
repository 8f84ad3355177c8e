"""What a profile's fits say, as plain data for tables and JSON: coefficients with units, errors, provenance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from energy_opt import units
from energy_opt.estimators.device import Device
from energy_opt.estimators.fitted import Fitted, FittedEnergy, FittedTime
from energy_opt.estimators.forms import FORMS
from energy_opt.estimators.forms import energy as energy_form
from energy_opt.estimators.forms.form import Parameter

_PEAKS = {
    "compute": "matrix peak", "vector": "vector peak", "memory": "bandwidth", "bandwidth": "bandwidth",
}  # fmt: skip


def described(device: Device) -> dict[str, Any]:
    """The device's facts as `to_dict` gives them, its fits, its priors where those serve, and how it was made."""
    model = device.coefficients()
    return {
        **headline(device),
        "fits": rows(device),
        "host": {name: cost.model_dump() for name, cost in device.host.items()},
        "power_model": {**model.energy.model_dump(), "provenance": device.provenance.energy},
        "shares": {kind: share.model_dump() for kind, share in model.time.kinds.items()},
        "calibration": device.calibration.model_dump() if device.calibration is not None else None,
        "coverage": coverage(device),
    }


def headline(device: Device) -> dict[str, Any]:
    """The device's facts; its provenances are those that most measured points have, if anything was fitted."""
    told = device.to_dict()
    for key, part in (("provenance", "time"), ("energy_provenance", "energy")):
        points: dict[str, int] = {}
        for made in (getattr(fitted, part) for fitted in device.fits):
            if made is not None:
                points[made.basis] = points.get(made.basis, 0) + made.errors.points
        if points:
            told[key] = max(points, key=lambda basis: points[basis])
    return told


def rows(device: Device) -> list[dict[str, Any]]:
    """A row per fit of a time or an energy: what it serves, its errors and its coefficients in SI units."""
    return [
        _row(fitted, quantity, made)
        for fitted in device.fits
        for quantity, made in (("latency", fitted.time), ("energy", fitted.energy))
        if made is not None
    ]


def _row(fitted: Fitted, quantity: str, made: FittedTime | FittedEnergy) -> dict[str, Any]:
    form = made.form if isinstance(made, FittedTime) else "energy"
    parameters = FORMS[form].parameters if form in FORMS else energy_form.PARAMETERS
    return {
        "quantity": quantity,
        **{name: getattr(fitted, name) for name in ("kind", "op", "regime", "dtype", "runtime")},
        "basis": made.basis,
        "source": made.source,
        "form": form,
        **made.errors.model_dump(),
        "coefficients": [
            {
                "name": p.name,
                "value": made.at[p.name],
                "unit": p.unit,
                "text": coefficient(p, made.at[p.name]),
                "settled": _settled(p, made.at[p.name], made.draws.get(p.name)),
                "interval": _interval(made.draws.get(p.name)),
                "meaning": p.meaning,
            }
            for p in parameters
        ],
        "box": {name: list(ends) for name, ends in fitted.box.items()},
        "summary": made.summary,
    }


def coefficient(parameter: Parameter, value: float) -> str:
    """A coefficient as a person reads it: `12.3 µs`, `81 % of matrix peak`, `0.42 pJ/FLOP`, `31 TFLOP/s`."""
    unit = parameter.unit
    if unit in ("s/FLOP", "s/byte"):
        # What a device does per second is what a datasheet says; what costs nothing here has no rate.
        if value <= 0:
            return "free"
        return units.flop_rate(1 / value) if unit == "s/FLOP" else units.byte_rate(1 / value)
    if unit == "1":
        if parameter.high > 1:
            return units.number(value)
        share = units.share(value)
        return f"{share} of {_PEAKS[parameter.name]}" if parameter.name in _PEAKS else share
    return units.si(value, unit, smallest=1e-15)


def _settled(parameter: Parameter, value: float, draws: Sequence[float] | None) -> bool:
    """Whether the samples say anything of it: a fit leaves what none depends on where it starts, in every draw."""
    stayed = all(
        abs(x - parameter.start) <= 1e-4 * abs(parameter.start) for x in (value, *(draws or ()))
    )
    return not (draws and stayed)


def _interval(draws: Iterable[float] | None) -> list[float] | None:
    """The central 90 % of the draws."""
    if draws is None:
        return None
    import numpy as np

    low, high = np.quantile(np.asarray(list(draws)), (0.05, 0.95))
    return [float(low), float(high)]


def coverage(device: Device) -> list[dict[str, Any]]:
    """Per kind and type where its latency and its energy come from, for every kind that any fit is of."""
    kinds = list(dict.fromkeys(f.kind for f in device.fits))
    dtypes = list(dict.fromkeys([*(f.dtype for f in device.fits), *map(str, device.peaks)]))
    return [
        {"kind": kind, "dtype": dtype, "latency": _basis(device, kind, dtype, "time"),
         "energy": _basis(device, kind, dtype, "energy")}
        for kind in kinds
        for dtype in dtypes
    ]  # fmt: skip


def _basis(device: Device, kind: str, dtype: str, part: str) -> str:
    fits = [f for f in device.fits if f.kind == kind and f.dtype == dtype]
    bases: list[str] = [made.basis for f in fits if (made := getattr(f, part)) is not None]
    if bases:
        return bases[0]
    # What no fit serves is priced by the priors, whose provenance is the profile's own.
    return str(getattr(device.provenance, part))


def name_of(row: Mapping[str, Any]) -> str:
    """What a fit serves, in a few words: `elementwise gelu`, `attention, decode`."""
    name = str(row["kind"]) if row["kind"] != "other" else "all other kinds"
    if row.get("op"):
        name += f" {row['op']}"
    return f"{name}, {row['regime']}" if row.get("regime") else name
