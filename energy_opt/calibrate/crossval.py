"""Errors on groups that a fit has not seen, and joint draws of its parameters from resampled groups."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from energy_opt.calibrate.fitting import Array, Prior, fit_many, seconds
from energy_opt.calibrate.samples import Samples
from energy_opt.estimators.fitted import Errors
from energy_opt.estimators.forms import Chip, Form


def held_out(
    form: Form,
    samples: Samples,
    chip: Chip,
    *,
    prior: Prior | None = None,
    folds: int = 5,
    seed: int = 0,
    harness_s: float = 0.0,
    start: Mapping[str, float] | None = None,
) -> Array:
    """Log of predicted over measured seconds of every sample, by fits that its group was left out of; NaN if none was.

    `start` is where the fits begin: parameters that fit all samples, for speed.

    Source: grouped K-fold cross-validation; rows of one weight shape are no independent evidence.
    """
    masks = samples.folds(folds, seed)
    if len(masks) < 2:
        return np.full(len(samples), np.nan)
    weights = np.array([~mask for mask in masks], dtype=np.float64)
    found = fit_many(
        form, samples, chip, weights, prior=prior, seed=seed, harness_s=harness_s, start=start
    )
    errors = np.full(len(samples), np.nan)
    for fold, mask in enumerate(masks):
        at = {name: values[fold] for name, values in found.items()}
        part = samples.take(mask)
        errors[mask] = np.log((seconds((form, at), part.work, chip) + harness_s) / part.latency_s)
    return errors


def errors_of(log_errors: Array, groups: Array) -> Errors:
    """What a profile says of a fit's errors (fractions) on groups that were left out."""
    relative = np.expm1(log_errors)
    size = np.abs(relative)
    return Errors(
        mape=float(np.mean(size)),
        p90=float(np.quantile(size, 0.9)),
        bias=float(np.mean(relative)),
        log_sd=conformal_sd(log_errors, groups),
        points=len(log_errors),
        groups=len(np.unique(groups)),
    )


def conformal_sd(log_errors: Array, groups: Array, cover: float = 0.9) -> float:
    """Standard deviation of log time whose central 90 % holds 90 % of the groups that were left out.

    Source: split conformal prediction with groups exchangeable, not rows: the quantile is raised by (groups + 1) /
    groups.
    """
    count = len(np.unique(groups))
    level = min(1.0, cover * (count + 1) / count)
    return float(np.quantile(np.abs(log_errors), level)) / 1.645


def group_bootstrap(samples: Samples, draws: int, seed: int = 0) -> Array:
    """Weights `[draws, samples]`: how often each sample's group was drawn, with replacement."""
    names, inverse = np.unique(samples.group, return_inverse=True)
    random = np.random.default_rng(seed)
    counts = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return np.asarray(counts[:, inverse], dtype=np.float64)
