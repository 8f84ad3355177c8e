"""One row on a device where such rows were measured: seconds and joules from what the profile's fits say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from energy_opt.estimators.drawing import Draws, Mode, Views
from energy_opt.estimators.fitted import Fitted, FittedEnergy, FittedTime
from energy_opt.estimators.forms import FORMS, Chip
from energy_opt.estimators.forms import energy as energy_form
from energy_opt.estimators.latency import RowTime, bound_seconds
from energy_opt.estimators.prior_row import row_name
from energy_opt.estimators.work import RowWork
from energy_opt.ir.dims import Value
from energy_opt.ir.row import Row

SHARED = {"measured": 0.02, "fitted": 0.06, "modelled": 0.15}
"""How far all rows of a kind are off together, as a standard deviation of the logarithm, by what the fit rests on.

Measured on that very board: its own drift. Published: units of one part differ by up to 8 %, and so do drivers and
libraries. Source: docs/estimators.md, "Intervals".
"""


class FittedTimeRow:
    """Seconds of one execution of a row, by a fit of its kind and type."""

    def __init__(self, row: Row, fitted: Fitted, chip: Chip, bound: RowTime, draws: Draws) -> None:
        assert fitted.time is not None
        self.time, self.fitted = bound, fitted
        self._fit, self._form, self._chip = fitted.time, FORMS[fitted.time.form], chip
        self._at = _views(f"time {fitted.kind} {fitted.dtype}", row, fitted.time, draws)

    def seconds(self, work: RowWork, mode: Mode) -> Value:
        """Seconds on the device, its start included: never under the datasheet's bound."""
        at = self._at[mode]
        seconds = self._form.parts(_sized(work), self._chip, at.parameters).total_s
        if mode is not Mode.CENTRAL:
            seconds = seconds * at.shared * np.exp(at.own * spread(self.fitted, self._fit, work))
        return np.maximum(seconds, bound_seconds(work, self.time))

    def fit_of(self, work: RowWork) -> Fitted | None:
        """The fit, whatever the execution."""
        return self.fitted

    def limits(self, work: RowWork) -> dict[str, Value]:
        """Seconds that the arithmetic, the traffic and the start alone would take."""
        parts = self._form.parts(_sized(work), self._chip, self._fit.at)
        return {"compute": parts.compute_s, "memory": parts.memory_s, "launch": parts.start_s}


class FittedEnergyRow:
    """Joules of one execution of a row, by a fit of its kind and type, within the device's own power limit."""

    def __init__(self, row: Row, fitted: Fitted, limit_w: float, draws: Draws) -> None:
        assert fitted.energy is not None
        self.fitted, self._fit, self._limit_w = fitted, fitted.energy, limit_w
        self._at = _views(f"energy {fitted.kind} {fitted.dtype}", row, fitted.energy, draws)

    def joules(self, work: RowWork, seconds: Value, mode: Mode) -> Value:
        """Joules of an execution that takes that long: never over the power cap."""
        at = self._at[mode]
        joules = energy_form.joules(work, seconds, at.parameters)
        if mode is not Mode.CENTRAL:
            joules = joules * at.shared * np.exp(at.own * spread(self.fitted, self._fit, work))
        return np.minimum(joules, np.minimum(at.parameters["cap_w"], self._limit_w) * seconds)

    def fit_of(self, work: RowWork) -> Fitted | None:
        """The fit, whatever the execution."""
        return self.fitted


def spread(fitted: Fitted, fit: FittedTime | FittedEnergy, work: RowWork) -> Value:
    """Standard deviation of the logarithm of a row's error: less and less sure with every factor e outside the box."""
    return np.minimum(fit.errors.log_sd * (1.0 + outside(fitted, work)), _WIDEST)


def outside(fitted: Fitted, work: RowWork) -> Value:
    """How far the work lies outside of what was measured: 0 inside, the logarithm of the largest factor outside."""
    quantities = {"flops": work.matmul_flops, "other_flops": work.other_flops, "bytes": work.bytes}
    result: Value = 0.0
    for name, (low, high) in fitted.box.items():
        value = quantities.get(name, work.sizes.get(name, 0.0))
        # What a row has nothing of is not outside.
        value = np.where(np.asarray(value) > 0, value, np.clip(1.0, low or 1.0, high or 1.0))
        for factor in (value / (high or np.inf), (low or 0.0) / value):
            result = np.maximum(result, np.log(np.maximum(factor, 1.0)))
    return np.minimum(result, _FARTHEST)


_FARTHEST = 5.0
"""Factors of e outside the box beyond which nothing gets less sure."""

_WIDEST = 5.0
"""Standard deviation of the logarithm beyond which a number says nothing anyhow."""

_COUNTED = frozenset(
    "b b_kv batch m n k q kv d dv images rows columns taps experts hidden inter weights message".split()
)
"""Problem sizes that forms divide by: of what has no elements, one is counted."""


def _sized(work: RowWork) -> RowWork:
    """The work with no problem size of 0, as an operator on an empty tensor has."""
    empty = {n: v for n, v in work.sizes.items() if n in _COUNTED and not np.all(v)}
    if not empty:
        return work
    return replace(work, sizes={**work.sizes, **{n: np.maximum(v, 1.0) for n, v in empty.items()}})


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A fit in one mode: its parameters, what its rows have in common, and scores of the row's own error."""

    parameters: Mapping[str, Value]
    shared: Value = 1.0
    own: Value = 0.0


def _views(name: str, row: Row, fit: FittedTime | FittedEnergy, draws: Draws) -> Views[_Drawn]:
    def draw() -> _Drawn:
        parameters = {
            name: np.resize(np.asarray(fit.draws[name]), draws.count)
            if name in fit.draws
            else value
            for name, value in fit.at.items()
        }
        own = np.log(draws.factor(f"{name.partition(' ')[0]} row {row_name(row)}", 1.0))
        return _Drawn(parameters, draws.factor(name, SHARED[fit.basis]), own)

    return Views(_Drawn(fit.at), draw)
