"""Rows of work to seconds and joules on a device under a runtime, centrally or for joint draws of the coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from energy_opt.estimators.device import Device
from energy_opt.estimators.drawing import Draws, Mode, Views, nonzero
from energy_opt.estimators.fitted import Fitted
from energy_opt.estimators.fitted_row import FittedEnergyRow, FittedTimeRow
from energy_opt.estimators.forms.attention import performed
from energy_opt.estimators.interval import DRAWS, Array
from energy_opt.estimators.latency import bound_seconds
from energy_opt.estimators.lookup import serving
from energy_opt.estimators.prior_row import PriorRow
from energy_opt.estimators.regimes import by_regime
from energy_opt.estimators.runtime import HostCost, Runtime
from energy_opt.estimators.work import RowWork
from energy_opt.ir.dims import Value
from energy_opt.ir.row import Row


@dataclass(frozen=True, slots=True)
class Totals:
    """Seconds and joules of a whole inference."""

    latency_s: Value
    energy_j: Value


@dataclass(frozen=True, slots=True)
class RowPrice:
    """Seconds and joules of one execution of a row, its share of the host's delay included.

    `bound` says what most of the time is: `compute`, `memory` or `launch`; `least_s` is the datasheet's bound.
    """

    latency_s: Value
    energy_j: Value
    least_s: Value
    bound: str


class TimeOfRow(Protocol):
    """Seconds of one execution of a row on the device."""

    def seconds(self, work: RowWork, mode: Mode) -> Value:
        """Seconds on the device, its start included."""

    def limits(self, work: RowWork) -> dict[str, Value]:
        """Seconds that the arithmetic, the traffic and the start alone would take."""


class EnergyOfRow(Protocol):
    """Joules of one execution of a row, within the device's boundary."""

    def joules(self, work: RowWork, seconds: Value, mode: Mode) -> Value:
        """Joules of an execution that takes that long, base power included."""


@dataclass(frozen=True, slots=True)
class PricedRow:
    """How one row is priced, and what the prices rest on: a fit of such rows, or the priors."""

    prior: PriorRow
    time: TimeOfRow
    energy: EnergyOfRow
    host_s: Views[Value]
    provenance: str
    energy_provenance: str
    fitted: Fitted | None


class Pricer:
    """Prices a fixed list of rows on one device under one runtime."""

    def __init__(self, rows: Sequence[Row], device: Device, runtime: Runtime) -> None:
        self.rows, self.device, self.runtime = tuple(rows), device, runtime
        self._model = device.coefficients()
        self.spread = self._model.spread
        self.draws = device.draws or DRAWS
        self._draws = Draws(device.name, self.draws)
        self._host = host_cost(device, runtime)
        base_w = self._model.energy.base_w
        self._base_w: Views[Value] = Views(base_w, self._drawn_base_w)
        self.priced = [self._priced(row) for row in self.rows]

    def totals(
        self, works: Sequence[RowWork], *, drawn: bool = False, points: bool = False
    ) -> Totals:
        """Seconds and joules of an inference; with `drawn`, [draws] of them, or [draws, points]."""
        mode, works = _mode(drawn, points), self._performed(works)
        device_s: Value = 0.0
        energy_j: Value = 0.0
        host_s: Value = 0.0
        for work, row in zip(works, self.priced, strict=True):
            seconds, joules = _execution(work, row, mode)
            device_s = device_s + work.count * seconds
            energy_j = energy_j + work.count * joules
            host_s = host_s + work.count * row.host_s[mode]
        gap = self._gap(device_s, host_s)
        return Totals(device_s + gap, energy_j + self._base_w[mode] * gap)

    def prices(self, works: Sequence[RowWork], *, drawn: bool = False) -> list[RowPrice]:
        """The price of one execution of every row; times their counts they sum to the totals."""
        mode, works = _mode(drawn, False), self._performed(works)
        executions = [_execution(w, row, mode) for w, row in zip(works, self.priced, strict=True)]
        host = [row.host_s[mode] for row in self.priced]
        device_s: Value = sum(
            (w.count * s for w, (s, _) in zip(works, executions, strict=True)), 0.0
        )
        host_s: Value = sum((w.count * s for w, s in zip(works, host, strict=True)), 0.0)
        # Time in which the device waits for the host belongs to the rows in proportion to what they make the host do.
        per_host_s = self._gap(device_s, host_s) / nonzero(host_s)
        if not np.any(host_s):
            executed = sum((work.count for work in works), 0.0)
            per_host_s = self._gap(device_s, host_s)
            host = [1.0 / nonzero(executed)] * len(works)
        result = []
        for work, row, (seconds, joules), share in zip(
            works, self.priced, executions, host, strict=True
        ):
            waiting = per_host_s * share
            result.append(
                RowPrice(
                    seconds + waiting,
                    joules + self._base_w[mode] * waiting,
                    bound_seconds(work, row.prior.time),
                    "" if drawn else _limit(work, row, waiting),
                )
            )
        return result

    def least_seconds(self, works: Sequence[RowWork]) -> Value:
        """The datasheet's bound of the whole inference: the sum of its rows' bounds."""
        return sum(
            (
                w.count * bound_seconds(w, row.prior.time)
                for w, row in zip(self._performed(works), self.priced, strict=True)
            ),
            0.0,
        )

    def _performed(self, works: Sequence[RowWork]) -> list[RowWork]:
        return [performed(row.kind, work) for row, work in zip(self.rows, works, strict=True)]

    def _gap(self, device_s: Value, host_s: Value) -> Value:
        """Seconds of an inference in which the device waits for the host."""
        if not self.rows:
            return 0.0
        host_s = host_s + self._host.run_s
        return np.maximum(host_s - device_s, 0.0) if self._host.overlaps else host_s

    def _priced(self, row: Row) -> PricedRow:
        device, draws = self.device, self._draws
        prior = PriorRow(row, device, self._model, draws, self._base_w)
        times = serving(device, row, self.runtime.name, "time")
        energies = serving(device, row, self.runtime.name, "energy")
        time: Any = prior
        if times:
            chip = device.chip(row.dtype)
            time = by_regime(
                row, {f.regime: FittedTimeRow(row, f, chip, prior.time, draws) for f in times}
            )
        energy: Any = prior
        if energies:
            energy = by_regime(row, {f.regime: FittedEnergyRow(row, f, draws) for f in energies})
        return PricedRow(
            prior,
            time,
            energy,
            self._host_s(row),
            time.basis if times else device.provenance.time,
            energy.basis if energies else device.provenance.energy,
            times[0] if times else None,
        )

    def _host_s(self, row: Row) -> Views[Value]:
        host_s = self._host.launch_s * row.kernels if row.kernels else self._host.view_s
        name, spread = f"host {self.runtime.name}", self.runtime.spread
        return Views(host_s, lambda: host_s * self._draws.factor(name, spread))

    def _drawn_base_w(self) -> Array:
        energy = self._model.energy
        base_w = energy.base_w * self._draws.factor("base", self.spread.base)
        # A base at the cap would leave no power to work with.
        return np.minimum(base_w, 0.9 * energy.cap_w)


def host_cost(device: Device, runtime: Runtime) -> HostCost:
    """What the host spends: as measured on the device under that runtime, else as the runtime says."""
    return device.host.get(runtime.name) or runtime.host[device.kind]


def _mode(drawn: bool, points: bool) -> Mode:
    return (Mode.POINTS if points else Mode.DRAWN) if drawn else Mode.CENTRAL


def _execution(work: RowWork, row: PricedRow, mode: Mode) -> tuple[Value, Value]:
    """Seconds on the device and joules of one execution."""
    seconds = row.time.seconds(work, mode)
    return seconds, row.energy.joules(work, seconds, mode)


def _limit(work: RowWork, row: PricedRow, waiting: Value) -> str:
    parts = row.time.limits(work)
    # For an array of points, what binds at most of the summed time.
    sums = {name: float(np.sum(seconds)) for name, seconds in parts.items()}
    sums["launch"] += float(np.sum(waiting))
    return max(sums, key=lambda name: sums[name])
