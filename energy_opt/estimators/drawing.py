"""How coefficients are looked at: centrally, as joint draws, or as joint draws beside an axis of points."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

import numpy as np

from energy_opt.estimators.interval import Array, lognormal
from energy_opt.ir.dims import Value

T = TypeVar("T")


class Mode(enum.Enum):
    """`CENTRAL`: floats. `DRAWN`: arrays [draws]. `POINTS`: arrays [draws, 1], which broadcast with points."""

    CENTRAL = 0
    DRAWN = 1
    POINTS = 2


@dataclass(frozen=True, slots=True)
class Draws:
    """Named factors around 1, joint over everything on one device: the same name gives the same draws."""

    device: str
    count: int

    def factor(self, name: str, spread: float) -> Array:
        """Factors[draws] whose logarithm has that standard deviation."""
        return lognormal(f"{self.device}/{name}", spread, self.count)


class Views(Generic[T]):
    """Something in the three modes: the central one is given, the drawn one is made when it is first asked for."""

    def __init__(self, central: T, draw: Callable[[], T]) -> None:
        self._draw = draw
        self._found: dict[Mode, T] = {Mode.CENTRAL: central}

    def __getitem__(self, mode: Mode) -> T:
        if mode not in self._found:
            self._found[mode] = self._draw() if mode is Mode.DRAWN else columns(self[Mode.DRAWN])
        return self._found[mode]


def columns(drawn: Any) -> Any:
    """The same with an axis for points behind that of the draws, in records and mappings as well."""
    if isinstance(drawn, np.ndarray):
        return drawn[:, None]
    if isinstance(drawn, Mapping):
        return {name: columns(value) for name, value in drawn.items()}
    if hasattr(drawn, "__dataclass_fields__"):
        return replace(drawn, **{f.name: columns(getattr(drawn, f.name)) for f in fields(drawn)})
    return drawn


def nonzero(value: Value) -> Any:
    """The value, with 1 in the place of 0, to divide by."""
    return np.where(value == 0, 1.0, value) if isinstance(value, np.ndarray) else (value or 1.0)
