"""Leave one device out: operators of a device nobody measured, or of which 5 or 20 executions are known.

Per operator and type, all other devices (boards of the same chip go with the one left out) are fitted together, with
the same fractions of their datasheets' peaks: that is the prediction where no point is known. How far each of them is
from that on its own says how far a few points may move the parameters of the device left out: with 5 or 20 the form and
its parameters are fitted to them and pulled to the others'. What is scored are executions of other shapes, three times.
Executions of which the harness (the quickest call of the device's own table) is over a quarter are not scored: they say
little of the device. Beside it: the datasheet with the shipped priors, which know all these devices, and non-negative
least squares on the same 20 points.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import measured
import numpy as np
from measured import Group
from ops_gemm import products
from scoring import SEEDS, datasheet, harness_of, mean, metrics, rows_of, split

from energy_opt.calibrate.fit import (
    CAPPED,
    CAPPED_MENU,
    MENU,
    NARROW_MENU,
    chip_of,
    fit_at,
    seconds,
)
from energy_opt.calibrate.fitting import Prior
from energy_opt.calibrate.samples import Samples, concatenate
from energy_opt.estimators.forms import FORMS, Chip
from energy_opt.estimators.latency import NARROW

TOUCH = (0, 5, 20)
KINDS = ("matmul", "conv", "elementwise", "softmax", "norm")
LOOSE = 0.5
TRUST = 4.0
"""Forms are averaged, in log time, by their errors to minus this power: with few points none is sure to be the best."""

CLOSEST, FARTHEST = 0.15, 1.0
"""Bounds of how far apart devices are taken to be: few of them say little of that."""


def run(data: Path) -> list[dict[str, Any]]:
    """Print the errors per device and operator and their means, and give them as rows."""
    by_op: dict[tuple[str, str], list[Group]] = {}
    for group in _groups(data):
        by_op.setdefault((group.op, group.dtype), []).append(group)
    print("\ntransfer: latency on a device left out, MAPE in % with 0, 5 and 20 touch points")
    rows: list[dict[str, Any]] = []
    kinds: dict[tuple[str, str], list[dict[str, dict[str, float]]]] = {}
    for (op, _), groups in sorted(by_op.items()):
        for group in groups:
            others = [g for g in groups if g.device.arch != group.device.arch]
            if len({g.device.arch for g in others}) < 2:
                continue
            scored = _score(group, others)
            _show(group.device.name, op, scored)
            kinds.setdefault((group.device.name, group.kind), []).append(scored)
            setting = "static/leave-one-device-out"
            rows += rows_of(group.table, group.device.name, setting, op, scored, len(group))
    return rows + _means(kinds)


def _groups(data: Path) -> Iterable[Group]:
    others = (g for g in measured.latency_groups(data) if g.kind in KINDS and g.kind != "matmul")
    powered = (g for g in measured.power_groups(data) if g.kind == "matmul")
    for group in (*products(data), *others, *powered):
        long = group.take(np.flatnonzero(group.seconds > 4 * group.harness_s))
        if len(long) < 60 or len(np.unique(long.samples.group)) < 6:
            print(f"left out: {group.device.name} {group.op}: too little of it", file=sys.stderr)
        else:
            yield long


def _forms(group: Group) -> tuple[str, ...]:
    names = tuple(n for n in MENU.get(group.kind, ()) if n != "linear")
    if group.dtype in NARROW:
        names += NARROW_MENU.get(group.kind, ())
    # A device whose power cap acts tells of its other parameters only with the cap's own beside them.
    if chip_of(group.device, group.dtype).sustained < CAPPED:
        names += CAPPED_MENU.get(group.kind, ())
    return names


def _together(groups: list[Group]) -> tuple[Samples, Any, Any]:
    """Up to 200 executions of each group, and the facts of the device and the harness of each execution."""
    few = [group.sample(200) for group in groups]
    chips = [chip_of(g.device, g.dtype) for g in few]
    lengths = [len(g) for g in few]
    facts = {
        f.name: np.repeat([float(getattr(chip, f.name)) for chip in chips], lengths)
        for f in fields(Chip)
    }
    harness_s = np.repeat([harness_of(g) for g in few], lengths)
    return concatenate([g.samples for g in few]), Chip(**facts), harness_s


def _prior(name: str, group: Group, others: list[Group]) -> tuple[Prior, float]:
    """What the others' parameters are together, how far each is from that, and the form's mean error on them."""
    form = FORMS[name]
    samples, chips, harness_s = _together(others)
    pooled = fit_at(form, samples, chips, harness_s=harness_s)
    error = _off(form, pooled, samples, chips, harness_s)
    loose = {p.name: (pooled[p.name], LOOSE) for p in form.parameters}
    single = []
    for other in others:
        known, chip, harness_s = _together([other])
        single.append(fit_at(form, known, chip, prior=loose, harness_s=harness_s))
    found: dict[str, tuple[float, float]] = {}
    for p in form.parameters:
        least = 1e-2 * (p.start or 1.0)
        apart = [np.log((at[p.name] + least) / (pooled[p.name] + least)) for at in single]
        spread = float(np.sqrt(np.mean(np.square(apart))))
        found[p.name] = (pooled[p.name], float(np.clip(spread, CLOSEST, FARTHEST)))
    if "sustained" in found:
        found["sustained"] = (chip_of(group.device, group.dtype).sustained, 0.15)
    return found, error


def _off(form: Any, at: Any, samples: Samples, chip: Any, harness_s: Any) -> float:
    predicted = seconds((form, at), samples.work, chip) + harness_s
    return float(np.mean(np.abs(predicted / samples.latency_s - 1)))


def _score(group: Group, others: list[Group]) -> dict[str, dict[str, float]]:
    chip, harness_s = chip_of(group.device, group.dtype), harness_of(group)
    names = _forms(group)
    priors = {name: _prior(name, group, others) for name in names}
    found: dict[str, list[dict[str, float]]] = {}
    for seed in SEEDS:
        known, unseen = split(group, max(TOUCH), seed)
        predicted = {"datasheet": datasheet(unseen)}
        line = fit_at(FORMS["linear"], known.samples, chip, harness_s=harness_s)
        predicted["nnls/20"] = seconds((FORMS["linear"], line), unseen.work, chip) + harness_s
        for touch in TOUCH:
            few = known.sample(touch, seed)
            tried = [_fit(name, few, chip, harness_s, *priors[name]) for name in names]
            total = [seconds((FORMS[name], at), unseen.work, chip) for _, name, at in tried]
            trust = np.array([error for error, _, _ in tried]) ** -TRUST
            mixed = np.exp(np.average(np.log(total), axis=0, weights=trust))
            predicted[f"ours/{touch}"] = mixed + harness_s
        for method, value in predicted.items():
            found.setdefault(method, []).append(metrics(value, 0.0, unseen.seconds))
    return {method: mean(rows) for method, rows in found.items()}


def _fit(
    name: str, touch: Group, chip: Any, harness_s: float, prior: Prior, error: float
) -> tuple[float, str, dict[str, float]]:
    """How far off the form may be, its name, and its parameters: the prior's own where there are no points."""
    form = FORMS[name]
    if not len(touch):
        return error, name, {n: median for n, (median, _) in prior.items()}
    at = fit_at(form, touch.samples, chip, prior=prior, harness_s=harness_s)
    predicted = seconds((form, at), touch.work, chip) + harness_s
    # Few points say little of a form: what it did on other devices counts as two more of them.
    own = np.abs(predicted / touch.seconds - 1)
    return float((np.sum(own) + 2 * error) / (len(own) + 2)), name, at


def _means(kinds: dict[tuple[str, str], list[dict[str, dict[str, float]]]]) -> list[dict[str, Any]]:
    """Per device the mean over its kinds, each kind the mean over its operators and types."""
    rows: list[dict[str, Any]] = []
    print("means over kinds")
    for device in sorted({name for name, _ in kinds}):
        per_kind = [
            {m: mean([scored[m] for scored in found]) for m in found[0]}
            for (name, _), found in sorted(kinds.items())
            if name == device
        ]
        scored = {m: mean([k[m] for k in per_kind]) for m in per_kind[0]}
        _show(device, f"{len(per_kind)} kinds", scored)
        rows += rows_of(
            "all", device, "static/leave-one-device-out", "device", scored, len(per_kind)
        )
    return rows


def _show(device: str, op: str, scored: dict[str, dict[str, float]]) -> None:
    methods = (*(f"ours/{touch}" for touch in TOUCH), "nnls/20", "datasheet")
    print(
        f"{device:16s} {op:16s} " + "  ".join(f"{m} {scored[m]['mape']:6.1f}" for m in methods),
        flush=True,
    )
