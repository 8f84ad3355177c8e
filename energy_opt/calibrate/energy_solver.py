"""Watts of executions as a non-negative sum within a power cap: the least squares under every fit of energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import nnls

from energy_opt.estimators.device import Device
from energy_opt.estimators.work import RowWork

Array = np.ndarray[Any, np.dtype[np.float64]]

NAMES = ("base_w", "flop_j", "vector_flop_j", "byte_j", "start_j")
"""The coefficients in the order of the columns of `Readings.rates`."""

SATURATED = 0.97
"""Readings above this share of the cap say that the work wants at least that much, not how much more."""

KNEE = 0.1
"""Relative errors beyond this count linearly: some readings are of the moment before the work."""

BASE_MOST = 0.5
"""The most that a GPU's base may be, as a share of its TDP, for work that always draws near the cap settles no base.

Source: public readings of B200 and GB200; where light work settles it the base of running kernels is 0.25 to 0.52, and
held to this the others fit as well within a point.
"""

_NOISE = 0.1
"""What one reading weighs against a prior: the standard deviation of the logarithm of a public reading."""

_ROUNDS = 25


@dataclass(frozen=True)
class Readings:
    """Power readings and what they may be made of, arrays over the executions.

    `rates[points, 5]` is what an execution does per second, in fractions of what the device could: 1, FLOP/s of
    `peak`, other FLOP/s of the vector peak, bytes/s of the bandwidth, starts per microsecond. `idle_share` of a reading
    is of `idle_w`, from before the work began. `base_most` is the most that the base may be, as a share of `unit_w`.
    """

    rates: Array
    power_w: Array
    idle_share: Array
    idle_w: float
    cap_w: float
    unit_w: float
    base_most: float = np.inf

    def take(self, index: Any) -> Readings:
        """The readings at those places."""
        return replace(
            self,
            rates=self.rates[index],
            power_w=self.power_w[index],
            idle_share=self.idle_share[index],
        )

    def predicted(self, at: Array) -> Array:
        """The readings that coefficients `[5]` predict, in W: the work's power, and what was before it."""
        work_w = np.minimum(self.rates @ at * self.unit_w, self.cap_w)
        return np.asarray((1 - self.idle_share) * work_w + self.idle_share * self.idle_w)


def units_of(device: Device, dtype: str) -> dict[str, float]:
    """What a coefficient of 1 is in physical units, W or J: the TDP spent on a device's peak alone."""
    tdp_w = device.tdp_w
    return {
        "base_w": tdp_w,
        "flop_j": tdp_w / device.peak(dtype),
        "vector_flop_j": tdp_w / device.vector_flops_per_s,
        "byte_j": tdp_w / device.mem_bw_bytes_per_s,
        "start_j": tdp_w * 1e-6,
    }


def rates_of(work: RowWork, seconds: Array, device: Device, dtype: str) -> Array:
    """`[points, 5]`: what executions of those seconds do per second, in fractions of what the device could."""
    columns = (
        np.ones_like(seconds),
        work.matmul_flops / seconds / device.peak(dtype),
        work.other_flops / seconds / device.vector_flops_per_s,
        work.bytes / seconds / device.mem_bw_bytes_per_s,
        1e-6 / seconds,
    )
    return np.stack([np.broadcast_to(column, seconds.shape) for column in columns], axis=1)


def solve(
    readings: Readings,
    weights: Array | None = None,
    prior: Mapping[int, tuple[float, float]] | None = None,
) -> Array:
    """Coefficients `[5]`, none negative, of least robust relative error.

    A reading at the cap pulls only at predictions below it, and one below the cap only where the prediction is no more
    than a tenth above the cap: beyond, the prediction is the cap whatever the coefficients are. `prior` gives
    coefficients a median and a standard deviation of the logarithm, by column.

    Source: soft-L1 loss by iterated weights; at the cap a censored regression (Tobin, Econometrica 26, 1958).
    """
    share, cap_w = readings.idle_share, readings.cap_w
    # Of a reading, what the work alone must have drawn: the rest is known to be idle.
    own_w = (readings.power_w - share * readings.idle_w) / (1 - share)
    scale = (1 - share) / readings.power_w
    design = readings.rates * (readings.unit_w * scale)[:, None]
    saturated = own_w >= SATURATED * cap_w
    target = np.where(saturated, cap_w, own_w) * scale
    pull, pulled = _prior_rows(prior or {})
    count = np.ones(len(own_w)) if weights is None else weights
    at = _bounded(design, target, count, pull, pulled, readings.base_most)
    best, least = at, np.inf
    for _ in range(_ROUNDS):
        wanted_w = readings.rates @ at * readings.unit_w
        error = (np.minimum(wanted_w, cap_w) - np.where(saturated, cap_w, own_w)) * scale
        loss = float(np.sum(count * (np.sqrt(1 + (error / KNEE) ** 2) - 1)))
        loss += 0.5 / KNEE**2 * float(np.sum((pull @ at - pulled) ** 2))
        if loss < least * (1 - 1e-5):
            best, least = at, loss
        elif loss > least * (1 + 1e-3):
            break
        heard = np.where(saturated, wanted_w < cap_w, wanted_w < 1.1 * cap_w)
        robust = count * heard / np.sqrt(1 + (error / KNEE) ** 2)
        if not np.any(robust > 0):
            break
        at = _bounded(design, target, robust, pull, pulled, readings.base_most)
    return best


def _bounded(
    design: Array, target: Array, weights: Array, pull: Array, pulled: Array, base_most: float
) -> Array:
    """The least squares with the first coefficient at most `base_most`: where it would be above, it is at it."""
    at = _least(design, target, weights, pull, pulled)
    if at[0] <= base_most:
        return at
    rest = _least(
        design[:, 1:], target - base_most * design[:, 0], weights, pull[:, 1:], pulled - base_most * pull[:, 0]
    )  # fmt: skip
    return np.concatenate([[base_most], rest])


def _least(design: Array, target: Array, weights: Array, pull: Array, pulled: Array) -> Array:
    """Non-negative least squares on the normal matrix: a few columns, however many readings."""
    matrix = np.concatenate([design * np.sqrt(weights)[:, None], pull])
    goal = np.concatenate([target * np.sqrt(weights), pulled])
    # The least ridge keeps columns that never vary (no such work, or all of one length) solvable, at 0.
    ridge = np.eye(design.shape[1]) * 1e-4
    whole = np.concatenate([np.column_stack([matrix, goal]), np.pad(ridge, ((0, 0), (0, 1)))])
    upper: Array = np.asarray(np.linalg.qr(whole, mode="r"), dtype=np.float64)
    return np.asarray(nnls(upper[:, :-1], upper[:, -1])[0])


def _prior_rows(prior: Mapping[int, tuple[float, float]]) -> tuple[Array, Array]:
    rows, goals = np.zeros((len(prior), len(NAMES))), np.zeros(len(prior))
    for row, (column, (median, sd)) in enumerate(prior.items()):
        # Of a coefficient that others have at 0, a hundredth of the TDP is as good as nothing.
        size = max(median, 0.01) * sd / _NOISE
        rows[row, column], goals[row] = 1 / size, median / size
    return rows, goals
