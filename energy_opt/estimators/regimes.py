"""Kinds of work whose sizes decide which of several fits serves them, such as prefill and decode of attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from energy_opt.estimators.drawing import Mode
from energy_opt.estimators.forms import attention
from energy_opt.estimators.work import RowWork
from energy_opt.ir.dims import Value
from energy_opt.ir.row import Row


def by_regime(row: Row, models: Mapping[str, Any]) -> Any:
    """What prices the row: the model itself where there is one, else a choice by the sizes of each execution."""
    return next(iter(models.values())) if len(models) == 1 else _ByRegime(row.kind, models)


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


_NEAREST = {"prefill": "encoder", "encoder": "prefill"}
"""Whose measurements serve where a regime has none."""


class _ByRegime:
    """Seconds or joules of a row whose sizes decide, execution by execution, which of several fits serves it."""

    def __init__(self, kind: str, rows: Mapping[str, Any]) -> None:
        self._kind, self.rows = kind, dict(rows)
        self.basis = next(iter(self.rows.values())).basis

    def seconds(self, work: RowWork, mode: Mode) -> Value:
        """Seconds on the device."""
        found: Value = self._choose(work, lambda row: row.seconds(work, mode))
        return found

    def joules(self, work: RowWork, seconds: Value, mode: Mode) -> Value:
        """Joules of an execution that takes that long."""
        found: Value = self._choose(work, lambda row: row.joules(work, seconds, mode))
        return found

    def limits(self, work: RowWork) -> dict[str, Value]:
        """Seconds that the arithmetic, the traffic and the start alone would take."""
        limits = {name: row.limits(work) for name, row in self.rows.items()}
        first = next(iter(limits.values()))
        return {
            part: self._pick(work, {n: found[part] for n, found in limits.items()})
            for part in first
        }

    def _choose(self, work: RowWork, value: Callable[[Any], Any]) -> Any:
        return self._pick(work, {name: value(row) for name, row in self.rows.items()})

    def _pick(self, work: RowWork, values: Mapping[str, Any]) -> Any:
        regime = regime_of(self._kind, work.sizes)
        if isinstance(regime, str):
            return values[self._served(regime)]
        found: Any = next(iter(values.values()))
        for name in np.unique(regime):
            found = np.where(regime == name, values[self._served(str(name))], found)
        return found

    def _served(self, regime: str) -> str:
        plain = regime.partition("/")[0]
        near = (regime, plain, _NEAREST.get(plain, ""), *self.rows)
        return next(name for name in near if name in self.rows)
