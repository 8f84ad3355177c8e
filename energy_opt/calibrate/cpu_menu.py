"""Which forms of the time equation are tried for what was timed on a CPU."""

from __future__ import annotations

from energy_opt.calibrate.samples import Samples
from energy_opt.estimators.device import Device

_FEWEST = 15
"""Fewer points than these settle no more than a line."""

_PRODUCTS = frozenset({"matmul", "conv"})


def forms_of(device: Device, samples: Samples) -> tuple[str, ...] | None:
    """Names of the forms to choose from; None where the device is no CPU, which has a menu of its own."""
    if device.kind != "cpu":
        return None
    if len(samples) < _FEWEST:
        return ("linear",)
    return ("linear", "operands") if samples.kind in _PRODUCTS else ("linear", "stream")
