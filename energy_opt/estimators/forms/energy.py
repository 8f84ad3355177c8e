"""Joules of one execution whose seconds are known: base power, arithmetic, traffic, within the power cap."""

from __future__ import annotations

import numpy as np

from energy_opt.estimators.forms.form import At, Parameter
from energy_opt.estimators.work import RowWork
from energy_opt.ir.dims import Value

PARAMETERS = (
    Parameter("base_w", "W", 50.0, 0.0, 1e5, "power for as long as it runs, idle included"),
    Parameter("cap_w", "W", 300.0, 1.0, 1e5, "the most that it draws on average"),
    Parameter("flop_j", "J/FLOP", 1e-12, 0.0, 1.0, "one FLOP of a matrix product"),
    Parameter("vector_flop_j", "J/FLOP", 1e-11, 0.0, 1.0, "one other FLOP"),
    Parameter("byte_j", "J/byte", 1e-10, 0.0, 1.0, "one byte read or written"),
    Parameter("start_j", "J", 0.0, 0.0, 1.0, "one execution, however small"),
)


def dynamic(work: RowWork, at: At) -> Value:
    """Joules of one execution beyond the base power, before the cap."""
    return (
        at["flop_j"] * work.matmul_flops
        + at["vector_flop_j"] * work.other_flops
        + at["byte_j"] * work.bytes
        + at["start_j"]
    )


def joules(work: RowWork, seconds: Value, at: At) -> Value:
    """Joules of one execution that takes that long: never more than the cap allows in that time."""
    return np.minimum(at["base_w"] * seconds + dynamic(work, at), at["cap_w"] * seconds)
