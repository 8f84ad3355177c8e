"""Energy coefficients from samples with power readings, with their errors on groups that were left out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from energy_opt.calibrate.crossval import errors_of, group_bootstrap
from energy_opt.calibrate.energy_solver import (
    BASE_MOST,
    NAMES,
    Array,
    Readings,
    rates_of,
    solve,
    units_of,
)
from energy_opt.calibrate.energy_summary import summary_text
from energy_opt.calibrate.fitting import Prior
from energy_opt.calibrate.samples import Samples
from energy_opt.errors import UsageError
from energy_opt.estimators.device import Device
from energy_opt.estimators.fitted import Basis, FittedEnergy
from energy_opt.estimators.forms import energy as energy_form
from energy_opt.estimators.work import RowWork

__all__ = ["energy_at", "fit_energy", "joules", "readings_of"]

_IDLE = 0.21
"""Power of an open context as a share of the TDP, where a profile names none. Source: docs/estimators.md."""

_SHORT_S = 50e-6
"""Executions as short as this tell what a start costs; from longer ones a fit would make up starts of many mJ."""

_CAPPED = 10
"""So many readings at the cap say where it is."""


def fit_energy(
    samples: Samples,
    *,
    device: Device,
    seconds: Array | None = None,
    prior: Prior | None = None,
    idle_share: Array | None = None,
    folds: int = 5,
    draws: int = 64,
    source: str,
    basis: Basis,
    seed: int = 0,
) -> FittedEnergy:
    """Coefficients in W, J/FLOP, J/byte and J of samples with energies, their errors, and draws from resampled groups.

    Errors are those of the energy where its seconds are known: with `seconds`, as a time fit predicts them for groups
    that it has not seen, they hold the time's errors too. `idle_share` is the part of each reading that is of the
    device idling before the work (an instrument that averages over a second shows the second before).

    Raises:
        UsageError: an energy or latency is missing, or there are fewer than two groups.
    """
    groups = len(np.unique(samples.group))
    if groups < 2:
        raise UsageError(
            f"energy fit of {samples.kind} in {samples.dtype}: {len(samples)} samples of {groups} shape: at least two "
            "shapes are needed, to tell how far off a third would be"
        )
    readings = readings_of(samples, device, seconds, idle_share)
    pull = _pull(prior, device, samples.dtype)
    errors = np.full(len(samples), np.nan)
    for mask in samples.folds(folds, seed):
        at = solve(readings.take(~mask), prior=pull)
        part = readings.take(mask)
        errors[mask] = np.log(part.predicted(at) / part.power_w)
    if seconds is not None:
        errors = errors + np.log(seconds / samples.latency_s)
    at = solve(readings, prior=pull)
    drawn = np.array([solve(readings, w, pull) for w in group_bootstrap(samples, draws, seed)])
    units = units_of(device, samples.dtype)
    return FittedEnergy(
        at=_physical(at, units, readings.cap_w),
        draws={
            name: [_physical(one, units, readings.cap_w)[name] for one in drawn]
            for name in (*NAMES, "cap_w")
        },
        errors=errors_of(errors, samples.group),
        basis=basis,
        source=source,
        summary=summary_text(samples, readings, at, units),
    )


def energy_at(
    samples: Samples, *, device: Device, seconds: Array | None = None, prior: Prior | None = None,
    idle_share: Array | None = None,
) -> dict[str, float]:  # fmt: skip
    """The coefficients alone, in W, J/FLOP, J/byte and J. Raises UsageError where a reading is missing."""
    readings = readings_of(samples, device, seconds, idle_share)
    at = solve(readings, prior=_pull(prior, device, samples.dtype))
    return _physical(at, units_of(device, samples.dtype), readings.cap_w)


def joules(fitted: FittedEnergy | Mapping[str, float], work: RowWork, seconds: Array) -> Array:
    """J of every execution that takes those seconds, never over the power cap."""
    at = fitted.at if isinstance(fitted, FittedEnergy) else fitted
    return np.asarray(energy_form.joules(work, seconds, at), dtype=np.float64)


def readings_of(
    samples: Samples, device: Device, seconds: Array | None = None, idle_share: Array | None = None
) -> Readings:
    """The samples' mean powers beside what they do per second.

    Raises:
        UsageError: there are no samples, an energy or a latency is not positive, or a share is not from 0 to 1.
    """
    t, energy_j = samples.latency_s, samples.energy_j
    if not len(samples) or not (np.all(t > 0) and np.all(energy_j > 0)):
        raise UsageError(
            f"energy fit of {samples.kind} in {samples.dtype}: {len(samples)} samples, of which all need a latency_s "
            "and an energy_j above 0: leave out what was not metered"
        )
    share = np.zeros(len(t)) if idle_share is None else np.asarray(idle_share, dtype=np.float64)
    if not np.all((share >= 0) & (share < 1)):
        raise UsageError(
            f"energy fit of {samples.kind} in {samples.dtype}: idle_share runs from {share.min():g} to "
            f"{share.max():g}; a share of a reading is from 0 to below 1"
        )
    power_w = energy_j / t
    idle_w = device.idle_context_w or max(device.idle_w or 0.0, _IDLE * device.tdp_w)
    rates = rates_of(samples.work, t if seconds is None else seconds, device, samples.dtype)
    if np.quantile(t, 0.1) > _SHORT_S:
        rates[:, NAMES.index("start_j")] = 0.0
    base_most = BASE_MOST if device.kind == "gpu" else np.inf
    cap_w = _cap_w(power_w, device.tdp_w)
    return Readings(rates, power_w, share, idle_w, cap_w, device.tdp_w, base_most)


def _cap_w(power_w: Array, tdp_w: float) -> float:
    """What the device draws at its power limit: the datasheet's figure, or what readings show that come close to it."""
    near = power_w[power_w >= 0.95 * tdp_w]
    return min(float(np.median(near)), tdp_w) if len(near) >= _CAPPED else tdp_w


def _pull(prior: Prior | None, device: Device, dtype: str) -> dict[int, tuple[float, float]]:
    units = units_of(device, dtype)
    return {
        NAMES.index(name): (median / units[name], sd)
        for name, (median, sd) in (prior or {}).items()
        if name in units
    }


def _physical(at: Array, units: Mapping[str, float], cap_w: float) -> dict[str, float]:
    values = {name: float(value) * units[name] for name, value in zip(NAMES, at, strict=True)}
    return {**values, "base_w": min(values["base_w"], cap_w), "cap_w": cap_w}
