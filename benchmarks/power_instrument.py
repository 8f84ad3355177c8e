"""What the power readings of aiconfigurator's tables show: the work, and the second before it.

NVML's power on these boards is the mean of the last second, read every 0.1 s from when the work begins. Of n readings
the first shows the second before alone, the tenth a tenth of it. Tests that take long to set up leave the device idle
for that second, others keep it busy with the same work; which of the two, a table does not say. It is a habit of the
collecting program with the shape, so it is looked up among other shapes: the median of the nearest that were measured
in the same collection. Neighbouring rows say nothing (tests ran on several devices at once).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from energy_opt.calibrate.energy_solver import Readings, solve

Array = np.ndarray[Any, np.dtype[np.float64]]

NEAREST = 8
ROUNDS = 3


def window_share(readings: Array) -> Array:
    """The part of the mean of n readings, 0.1 s apart, that is of the second before the first.

    n = 1: 1; n = 5: (1 + .9 + .8 + .7 + .6) / 5 = 0.8; n = 20: 5.5 / 20.
    """
    n = np.asarray(readings, dtype=np.float64)
    return np.asarray(np.where(n <= 11, 1 - 0.05 * (n - 1), 5.5 / np.maximum(n, 1)))


@dataclass(frozen=True)
class Instrument:
    """Coefficients of the work, and how idle the second before the tests of each known shape was."""

    at: Array
    places: Array
    scale: Array
    idle: Array

    def idle_share(self, shape: Array, readings: Array) -> Array:
        """The part of each reading that is of an idle device, as far as other shapes tell."""
        count = min(NEAREST, len(self.places))
        near = cKDTree(self.places).query(shape / self.scale, k=count)[1].reshape(len(shape), -1)
        return np.asarray(
            np.clip(window_share(readings) * np.median(self.idle[near], axis=1), 0, 0.95)
        )


def fit_instrument(readings: Readings, shape: Array, count: Array, prior: Any = None) -> Instrument:
    """Coefficients of the work and the idleness before it, by turns.

    They begin at the upper of the two levels that readings of the same work fall on: the work's own power.
    """
    scale = shape.std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1.0)
    places = shape / scale
    at = _upper(readings, prior)
    near = (
        cKDTree(places).query(places, k=min(NEAREST + 1, len(places)))[1].reshape(len(places), -1)
    )
    window = window_share(count)
    plain = replace(readings, idle_share=np.zeros(len(window)))
    idle = np.zeros(len(window))
    for _ in range(ROUNDS):
        work_w = plain.predicted(at)
        idle = (work_w - readings.power_w) / np.maximum(
            window * (work_w - readings.idle_w), 0.05 * readings.unit_w
        )
        idle = np.clip(idle, 0, 1)
        # A reading must not explain itself: its own place is the first of the nearest.
        share = window * np.median(idle[near[:, 1:]], axis=1) if near.shape[1] > 1 else 0 * idle
        at = solve(replace(readings, idle_share=np.clip(share, 0, 0.95)), prior=prior)
    return Instrument(at, places, scale, idle)


def _upper(readings: Readings, prior: Any) -> Array:
    weights = np.ones(len(readings.power_w))
    at = solve(readings, weights, prior)
    for _ in range(ROUNDS):
        weights = np.where(readings.predicted(at) > 1.02 * readings.power_w, 0.12, 1.0)
        at = solve(readings, weights, prior)
    return at
