"""Rows of work to seconds and joules on a device under a runtime, centrally or for joint draws of the coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from energy_opt.estimators.device import Device
from energy_opt.estimators.energy import RowEnergy, capped_seconds, dynamic_joules, row_energy
from energy_opt.estimators.interval import DRAWS, Array, lognormal
from energy_opt.estimators.latency import (
    RowTime,
    bound_seconds,
    busy_seconds,
    compute_seconds,
    matrix_field,
    memory_seconds,
    row_time,
)
from energy_opt.estimators.runtime import Runtime
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


@dataclass(frozen=True, slots=True)
class _RowCoefficients:
    time: RowTime
    energy: RowEnergy
    host_s: Value
    busy_factor: Value = 1.0
    dynamic_factor: Value = 1.0
    central: tuple[RowTime, RowEnergy] | None = None
    explicit: bool = False


class Pricer:
    """Prices a fixed list of rows on one device under one runtime."""

    def __init__(self, rows: Sequence[Row], device: Device, runtime: Runtime) -> None:
        self.rows, self.device, self.runtime = tuple(rows), device, runtime
        self._model = device.coefficients()
        self._host = runtime.host[device.kind]
        self._central = [self._coefficients(row) for row in self.rows]
        self._drawn: list[_RowCoefficients] | None = None
        self.spread = self._model.spread
        lengths = {len(values) for values in self._model.draws.values()}
        self.draws = lengths.pop() if lengths else DRAWS

    def totals(
        self, works: Sequence[RowWork], *, drawn: bool = False, points: bool = False
    ) -> Totals:
        """Seconds and joules of an inference; with `drawn`, [draws] of them, or [draws, points]."""
        coefficients, base_w = self._choose(drawn)
        if points:
            coefficients = [_as_columns(at) for at in coefficients]
            base_w = _column(base_w)
        device_s: Value = 0.0
        dynamic_j: Value = 0.0
        host_s: Value = 0.0
        for work, at in zip(works, coefficients, strict=True):
            seconds, joules = _execution(work, at)
            device_s = device_s + work.count * seconds
            dynamic_j = dynamic_j + work.count * joules
            host_s = host_s + work.count * at.host_s
        latency_s = device_s + self._gap(device_s, host_s)
        return Totals(latency_s, base_w * latency_s + dynamic_j)

    def prices(self, works: Sequence[RowWork], *, drawn: bool = False) -> list[RowPrice]:
        """The price of one execution of every row; times their counts they sum to the totals."""
        coefficients, base_w = self._choose(drawn)
        executions = [_execution(w, at) for w, at in zip(works, coefficients, strict=True)]
        host = [at.host_s for at in coefficients]
        device_s: Value = sum(
            (w.count * s for w, (s, _) in zip(works, executions, strict=True)), 0.0
        )
        host_s: Value = sum((w.count * s for w, s in zip(works, host, strict=True)), 0.0)
        # Time in which the device waits for the host belongs to the rows in proportion to what they make the host do.
        per_host_s = self._gap(device_s, host_s) / _nonzero(host_s)
        if _is_zero(host_s):
            executed = sum((work.count for work in works), 0.0)
            per_host_s = self._gap(device_s, host_s)
            host = [1.0 / _nonzero(executed)] * len(works)
        result = []
        for work, at, (seconds, dynamic), share in zip(
            works, coefficients, executions, host, strict=True
        ):
            waiting = per_host_s * share
            latency_s = seconds + waiting
            result.append(
                RowPrice(
                    latency_s,
                    base_w * latency_s + dynamic,
                    bound_seconds(work, at.time),
                    "" if drawn else _limit(work, at, waiting),
                )
            )
        return result

    def least_seconds(self, works: Sequence[RowWork]) -> Value:
        """The datasheet's bound of the whole inference: the sum of its rows' bounds."""
        return sum(
            (
                w.count * bound_seconds(w, at.time)
                for w, at in zip(works, self._central, strict=True)
            ),
            0.0,
        )

    def _gap(self, device_s: Value, host_s: Value) -> Value:
        """Seconds of an inference in which the device waits for the host."""
        if not self.rows:
            return 0.0
        host_s = host_s + self._host.run_s
        return np.maximum(host_s - device_s, 0.0) if self._host.overlaps else host_s

    def _coefficients(self, row: Row) -> _RowCoefficients:
        host_s = self._host.launch_s * row.kernels if row.kernels else self._host.view_s
        return _RowCoefficients(
            row_time(row, self.device, self._model.time),
            row_energy(row, self.device, self._model.energy),
            host_s,
        )

    def _choose(self, drawn: bool) -> tuple[list[_RowCoefficients], Value]:
        if not drawn:
            return self._central, self._model.energy.base_w
        base_w = self._drawn_base_w()
        if self._drawn is None:
            self._drawn = [
                self._draw(row, at, base_w)
                for row, at in zip(self.rows, self._central, strict=True)
            ]
        return self._drawn, base_w

    def _drawn_base_w(self) -> Array:
        model = self._model
        explicit = model.draws.get("energy.base_w")
        base_w = (
            model.energy.base_w * self._factor("base", model.spread.base)
            if explicit is None
            else np.array(explicit)
        )
        # A base at the cap would leave no power to work with.
        return np.minimum(base_w, 0.9 * model.energy.cap_w)

    def _factor(self, name: str, spread: float) -> Array:
        return lognormal(f"{self.device.name}/{name}", spread, self.draws)

    def _draw(self, row: Row, at: _RowCoefficients, base_w: Array) -> _RowCoefficients:
        spread = self._model.spread
        own = f"{row.kind}/{row.op}/{row.dtype}/{row.matmul_flops}/{row.bytes_read}/{row.sizes}"
        kind_s = spread.kinds.get(row.kind, spread.kinds["other"])
        row_s = spread.rows.get(row.kind, spread.rows["other"])
        start = self._factor("start", spread.start)
        busy = self._factor("time row " + own, row_s)
        # What a row takes longer than its counts say, because it does more, also costs more.
        dynamic = busy * self._factor("energy row " + own, spread.energy_rows)
        time, energy = at.time, at.energy
        if self._model.draws:
            time, energy = self._explicit(row, at)
        else:
            # A fitted profile's draws carry what its rows share; a prior's are made from its spread.
            kind = self._factor(f"time {row.kind}", kind_s)
            busy, dynamic = busy * kind, dynamic * kind
            busy = busy * self._factor("time", spread.time)
            dynamic = dynamic * self._factor("energy", spread.energy)
            dynamic = dynamic * self._factor(f"energy {row.kind}", spread.energy_kinds)
            time = replace(time, start_s=time.start_s * start)
        return _RowCoefficients(
            time,
            replace(energy, base_w=base_w),
            at.host_s * self._factor(f"host {self.runtime.name}", self.runtime.spread),
            busy,
            dynamic,
            (at.time, at.energy),
            bool(self._model.draws),
        )

    def _explicit(self, row: Row, at: _RowCoefficients) -> tuple[RowTime, RowEnergy]:
        model, draws = self._model, self._model.draws
        kind = row.kind if row.kind in model.time.kinds else "other"
        prefix = f"time.kinds.{kind}."
        central = model.time.kind(kind)

        def scaled(value: Value, field: str, power: int = -1) -> Value:
            drawn = draws.get(prefix + field)
            if drawn is None:
                return value
            ratio = np.array(drawn) / _nonzero(getattr(central, field))
            result: Value = value * ratio**power
            return result

        def energy_scaled(value: Value, field: str, base: float) -> Value:
            drawn = draws.get(f"energy.{field}")
            return value if drawn is None else value * (np.array(drawn) / _nonzero(base))

        time = replace(
            at.time,
            start_s=scaled(at.time.start_s, "start_s", 1),
            per_matmul_flop_s=scaled(
                at.time.per_matmul_flop_s, matrix_field(self.device, row.dtype)
            ),
            per_other_flop_s=scaled(at.time.per_other_flop_s, "vector"),
            per_byte_s=scaled(at.time.per_byte_s, "memory"),
        )
        arithmetic = self.device.arithmetic(row.dtype)
        arithmetic = arithmetic if arithmetic in model.energy.flop_j else "float32"
        energy = replace(
            at.energy,
            per_matmul_flop_j=energy_scaled(
                at.energy.per_matmul_flop_j, f"flop_j.{arithmetic}", model.energy.flop_j[arithmetic]
            ),
            per_other_flop_j=energy_scaled(
                at.energy.per_other_flop_j, "vector_flop_j", model.energy.vector_flop_j
            ),
            per_byte_j=energy_scaled(at.energy.per_byte_j, "byte_j", model.energy.byte_j),
            start_j=energy_scaled(at.energy.start_j, "start_j", model.energy.start_j),
        )
        return time, energy


def _execution(work: RowWork, at: _RowCoefficients) -> tuple[Value, Value]:
    """Seconds on the device and dynamic joules of one execution."""
    busy = busy_seconds(work, at.time)
    dynamic = dynamic_joules(work, at.energy)
    if at.central is None:
        return capped_seconds(busy + at.time.start_s, dynamic, at.energy), dynamic
    drawn = np.maximum(busy * at.busy_factor, bound_seconds(work, at.time)) + at.time.start_s
    dynamic = dynamic * at.dynamic_factor
    if at.explicit:
        return capped_seconds(drawn, dynamic, at.energy), dynamic
    # A prior's times were fitted to devices that throttle: an unlucky draw of the energy says that the device is at its
    # cap, not that it is slower still.
    central = busy_seconds(work, at.central[0]) + at.central[0].start_s
    slowed = capped_seconds(central, dynamic_joules(work, at.central[1]), at.central[1])
    drawn = drawn * (slowed / _nonzero(central))
    return drawn, np.minimum(dynamic, (at.energy.cap_w - at.energy.base_w) * drawn)


def _limit(work: RowWork, at: _RowCoefficients, waiting: Value) -> str:
    parts = {
        "compute": compute_seconds(work, at.time),
        "memory": memory_seconds(work, at.time),
        "launch": at.time.start_s + waiting,
    }
    # For an array of points, what binds at most of the summed time.
    sums = {name: float(np.sum(seconds)) for name, seconds in parts.items()}
    return max(sums, key=lambda name: sums[name])


def _nonzero(value: Any) -> Any:
    return np.where(value == 0, 1.0, value) if isinstance(value, np.ndarray) else (value or 1.0)


def _column(value: Any) -> Any:
    return value[:, None] if isinstance(value, np.ndarray) else value


def _as_columns(at: _RowCoefficients) -> _RowCoefficients:
    """The drawn coefficients with an axis for points."""
    return replace(
        at,
        time=_columns(at.time),
        energy=_columns(at.energy),
        host_s=_column(at.host_s),
        busy_factor=_column(at.busy_factor),
        dynamic_factor=_column(at.dynamic_factor),
    )


def _columns(coefficients: Any) -> Any:
    drawn = {f.name: _column(getattr(coefficients, f.name)) for f in fields(coefficients)}
    return replace(coefficients, **drawn)


def _is_zero(value: Value) -> bool:
    return not np.any(value)
