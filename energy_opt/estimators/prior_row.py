"""One row on a device whose datasheet is all that is known of such rows: seconds and joules from the priors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from energy_opt.estimators.coefficients import Coefficients
from energy_opt.estimators.device import Device
from energy_opt.estimators.drawing import Draws, Mode, Views, nonzero
from energy_opt.estimators.energy import RowEnergy, capped_seconds, dynamic_joules, row_energy
from energy_opt.estimators.latency import (
    RowTime,
    bound_seconds,
    busy_seconds,
    compute_seconds,
    memory_seconds,
    row_time,
)
from energy_opt.estimators.work import RowWork
from energy_opt.ir.dims import Value
from energy_opt.ir.row import Row


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The coefficients in one mode; the factors are 1 in the central one."""

    time: RowTime
    energy: RowEnergy
    busy: Value = 1.0
    dynamic: Value = 1.0


class PriorRow:
    """Seconds and joules of one execution of a row, by the priors for the device's kind."""

    def __init__(
        self, row: Row, device: Device, model: Coefficients, draws: Draws, base_w: Views[Value]
    ) -> None:
        self._row, self._model, self._draws, self._base_w = row, model, draws, base_w
        self.time = row_time(row, device, model.time)
        self._energy = row_energy(row, device, model.energy)
        self._at = Views(_Drawn(self.time, self._energy), self._draw)

    def seconds(self, work: RowWork, mode: Mode) -> Value:
        """Seconds on the device, its start included, slowed down as far as the power cap demands."""
        at = self._at[mode]
        central = busy_seconds(work, self.time) + self.time.start_s
        slowed = capped_seconds(central, dynamic_joules(work, self._energy), self._energy)
        if mode is Mode.CENTRAL:
            return slowed
        # The priors' times were fitted to devices that throttle: an unlucky draw of the energy says that the device is
        # at its cap, not that it is slower still.
        drawn = np.maximum(busy_seconds(work, at.time) * at.busy, bound_seconds(work, at.time))
        seconds: Value = (drawn + at.time.start_s) * (slowed / nonzero(central))
        return seconds

    def joules(self, work: RowWork, seconds: Value, mode: Mode) -> Value:
        """Joules of an execution that takes that long."""
        at = self._at[mode]
        dynamic = dynamic_joules(work, at.energy) * at.dynamic
        return at.energy.base_w * seconds + np.minimum(
            dynamic, (at.energy.cap_w - at.energy.base_w) * seconds
        )

    def fit_of(self, work: RowWork) -> None:
        """None: no fit serves the row."""

    def limits(self, work: RowWork) -> dict[str, Value]:
        """Seconds that the arithmetic, the traffic and the start alone would take."""
        return {
            "compute": compute_seconds(work, self.time),
            "memory": memory_seconds(work, self.time),
            "launch": self.time.start_s,
        }

    def _draw(self) -> _Drawn:
        row, spread, factor = self._row, self._model.spread, self._draws.factor
        own = row_name(row)
        kind_s = spread.kinds.get(row.kind, spread.kinds["other"])
        row_s = spread.rows.get(row.kind, spread.rows["other"])
        longer = factor(f"time {row.kind}", kind_s) * factor("time row " + own, row_s)
        # What takes longer than its counts say, because it does more, also costs more.
        dynamic = longer * factor("energy row " + own, spread.energy_rows)
        dynamic = dynamic * factor("energy", spread.energy)
        dynamic = dynamic * factor(f"energy {row.kind}", spread.energy_kinds)
        start_s = self.time.start_s * factor("start", spread.start)
        return _Drawn(
            replace(self.time, start_s=start_s),
            replace(self._energy, base_w=self._base_w[Mode.DRAWN]),
            longer * factor("time", spread.time),
            dynamic,
        )


def row_name(row: Row) -> str:
    """What tells a row from others on any device: equal rows of two models share their draws."""
    return f"{row.kind}/{row.op}/{row.dtype}/{row.matmul_flops}/{row.bytes_read}/{row.sizes}"
