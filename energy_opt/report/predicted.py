"""What a profile's fits predict for measured samples, beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from energy_opt.calibrate.samples import Array, Samples
from energy_opt.estimators.device import Device
from energy_opt.estimators.fitted import Fitted
from energy_opt.estimators.forms import FORMS
from energy_opt.estimators.forms import energy as energy_form
from energy_opt.estimators.lookup import serving
from energy_opt.estimators.regimes import regime_of
from energy_opt.ir.dims import Value
from energy_opt.ir.row import Row

Part = Literal["time", "energy"]


@dataclass(frozen=True)
class Compared:
    """Executions of one operator, measured and predicted: seconds where `unit` is `s`, joules where it is `J`."""

    samples: Samples
    measured: Array
    predicted: Array
    unit: Literal["s", "J"]

    @property
    def errors(self) -> Array:
        """Relative errors of the predictions, signed."""
        return self.predicted / self.measured - 1


def latencies(device: Device, samples: Samples) -> Compared | None:
    """Seconds of every execution by the fits that serve it; None where none does."""
    seconds = _seconds(device, samples)
    return None if seconds is None else Compared(samples, samples.latency_s, seconds, "s")


def energies(device: Device, samples: Samples) -> Compared | None:
    """Joules of every metered execution, of predicted power over predicted seconds; None where nothing serves them."""
    metered = samples.take(np.isfinite(samples.energy_j))
    if not len(metered):
        return None
    seconds = _seconds(device, metered)
    fits = _serving(device, metered, "energy")
    if seconds is None or not fits:
        return None
    joules = [energy_form.joules(metered.work, seconds, f.energy.at) for f in fits if f.energy]
    return Compared(metered, metered.energy_j, _by_regime(metered, fits, joules), "J")


def _seconds(device: Device, samples: Samples) -> Array | None:
    fits, chip = _serving(device, samples, "time"), device.chip(samples.dtype)
    seconds = [
        FORMS[f.time.form].parts(samples.work, chip, f.time.at).total_s for f in fits if f.time
    ]
    return _by_regime(samples, fits, seconds) if fits else None


def _serving(device: Device, samples: Samples, part: Part) -> list[Fitted]:
    row = Row(
        samples.kind, samples.op, samples.dtype, int(np.max(samples.work.matmul_flops) > 0), 0, 0, 0, 0,
        tuple((name, 1) for name in samples.work.sizes), samples.kernels, True, 1, (),
    )  # fmt: skip
    return serving(device, row, samples.runtime, part)


def _by_regime(samples: Samples, fits: list[Fitted], values: Sequence[Value]) -> Array:
    """Of each execution the value by the fit of its regime, or by the first where none is of it."""
    length = len(samples)
    regime = np.broadcast_to(regime_of(samples.kind, samples.work.sizes), length)
    found = np.broadcast_to(np.asarray(values[0], dtype=np.float64), length)
    for fitted, value in zip(fits[1:], values[1:], strict=True):
        found = np.where(regime == fitted.regime, value, found)
    return np.asarray(found, dtype=np.float64)
