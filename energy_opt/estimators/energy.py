"""Joules of rows of work: base power for as long as it takes, plus dynamic energy, never above the power cap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_opt.estimators.coefficients import EnergyModel
from energy_opt.estimators.device import Device
from energy_opt.estimators.work import RowWork
from energy_opt.ir.dims import Value
from energy_opt.ir.row import Row


@dataclass(frozen=True, slots=True)
class RowEnergy:
    """Energy coefficients of one row on one device; arrays where they were drawn."""

    base_w: Value
    cap_w: float
    per_matmul_flop_j: Value
    per_other_flop_j: Value
    per_byte_j: Value
    start_j: Value


def row_energy(row: Row, device: Device, model: EnergyModel) -> RowEnergy:
    """The central coefficients of the row on the device."""
    factor = model.factors.get(row.kind, 1.0)
    arithmetic = device.arithmetic(row.dtype)
    return RowEnergy(
        base_w=model.base_w,
        cap_w=model.cap_w,
        per_matmul_flop_j=factor * model.flop_j.get(arithmetic, model.flop_j["float32"]),
        per_other_flop_j=factor * model.vector_flop_j,
        per_byte_j=factor * model.byte_j,
        start_j=model.start_j * row.kernels,
    )


def dynamic_joules(work: RowWork, at: RowEnergy) -> Value:
    """Joules of one execution beyond the base power: arithmetic, traffic, kernel starts."""
    joules = work.bytes * at.per_byte_j + at.start_j
    if not (isinstance(work.matmul_flops, float) and work.matmul_flops == 0.0):
        joules = joules + work.matmul_flops * at.per_matmul_flop_j
    if not (isinstance(work.other_flops, float) and work.other_flops == 0.0):
        joules = joules + work.other_flops * at.per_other_flop_j
    return joules


def capped_seconds(seconds: Value, dynamic: Value, at: RowEnergy) -> Value:
    """Seconds once the device has slowed down so far that its mean power is within the cap."""
    return np.maximum(seconds, dynamic * (1.0 / (at.cap_w - at.base_w)))
