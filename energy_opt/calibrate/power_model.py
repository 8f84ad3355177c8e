"""Energy coefficients of devices that nobody metered: shares of the TDP, pooled over devices that were.

    P / TDP = min(cap, base + flop * u_flop + vector * u_vector + byte * u_byte)

with u the share of the datasheet's peak that is attained. Of such a model only the product is known on a device that
it was not fitted to: its terms are no measurement of that chip. It serves devices of the generation it was pooled over;
on far older ones it is off by half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from energy_opt.calibrate.crossval import errors_of
from energy_opt.calibrate.energy_solver import NAMES, Array, Readings, solve, units_of
from energy_opt.calibrate.fit_energy import readings_of
from energy_opt.calibrate.samples import Samples
from energy_opt.errors import UsageError
from energy_opt.estimators.device import Device
from energy_opt.estimators.fitted import Errors, FittedEnergy

UNSEEN_SD = 0.2
"""Standard deviation of the logarithm of power on a device that was not pooled, at least.

Source: x0.70 to x1.35 is what such models were off by across devices (docs/estimators.md), taken as a 90 % interval.
"""


@dataclass(frozen=True)
class PowerModel:
    """Shares of the TDP of one kind of work in one type, by the names of the energy coefficients, and `cap`.

    `errors` are those on each pooled device by a model of the others; with one device alone, on left-out shapes of it.
    """

    kind: str
    dtype: str
    shares: Mapping[str, float]
    devices: tuple[str, ...]
    errors: Errors

    @property
    def spread(self) -> float:
        """Standard deviation of the logarithm of power on an unseen device of the generation."""
        return max(UNSEEN_SD, self.errors.log_sd)


def pool(
    parts: Sequence[tuple[Samples, Device]], idle_shares: Sequence[Array] | None = None
) -> PowerModel:
    """The model of metered samples of one kind and type on several devices, each device weighing the same.

    `idle_shares` are the parts of the readings that are of an idle device, as in `fit_energy`.

    Raises:
        UsageError: there are no parts, they are of several kinds or types, or a reading is missing.
    """
    if len({(s.kind, s.dtype) for s, _ in parts}) != 1:
        raise UsageError(
            f"power model of {len(parts)} sets of samples: all must be of one kind and type, and there must be one"
        )
    readings = [
        _normal(readings_of(s, d, None, None if idle_shares is None else idle_shares[i]))
        for i, (s, d) in enumerate(parts)
    ]
    names = [device.name for _, device in parts]
    at, cap = _fit(readings, names)
    errors = np.concatenate(
        _between(readings, names) if len(set(names)) > 1 else _within(parts, readings)
    )
    groups = np.array([f"{d.name} {group}" for s, d in parts for group in s.group])
    samples = parts[0][0]
    return PowerModel(
        samples.kind,
        samples.dtype,
        dict(zip(NAMES, map(float, at), strict=True)) | {"cap_w": cap},
        tuple(sorted(set(names))),
        errors_of(errors, groups),
    )


def modelled_energy(
    model: PowerModel, device: Device, *, source: str, draws: int = 64, seed: int = 0
) -> FittedEnergy:
    """Energy coefficients of the device by the model, in W, J/FLOP, J/byte and J, with draws as wide as it was off.

    The draws scale all coefficients together, since only their sum was ever seen; the cap is the datasheet's.
    """
    units = units_of(device, model.dtype)
    cap_w = model.shares["cap_w"] * device.tdp_w
    at = {name: model.shares[name] * units[name] for name in NAMES}
    at["base_w"] = min(at["base_w"], cap_w)
    factors = np.exp(np.random.default_rng(seed).normal(0.0, model.spread, draws))
    drawn = {name: [float(value * f) for f in factors] for name, value in at.items()}
    drawn["base_w"] = [min(value, cap_w) for value in drawn["base_w"]]
    return FittedEnergy(
        at={**at, "cap_w": cap_w},
        draws={**drawn, "cap_w": [cap_w] * draws},
        errors=model.errors,
        basis="modelled",
        source=source,
        summary=(
            f"modelled: shares of the TDP pooled over {', '.join(model.devices)}; a device left out was "
            f"{100 * model.errors.mape:.1f} % off on average. Only their sum is known here, not each term."
        ),
    )


def _normal(readings: Readings) -> Readings:
    """The same in shares of the TDP, so that devices can stand together."""
    unit_w = readings.unit_w
    return replace(
        readings,
        power_w=readings.power_w / unit_w,
        idle_w=readings.idle_w / unit_w,
        cap_w=readings.cap_w / unit_w,
        unit_w=1.0,
    )


def _fit(readings: Sequence[Readings], names: Sequence[str]) -> tuple[Array, float]:
    counts = {
        name: sum(len(r.power_w) for r, n in zip(readings, names, strict=True) if n == name)
        for name in names
    }
    each = [np.full(len(r.power_w), 1.0 / counts[n]) for r, n in zip(readings, names, strict=True)]
    weights = np.concatenate(each)
    together = joined(readings)
    return solve(together, weights * len(weights) / weights.sum()), together.cap_w


def joined(readings: Sequence[Readings]) -> Readings:
    """Readings in shares of the TDP put together; their idle power and cap are the means."""
    return Readings(
        np.concatenate([r.rates for r in readings]),
        np.concatenate([r.power_w for r in readings]),
        np.concatenate([r.idle_share for r in readings]),
        float(np.mean([r.idle_w for r in readings])),
        float(np.mean([r.cap_w for r in readings])),
        1.0,
        max(r.base_most for r in readings),
    )


def _between(readings: Sequence[Readings], names: Sequence[str]) -> list[Array]:
    """Log errors on every device, by a fit to the others."""
    errors = []
    for part, name in zip(readings, names, strict=True):
        others = [(r, n) for r, n in zip(readings, names, strict=True) if n != name]
        at, cap = _fit([r for r, _ in others], [n for _, n in others])
        errors.append(np.log(replace(part, cap_w=cap).predicted(at) / part.power_w))
    return errors


def _within(parts: Sequence[tuple[Samples, Device]], readings: Sequence[Readings]) -> list[Array]:
    errors = []
    for (samples, _), part in zip(parts, readings, strict=True):
        found = np.full(len(samples), np.nan)
        for mask in samples.folds(5):
            rest = part.take(~mask) if np.any(~mask) else part
            found[mask] = np.log(part.take(mask).predicted(solve(rest)) / part.power_w[mask])
        errors.append(found)
    return errors
