"""Parameters of a form from samples: robust, within bounds, pulled towards a prior where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from energy_opt.calibrate.samples import Samples
from energy_opt.calibrate.solver import Problem, one_step, solve
from energy_opt.errors import UsageError
from energy_opt.estimators.fitted import FittedTime
from energy_opt.estimators.forms import FORMS, At, Chip, Form, Parameter
from energy_opt.estimators.forms.linear import Linear
from energy_opt.estimators.work import RowWork

Array = np.ndarray[Any, np.dtype[np.float64]]
Prior = Mapping[str, tuple[float, float]]
"""Per parameter its median and the standard deviation of its logarithm, as other devices have them."""

NOISE = 0.05
"""What one point weighs against a prior: the standard deviation of the relative error of a good fit."""

KNEE = 0.1
"""Relative errors beyond this count linearly: a few odd kernels must not bend the rest."""

_VAGUE = 1.0
"""Parameters without a prior are pulled to their start this weakly: what no point settles stays there."""


def seconds(fitted: FittedTime | tuple[Form, At], work: RowWork, chip: Chip) -> Array:
    """Seconds of every execution, `[points]`, or `[draws, points]` for parameters `[draws, 1]`."""
    form, at = (FORMS[fitted.form], fitted.at) if isinstance(fitted, FittedTime) else fitted
    return np.asarray(form.parts(work, chip, at).total_s, dtype=np.float64)


def fit_at(
    form: Form,
    samples: Samples,
    chip: Chip,
    *,
    prior: Prior | None = None,
    seed: int = 0,
    harness_s: float = 0.0,
) -> dict[str, float]:
    """The form's parameters, in the units it names, that fit the samples best.

    `harness_s` is what the measuring itself took in every sample; no parameter has to explain it.

    Raises:
        UsageError: there are no samples, or a latency is not positive.
    """
    weights = np.ones((1, len(samples)))
    found = fit_many(form, samples, chip, weights, prior=prior, seed=seed, harness_s=harness_s)
    return {name: float(values[0]) for name, values in found.items()}


def fit_many(
    form: Form,
    samples: Samples,
    chip: Chip,
    weights: Array,
    *,
    prior: Prior | None = None,
    seed: int = 0,
    harness_s: float = 0.0,
    start: Mapping[str, float] | None = None,
) -> dict[str, Array]:
    """One fit per row of `weights[fits, points]`: the parameters as arrays `[fits]`.

    A weight of 0 leaves a point out; whole numbers count it so many times, as a bootstrap does. Fits begin at `start`,
    or at several places of which the best end counts.

    Raises:
        UsageError: there are no samples, or a latency is not positive.
    """
    if not len(samples) or not np.all(samples.latency_s > harness_s):
        raise UsageError(
            f"fit of {samples.kind} in {samples.dtype}: {len(samples)} samples, of which all must take longer than "
            f"{harness_s:g} s: leave out what was not measured"
        )
    if isinstance(form, Linear):
        return _linear(form, samples, chip, weights, dict(prior or {}), harness_s)
    coding = Coding(form.parameters, dict(prior or {}))
    starts = [coding.encode(start)] if start is not None else coding.starts(seed)
    problem = _problem(form, samples, chip, np.tile(weights, (len(starts), 1)), coding, harness_s)
    # What starts at the end of another fit is soon there.
    x, loss = solve(problem, np.repeat(starts, len(weights), axis=0), 40 if start is None else 12)
    best = np.argmin(loss.reshape(len(starts), -1), axis=0)
    chosen = x.reshape(len(starts), len(weights), -1)[best, np.arange(len(weights))]
    return {name: values[:, 0] for name, values in coding.decode(chosen).items()}


def resampled(
    form: Form,
    samples: Samples,
    chip: Chip,
    weights: Array,
    at: Mapping[str, float],
    *,
    prior: Prior | None = None,
    harness_s: float = 0.0,
) -> dict[str, Array]:
    """The parameters `[fits]` for every row of `weights[fits, points]`, where `at` fits the unweighted samples.

    Source: the one-step bootstrap, Schucany and Wang, "One-step bootstrapping for smooth iterative procedures", 1991.
    """
    if isinstance(form, Linear):
        return _linear(form, samples, chip, weights, dict(prior or {}), harness_s)
    coding = Coding(form.parameters, dict(prior or {}))
    problem = _problem(form, samples, chip, weights, coding, harness_s)
    found = coding.decode(one_step(problem, coding.encode(at)))
    return {name: values[:, 0] for name, values in found.items()}


@dataclass(frozen=True)
class Coding:
    """Parameters as unknowns of a solver: logarithms where they are positive, else multiples of their start."""

    parameters: tuple[Parameter, ...]
    prior: dict[str, tuple[float, float]]

    def encode(self, at: Mapping[str, float]) -> Array:
        """Unknowns `[parameters]`."""
        return np.array([_coded(p, at[p.name]) for p in self.parameters])

    def decode(self, x: Array) -> dict[str, Array]:
        """Parameters as columns `[problems, 1]`, within their bounds."""
        columns = {}
        for index, p in enumerate(self.parameters):
            value = np.exp(x[:, index]) if p.low > 0 else x[:, index] * _unit(p)
            # A solver comes arbitrarily near to 0, and a reader should see that it means 0.
            value = np.where(np.abs(value) < 1e-9 * _unit(p), 0.0, value)
            columns[p.name] = np.clip(value, p.low, p.high)[:, None]
        return columns

    def bounds(self) -> tuple[Array, Array]:
        """The lowest and the highest unknowns."""
        return self.encode({p.name: p.low for p in self.parameters}), self.encode(
            {p.name: p.high for p in self.parameters}
        )

    def starts(self, seed: int) -> list[Array]:
        """Where to begin: at the prior, and where each parameter starts, and twice around there."""
        middle = self.encode({p.name: p.start for p in self.parameters})
        known = {name: median for name, (median, _) in self.prior.items()}
        first = self.encode({p.name: known.get(p.name, p.start) for p in self.parameters})
        low, high = self.bounds()
        random = np.random.default_rng(seed)
        around = [middle + random.normal(0, 0.4, len(middle)) for _ in range(2)]
        return [np.clip(x, low, high) for x in (first, *around)]

    def pull(self, x: Array) -> Array:
        """Residuals `[problems, parameters]` of the prior, in units of the noise of a point."""
        residuals = []
        for index, p in enumerate(self.parameters):
            median, sd = self.prior.get(p.name, (p.start, _VAGUE))
            if p.low > 0:
                apart = x[:, index] - np.log(max(median, p.low))
            elif p.name in self.prior:
                # Of a parameter that may be 0 the logarithm begins at a tenth of what others have.
                least = 0.1 * max(median, 0.01 * _unit(p))
                apart = np.log((x[:, index] * _unit(p) + least) / (median + least))
            else:
                apart = 0.01 * x[:, index]
            residuals.append(NOISE * apart / sd)
        return np.stack(residuals, axis=1)


def _problem(
    form: Form, samples: Samples, chip: Chip, weights: Array, coding: Coding, harness_s: float
) -> Problem:
    measured = samples.latency_s

    def residuals(x: Array) -> Array:
        total = seconds((form, coding.decode(x)), samples.work, chip) + harness_s
        apart = np.broadcast_to(total, (len(x), len(measured))) / measured - 1.0
        return np.concatenate([apart, coding.pull(x)], axis=1)

    count = len(form.parameters)
    low, high = coding.bounds()
    # A prior is no outlier, however far the points pull.
    knee = np.concatenate([np.full(len(measured), KNEE), np.full(count, 1e3)])
    return Problem(
        residuals, low, high, np.pad(weights, ((0, 0), (0, count)), constant_values=1.0), knee
    )


def _linear(
    form: Form,
    samples: Samples,
    chip: Chip,
    weights: Array,
    prior: Mapping[str, Any],
    harness_s: float,
) -> dict[str, Array]:
    """Non-negative least squares of the relative error; a regressor that is never there gets 0."""
    parameters = form.parameters
    columns = []
    for p in parameters:
        unit = {q.name: float(p.name == q.name) for q in parameters}
        columns.append(np.broadcast_to(seconds((form, unit), samples.work, chip), len(samples)))
    design = np.stack(columns, axis=1) / samples.latency_s[:, None]
    target = 1.0 - harness_s / samples.latency_s
    pulls = [
        (i, *prior[p.name]) for i, p in enumerate(parameters) if prior.get(p.name, (0, 0))[0] > 0
    ]
    extra = np.zeros((len(pulls), len(parameters)))
    for row, (index, median, sd) in enumerate(pulls):
        extra[row, index] = NOISE / sd / median
    # Columns of like size: s/FLOP and s differ by twelve orders of magnitude.
    size = np.sqrt(np.mean(design**2, axis=0))
    size = np.where(size > 0, size, 1.0)
    found = np.zeros((len(weights), len(parameters)))
    for fit, weight in enumerate(weights):
        root = np.sqrt(weight)
        left = np.concatenate([design * root[:, None], extra]) / size
        right = np.concatenate([target * root, extra.sum(axis=1) * [m for _, m, _ in pulls]])
        found[fit] = nnls(left, right)[0] / size
    return {p.name: np.clip(found[:, index], p.low, p.high) for index, p in enumerate(parameters)}


def _unit(parameter: Parameter) -> float:
    return parameter.start or 1.0


def _coded(parameter: Parameter, value: float) -> float:
    return float(np.log(value)) if parameter.low > 0 else value / _unit(parameter)
