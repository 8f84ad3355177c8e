"""Rows of work to seconds and joules on a device under a runtime, centrally or for joint draws of the coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from energy_opt.estimators.device import Device
from energy_opt.estimators.drawing import Draws, Mode, Views, nonzero
from energy_opt.estimators.fitted import Fitted
from energy_opt.estimators.fitted_row import FittedEnergyRow, FittedTimeRow, outside
from energy_opt.estimators.forms.attention import performed
from energy_opt.estimators.interval import DRAWS
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

    def fit_of(self, work: RowWork) -> Fitted | None:
        """The fit that serves the execution; None for the priors."""


class EnergyOfRow(Protocol):
    """Joules of one execution of a row, within the device's boundary."""

    def joules(self, work: RowWork, seconds: Value, mode: Mode) -> Value:
        """Joules of an execution that takes that long, base power included."""

    def fit_of(self, work: RowWork) -> Fitted | None:
        """The fit that serves the execution; None for the priors."""


@dataclass(frozen=True, slots=True)
class PricedRow:
    """How one row is priced: by fits of such rows, or by the priors. `runtime` is that whose kernels were timed."""

    prior: PriorRow
    time: TimeOfRow
    energy: EnergyOfRow
    host_s: Views[Value]
    runtime: str


@dataclass(frozen=True, slots=True)
class RestsOn:
    """What a row's seconds and joules rest on, and how far outside of what was measured the former are."""

    provenance: str
    energy_provenance: str
    outside: float


class Pricer:
    """Prices a fixed list of rows on one device under one runtime."""

    def __init__(self, rows: Sequence[Row], device: Device, runtime: Runtime) -> None:
        self.rows, self.device, self.runtime = tuple(rows), device, runtime
        self._model = device.coefficients()
        self.spread = self._model.spread
        self.draws = device.draws or DRAWS
        self._draws = Draws(device.name, self.draws)
        self._host = host_cost(device, runtime)
        energy = self._model.energy
        self._base_w = self._base(energy.base_w, self.spread.base)
        self._gap_w = self._base_w
        if device.calibration is not None and device.idle_context_w and device.kind == "gpu":
            # Measured on this board. On a CPU it is the device itself that works in the gaps.
            self._gap_w = self._base(device.idle_context_w, min(self.spread.base, _WAITING))
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
        return Totals(device_s + gap, energy_j + self._gap_w[mode] * gap)

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
                    joules + self._gap_w[mode] * waiting,
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
                row,
                {f.regime: FittedTimeRow(row, f, chip, prior.time, draws) for f in times},
                prior,
            )
        energy: Any = prior
        if energies:
            limit_w = max(device.tdp_w, self._model.energy.cap_w)
            rows = {f.regime: FittedEnergyRow(row, f, limit_w, draws) for f in energies}
            energy = by_regime(row, rows, prior)
        return PricedRow(prior, time, energy, self._host_s(row), times[0].runtime if times else "")

    def rests_on(self, works: Sequence[RowWork]) -> list[RestsOn]:
        """What the prices of every row rest on."""
        given = self.device.provenance
        result = []
        for row, work in zip(self.priced, self._performed(works), strict=True):
            time, energy = row.time.fit_of(work), row.energy.fit_of(work)
            result.append(
                RestsOn(
                    time.time.basis if time and time.time else given.time,
                    energy.energy.basis if energy and energy.energy else given.energy,
                    0.0 if time is None else float(np.max(outside(time, work))),
                )
            )
        return result

    def _host_s(self, row: Row) -> Views[Value]:
        host_s = self._host.launch_s * row.kernels if row.kernels else self._host.view_s
        name, spread = f"host {self.runtime.name}", self.runtime.spread
        return Views(host_s, lambda: host_s * self._draws.factor(name, spread))

    def _base(self, base_w: float, spread: float) -> Views[Value]:
        # A base at the cap would leave no power to work with.
        most_w = max(0.9 * self._model.energy.cap_w, base_w)
        return Views(
            base_w, lambda: np.minimum(base_w * self._draws.factor("base", spread), most_w)
        )


_WAITING = 0.1
"""How far a board that waits between kernels is off from one that idles with a context, as a standard deviation of the
logarithm: its clocks and temperature are those of work. Assumed.
"""


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
