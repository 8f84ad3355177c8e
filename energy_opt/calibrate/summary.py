"""What statsmodels says of a fit: coefficients, intervals, R², condition number, as text that a profile keeps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from energy_opt.calibrate.fitting import Array, seconds
from energy_opt.calibrate.samples import Samples
from energy_opt.estimators.forms import Chip, Form


def summary_text(
    form: Form, at: Mapping[str, float], samples: Samples, chip: Chip, harness_s: float = 0.0
) -> str:
    """Ordinary least squares of the form linearised at its parameters, in relative error.

    A parameter on a bound, or that no sample depends on, is named but has no interval.

    Source: Gauss-Newton linearisation; for the linear form it is the regression itself.
    """
    import statsmodels.api as sm

    design, names, fixed = _slopes(form, at, samples, chip)
    predicted = seconds((form, at), samples.work, chip) + harness_s
    lines = [
        f"{form.name}: {len(samples)} samples of {samples.kind} in {samples.dtype}, relative error"
    ]
    if names:
        values = np.array([at[name] for name in names])
        target = design @ values + 1.0 - predicted / samples.latency_s
        # In units of the values: columns of 1e18 beside columns of 1 would count as dependent.
        scaled = design * np.abs(values)
        with warnings.catch_warnings():
            # Where columns do depend on each other, the condition number below says so.
            warnings.simplefilter("ignore")
            result = sm.OLS(target, scaled).fit()
            errors = result.bse * np.abs(values)
            interval = result.conf_int() * np.abs(values)[:, None]
        units = {p.name: p.unit for p in form.parameters}
        lines.append(
            f"{'coefficient':16s} {'unit':8s} {'value':>11s} {'std err':>11s} {'2.5 %':>11s} {'97.5 %':>11s}"
        )
        for index, name in enumerate(names):
            numbers = (at[name], errors[index], *interval[index])
            cells = " ".join(f"{number:11.4g}" for number in numbers)
            lines.append(f"{name:16s} {units[name]:8s} {cells}")
        spread = samples.latency_s / np.exp(np.mean(np.log(samples.latency_s)))
        r2 = 1 - np.var(np.log(predicted / samples.latency_s)) / max(np.var(np.log(spread)), 1e-30)
        lines.append(f"R2 of log time {r2:.4f}, condition number {np.linalg.cond(scaled):.3g}")
    if fixed:
        lines.append("at a bound, or not settled by these samples: " + ", ".join(fixed))
    return "\n".join(lines)


def _slopes(
    form: Form, at: Mapping[str, float], samples: Samples, chip: Chip
) -> tuple[Array, list[str], list[str]]:
    """d(predicted / measured)/d(parameter) `[samples, free]`, the free parameters' names, and the others'."""
    columns, names, fixed = [], [], []
    for p in form.parameters:
        inside = p.low < at[p.name] < p.high
        size = 1e-5 * (at[p.name] or p.start or 1.0)
        up, down = (
            seconds((form, {**at, p.name: at[p.name] + s}), samples.work, chip)
            for s in (size, -size)
        )
        column = np.broadcast_to((up - down) / (2 * size) / samples.latency_s, len(samples))
        if inside and np.any(np.abs(column * at[p.name]) > 1e-6):
            columns.append(column)
            names.append(p.name)
        else:
            fixed.append(f"{p.name} = {at[p.name]:.4g} {p.unit}")
    return np.stack(columns, axis=1) if columns else np.empty((len(samples), 0)), names, fixed
