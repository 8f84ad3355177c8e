"""What a form of the time equation is: named parameters, and seconds from the work of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from energy_opt.estimators.work import RowWork
from energy_opt.ir.dims import Value

At = Mapping[str, Value]
"""Values of a form's parameters: floats, or `[draws]` or `[draws, 1]` arrays of joint draws."""


@dataclass(frozen=True, slots=True)
class Chip:
    """The datasheet's facts that a form works with, for arithmetic in one type.

    `peak` is that type's matrix peak in FLOP/s, `vector` the vector units' in FLOP/s, `bandwidth` in bytes/s, `units`
    the number of multiprocessors or cores, `l2_bytes` 0 where nobody knows it, `engine` whether `peak` is a matrix
    engine's. `sustained` is the share of the peak that the power limit leaves, by what is known of energy per FLOP.
    """

    peak: float
    vector: float
    bandwidth: float
    units: int
    l2_bytes: float
    engine: bool
    sustained: float = 1.0


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a form: its unit (`s`, `1` for a fraction, ...), where a fit starts, and its bounds."""

    name: str
    unit: str
    start: float
    low: float
    high: float
    meaning: str


@dataclass(frozen=True, slots=True)
class Parts:
    """Seconds of one execution: `total_s`, and how long the arithmetic, the traffic and the start alone would take."""

    total_s: Value
    compute_s: Value
    memory_s: Value
    start_s: Value


class Form(Protocol):
    """One form of the time equation. Stateless; everything broadcasts over executions and draws."""

    @property
    def name(self) -> str:
        """What profiles call it."""
        ...

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What is fitted."""
        ...

    def parts(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """Seconds of one execution of the work, on that chip, with those parameters."""
        ...
