"""Kinds of work whose sizes decide which of several fits serves them, such as prefill and decode of attention."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from energy_opt.estimators.drawing import Mode
from energy_opt.estimators.fitted import Fitted
from energy_opt.estimators.forms import attention
from energy_opt.estimators.work import RowWork
from energy_opt.ir.dims import Value
from energy_opt.ir.row import Row


def by_regime(row: Row, models: Mapping[str, Any], otherwise: Any) -> Any:
    """What prices the row: the model itself where it is of no regime, else a choice by the sizes of each execution.

    `otherwise` prices executions of regimes that no measurement is like.
    """
    return models[""] if set(models) == {""} else _ByRegime(row.kind, models, otherwise)


def regime_of(kind: str, sizes: Mapping[str, Value]) -> Any:
    """The regime's name, or an array of names over points; empty where the kind has none.

    Kernels of their own serve products of one pair of matrices (`single`) and of many (`batched`); attention's regimes
    are those of `forms.attention.regime`.
    """
    if kind == "attention" and {"q", "kv"} <= sizes.keys():
        found = attention.regime(sizes)
    elif kind == "matmul" and "b" in sizes:
        found = np.where(np.asarray(sizes["b"]) == 1, "single", "batched")
    else:
        return ""
    return found if found.ndim else str(found)


_NEAREST = {"prefill": "encoder", "encoder": "prefill", "single": "batched", "batched": "single"}
"""Whose measurements serve where a regime has none."""


def serves(regime: str, regimes: Collection[str]) -> str | None:
    """Which of the measured regimes serves executions of that one; None where none is like it.

    Where sizes do not tell the regime, whatever was measured serves.
    """
    plain = regime.partition("/")[0]
    near = (regime, plain, "", _NEAREST.get(plain, ""), *(() if regime else regimes))
    return next((name for name in near if name in regimes), None)


_LIMITS = ("compute", "memory", "launch")


def _limit(work: RowWork, name: str) -> Callable[[Any], Any]:
    return lambda row: row.limits(work)[name]


class _ByRegime:
    """Seconds or joules of a row whose sizes decide, execution by execution, which of several fits serves it."""

    def __init__(self, kind: str, rows: Mapping[str, Any], otherwise: Any) -> None:
        self._kind, self._rows, self._otherwise = kind, dict(rows), otherwise

    def seconds(self, work: RowWork, mode: Mode) -> Value:
        """Seconds on the device."""
        found: Value = self._pick(work, lambda row: row.seconds(work, mode))
        return found

    def joules(self, work: RowWork, seconds: Value, mode: Mode) -> Value:
        """Joules of an execution that takes that long."""
        found: Value = self._pick(work, lambda row: row.joules(work, seconds, mode))
        return found

    def limits(self, work: RowWork) -> dict[str, Value]:
        """Seconds that the arithmetic, the traffic and the start alone would take."""
        return {name: self._pick(work, _limit(work, name)) for name in _LIMITS}

    def fit_of(self, work: RowWork) -> Fitted | None:
        """The fit that serves the execution, of those that serve any where there are many; None for the priors."""
        regime = np.unique(np.asarray(regime_of(self._kind, work.sizes)))
        found = [self._row(str(name)).fit_of(work) for name in regime]
        return next((fit for fit in found if fit is not None), None)

    def _row(self, regime: str) -> Any:
        name = serves(regime, self._rows)
        return self._otherwise if name is None else self._rows[name]

    def _pick(self, work: RowWork, value: Callable[[Any], Any]) -> Any:
        regime = regime_of(self._kind, work.sizes)
        if isinstance(regime, str):
            return value(self._row(regime))
        found: Any = 0.0
        for name in np.unique(regime):
            found = np.where(regime == name, value(self._row(str(name))), found)
        return found
