"""Held-out scores that the parts of benchmarks/ops.py share: splits by weight shape, baselines, metrics, printing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from datasheet import BARE
from measured import Group, as_performed, unfitted

from energy_opt.calibrate.fit import chip_of, fit_at, fit_time, seconds
from energy_opt.estimators.forms import FORMS
from energy_opt.estimators.pricing import Pricer
from energy_opt.ir.row import Row, Use

SEEDS = (0, 1, 2)
SCORE = 2000
SHARE = 0.25
METHODS = ("ours", "nnls", "datasheet", "boosting")
Predicted = dict[str, tuple[Any, float]]
"""By method: seconds, and the standard deviation of log time that it states (0: none)."""


def split(group: Group, points: int, seed: int) -> tuple[Group, Group]:
    """At most `points` executions to calibrate on, and up to 2000 of weight shapes that are not among them."""
    names = np.unique(group.samples.group)
    random = np.random.default_rng(seed)
    left_out = random.choice(names, max(1, round(len(names) * SHARE)), replace=False)
    unseen = np.isin(group.samples.group, left_out)
    known = group.take(np.flatnonzero(~unseen)).sample(points, seed)
    return known, group.take(np.flatnonzero(unseen)).sample(SCORE, seed)


def predict(known: Group, unseen: Group, seed: int, baselines: bool = True) -> Predicted:
    """Seconds of the unseen executions by every method, fitted to the known ones."""
    chip, harness_s = chip_of(known.device, known.dtype), harness_of(known)
    fitted = fit_time(
        known.samples, chip, source=known.table, basis="fitted", draws=2, seed=seed, harness_s=harness_s
    )  # fmt: skip
    ours = seconds(fitted, unseen.work, chip) + harness_s
    found: Predicted = {"ours": (ours, fitted.errors.log_sd)}
    if not baselines:
        return found
    line = fit_at(FORMS["linear"], known.samples, chip)
    found["nnls"] = (seconds((FORMS["linear"], line), unseen.work, chip), 0.0)
    found["datasheet"] = (datasheet(unseen), 0.0)
    boosted = boosting(known, unseen)
    return found if boosted is None else found | {"boosting": (boosted, 0.0)}


def harness_of(group: Group) -> float:
    """Seconds that the measuring took: most of the quickest call, which itself ran for something."""
    return 0.8 * min(group.harness_s, float(np.min(group.seconds)))


def datasheet(group: Group) -> Any:
    """Seconds as the shipped priors have them, with what the measuring took."""
    sizes = tuple((name, 1) for name in group.work.sizes)
    row = Row(
        group.kind, group.op, group.dtype, 0, 0, 0, 0, 0, sizes, group.kernels, True, 1, (Use(group.op, ""),)
    )  # fmt: skip
    pricer = Pricer([row], unfitted(group.device), BARE)
    return pricer.totals([as_performed(group.work)]).latency_s + group.harness_s


def boosting(known: Group, unseen: Group) -> Any:
    """Gradient boosting of log time on the sizes and the counts, or None without scikit-learn."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError:
        return None
    model = HistGradientBoostingRegressor(
        max_iter=200, learning_rate=0.1, max_leaf_nodes=15, min_samples_leaf=5, random_state=0
    )
    model.fit(_features(known), np.log(known.seconds))
    return np.exp(model.predict(_features(unseen)))


def _features(group: Group) -> Any:
    work = group.work
    counts = (work.matmul_flops, work.other_flops, work.bytes, *work.sizes.values())
    return np.stack([np.log1p(np.broadcast_to(c, len(group))) for c in counts], axis=1)


def metrics(predicted: Any, log_sd: float, truth: Any) -> dict[str, float]:
    """MAPE, P90, bias, coverage and half-width of the 90 % interval, in percent."""
    ratio = np.asarray(predicted / truth, dtype=np.float64)
    spread = 1.645 * log_sd
    found = {
        "mape": 100 * float(np.mean(np.abs(ratio - 1))),
        "p90": 100 * float(np.quantile(np.abs(ratio - 1), 0.9)),
        "bias": 100 * float(np.mean(ratio - 1)),
    }
    if log_sd:
        found["coverage90"] = 100 * float(np.mean(np.abs(np.log(ratio)) <= spread))
        found["width"] = 100 * float(np.sinh(spread))
    return found


def score(
    group: Group, points: int, seeds: Iterable[int] = SEEDS, baselines: bool = True
) -> dict[str, dict[str, float]]:
    """Mean metrics of every method over the seeds; empty where there are too few shapes to leave some out."""
    if len(np.unique(group.samples.group)) < 6 or len(group) < 30:
        return {}
    found: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        known, unseen = split(group, points, seed)
        for method, (predicted, log_sd) in predict(known, unseen, seed, baselines).items():
            found.setdefault(method, []).append(metrics(predicted, log_sd, unseen.seconds))
    return {method: mean(rows) for method, rows in found.items()}


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def show(device: str, op: str, count: int, scored: dict[str, dict[str, float]]) -> None:
    """One line: ours with P90, bias, coverage and half-width, and the MAPE of every baseline."""
    ours = scored["ours"]
    more = " ".join(f"{ours[m]:6.1f}" for m in ("p90", "bias", "coverage90", "width") if m in ours)
    rest = "  ".join(f"{m} {v['mape']:6.1f}" for m, v in scored.items() if m != "ours")
    print(
        f"{device:16s} {op:20s} {count:6d}  ours {ours['mape']:6.1f} ({more})  {rest}", flush=True
    )


def rows_of(
    table: str,
    device: str,
    setting: str,
    level: str,
    scored: dict[str, dict[str, float]],
    count: int,
) -> list[dict[str, Any]]:
    """Rows of a benchmark's JSON."""
    common = {
        "benchmark": "ops", "table": table, "device": device, "setting": setting, "level": level,
        "quantity": "latency", "n": count,
    }  # fmt: skip
    return [
        {**common, "method": method, "metric": metric, "value": value}
        for method, values in scored.items()
        for metric, value in values.items()
    ]


def renamed(group: Group, op: str) -> Group:
    """The group under another operator's name."""
    return replace(group, samples=replace(group.samples, op=op))
