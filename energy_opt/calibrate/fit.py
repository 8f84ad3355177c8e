"""Fitted records from samples: the form that predicts unseen groups best, its parameters, draws and errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from energy_opt.calibrate.crossval import errors_of, group_bootstrap, held_out
from energy_opt.calibrate.fitting import Array, Prior, fit_at, resampled, seconds
from energy_opt.calibrate.samples import Samples
from energy_opt.calibrate.summary import summary_text
from energy_opt.errors import UsageError
from energy_opt.estimators.device import Device, dtype_family
from energy_opt.estimators.fitted import Basis, FittedTime
from energy_opt.estimators.forms import FORMS, Chip, Form
from energy_opt.estimators.latency import NARROW

__all__ = ["Prior", "chip_of", "fit_at", "fit_time", "seconds"]

THIN = 40
"""Fewer points than these settle no more than a start, FLOPs and bytes."""

POINTWISE = ("elementwise", "softmax", "norm", "gather", "copy", "quantize", "reduction", "pool")

MENU = {
    "matmul": ("linear", "roofline", "tiles", "tiles-small", "tile-128x128", "tile-64x128"),
    "conv": ("linear", "roofline", "tiles", "winograd"),
    "attention": ("linear", "roofline", "flash-64", "flash-128", "flash-192", "flash-decode"),
    "moe": ("linear", "roofline", "experts"),
    "collective": ("alpha-beta",),
    **dict.fromkeys(POINTWISE, ("linear", "roofline", "pass")),
}
"""Forms that are tried per kind; the others' are a line and a roofline."""

NARROW_MENU = {"matmul": ("tiles-scaled",)}
"""Forms that are tried besides in types that activations are scaled to."""


CAPPED = 0.95
"""Devices whose power limit sustains less of the peak than this slow down in long products."""

CAPPED_MENU = {"matmul": ("tiles-capped", "tiles-small-capped"), "conv": ("winograd-capped",)}
"""Forms that are tried besides on those."""


def chip_of(device: Device, dtype: str) -> Chip:
    """`Device.chip` with the share of the peak that the power limit sustains; which forms are tried goes by it."""
    peak, energy = device.peak(dtype), device.coefficients().energy
    flop_j = energy.flop_j.get(device.arithmetic(dtype), 0.0)
    sustained = (energy.cap_w - energy.base_w) / (flop_j * peak) if flop_j else 1.0
    return replace(device.chip(dtype), sustained=min(1.0, sustained))


def fit_time(
    samples: Samples,
    chip: Chip,
    *,
    forms: Sequence[str] | None = None,
    prior: Prior | None = None,
    folds: int = 5,
    draws: int = 64,
    source: str,
    basis: Basis,
    seed: int = 0,
    harness_s: float = 0.0,
) -> FittedTime:
    """The form that predicts left-out groups best, fitted to all samples, with its errors on those groups.

    Under 40 samples it is the linear one, unless a prior says what the points cannot. The draws come from resampled
    groups. `harness_s` is what the measuring took in every sample: it is no part of the fit's times.

    Raises:
        UsageError: samples of fewer than two groups say nothing of a third.
    """
    groups = len(np.unique(samples.group))
    if groups < 2:
        raise UsageError(
            f"fit of {samples.kind} in {samples.dtype}: {len(samples)} samples of {groups} shape: at least two shapes "
            "are needed, to tell how far off a third would be"
        )
    names = forms or MENU.get(samples.kind, ("linear", "roofline"))
    if not forms and dtype_family(samples.dtype) in NARROW:
        names = (*names, *NARROW_MENU.get(samples.kind, ()))
    if not forms and chip.sustained < CAPPED:
        names = (*names, *CAPPED_MENU.get(samples.kind, ()))
    if len(samples) < THIN and prior is None and forms is None:
        names = ("linear",)
    how: dict[str, Any] = {"prior": prior, "harness_s": harness_s}
    tried: list[tuple[float, Form, dict[str, float], Array]] = []
    for form in (FORMS[name] for name in names):
        if not getattr(form, "needs", frozenset()) <= samples.work.sizes.keys():
            continue
        at = fit_at(form, samples, chip, seed=seed, **how)
        errors = held_out(form, samples, chip, folds=folds, seed=seed, start=at, **how)
        tried.append((float(np.mean(np.abs(np.expm1(errors)))), form, at, errors))
    _, form, at, errors = min(tried, key=lambda entry: entry[0])
    drawn = resampled(form, samples, chip, group_bootstrap(samples, draws, seed), at, **how)
    return FittedTime(
        form=form.name,
        at=at,
        draws={name: [float(value) for value in values] for name, values in drawn.items()},
        errors=errors_of(errors, samples.group),
        basis=basis,
        source=source,
        summary=summary_text(form, at, samples, chip, harness_s),
    )
