"""Many small bounded least-squares problems of one shape, solved at once: starts, folds and bootstraps of a fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

_STEP = 1e-5
_FARTHEST = 1.0
_LEAST_DAMPING, _MOST_DAMPING = 1e-9, 1e9


@dataclass(frozen=True)
class Problem:
    """`residuals(x[problems, unknowns])` gives `[problems, points]`; bounds are `[unknowns]`.

    `weights[problems, points]` multiply the losses: 0 leaves a point out. A residual beyond `knee` counts linearly.
    """

    residuals: Callable[[Array], Array]
    low: Array
    high: Array
    weights: Array
    knee: Array


def solve(problem: Problem, start: Array, iterations: int = 40) -> tuple[Array, Array]:
    """Unknowns `[problems, unknowns]` of least loss, and the losses `[problems]`, by Levenberg-Marquardt.

    Bounds are kept by leaving out the unknowns that a step would push over the bound they lie on, and by clipping.

    Source: Moré, "The Levenberg-Marquardt algorithm", 1978 (scaling by the largest diagonal seen); the robust loss
    is soft L1, 2 (sqrt(1 + z) - 1), by iterated weights, as scipy's least_squares has it.
    """
    x = np.clip(start, problem.low, problem.high)
    residual = problem.residuals(x)
    loss = _loss(problem, residual)
    damping = np.full(len(x), 1e-2)
    scale = np.zeros_like(x)
    still = np.zeros(len(x), dtype=int)
    for _ in range(iterations):
        jacobian = slopes(problem.residuals, x, residual, problem.high)
        weights = problem.weights / np.sqrt(1.0 + (residual / problem.knee) ** 2)
        weighted = jacobian * weights[:, :, None]
        gradient = np.einsum("spu,sp->su", weighted, residual)
        normal = np.einsum("spu,spv->suv", weighted, jacobian)
        diagonal = np.einsum("suu->su", normal)
        scale = np.maximum(scale, diagonal)
        step = _step(problem, x, gradient, normal, damping[:, None] * np.maximum(scale, 1e-12))
        tried = np.clip(x + step, problem.low, problem.high)
        tried_residual = problem.residuals(tried)
        tried_loss = _loss(problem, tried_residual)
        better = tried_loss < loss
        gain = np.where(better, (loss - tried_loss) / np.maximum(loss, 1e-300), 0.0)
        x = np.where(better[:, None], tried, x)
        residual = np.where(better[:, None], tried_residual, residual)
        loss = np.where(better, tried_loss, loss)
        damping = np.clip(np.where(better, damping / 5, damping * 4), _LEAST_DAMPING, _MOST_DAMPING)
        # A step that was too long says nothing of how close the minimum is, until steps are short.
        still = np.where(gain > 1e-4, 0, still + (better | (damping > 10.0)))
        if np.all(still >= 3):
            break
    return x, loss


def one_step(problem: Problem, x: Array) -> Array:
    """Unknowns `[problems, unknowns]` one Gauss-Newton step from `x[unknowns]`, the best of a problem like these.

    For bootstraps: only the weights differ from problem to problem, so one Jacobian serves all.
    """
    one = x[None, :]
    residual = problem.residuals(one)
    jacobian = slopes(problem.residuals, one, residual, problem.high)[0]
    weights = problem.weights / np.sqrt(1.0 + (residual / problem.knee) ** 2)
    gradient = (weights * residual) @ jacobian
    normal = np.einsum("sp,pu,pv->suv", weights, jacobian, jacobian, optimize=True)
    damping = 1e-4 * np.einsum("suu->su", normal) + 1e-12
    step = _step(problem, np.tile(one, (len(weights), 1)), gradient, normal, damping)
    # Beyond that the linearisation says nothing.
    return np.clip(x + np.clip(step, -_FARTHEST, _FARTHEST), problem.low, problem.high)


def slopes(residuals: Callable[[Array], Array], x: Array, at: Array, high: Array) -> Array:
    """Derivatives `[problems, points, unknowns]` by differences, taken inside the bounds."""
    result = np.empty((*at.shape, x.shape[1]))
    for unknown in range(x.shape[1]):
        size = _STEP * (1.0 + np.abs(x[:, unknown]))
        size = np.where(x[:, unknown] + size > high[unknown], -size, size)
        moved = x.copy()
        moved[:, unknown] += size
        result[:, :, unknown] = (residuals(moved) - at) / size[:, None]
    return result


def _step(problem: Problem, x: Array, gradient: Array, normal: Array, damping: Array) -> Array:
    stuck = ((x <= problem.low) & (gradient > 0)) | ((x >= problem.high) & (gradient < 0))
    free = ~stuck
    matrix = normal * (free[:, :, None] & free[:, None, :])
    index = np.arange(x.shape[1])
    matrix[:, index, index] += np.where(free, damping, 1.0)
    step = np.linalg.solve(matrix, -(gradient * free)[:, :, None])[:, :, 0]
    return np.where(np.isfinite(step), step, 0.0)


def _loss(problem: Problem, residual: Array) -> Array:
    square = (residual / problem.knee) ** 2
    each = problem.weights * problem.knee**2 * 2.0 * (np.sqrt(1.0 + square) - 1.0)
    total = np.sum(each, axis=1)
    return np.where(np.isfinite(total), total, np.inf)
