"""Whole models from operators: latency of eager float32 inference, priced by fits of the operator tables alone.

Reads `neusight_e2e_models*` (device, model, mode, seq, batch, e2e_latency_ms) and, for the same devices, the operators
of `neusight_ops_fp32*`. Operators were measured one call at a time: what launching and synchronising took is no part of
a model's time on the device, where kernels follow one another, and is taken off before fitting. Parameters that hold
only for operators measured alone (a power cap that has not acted yet, operands left in L2) are put to their least.
Beside it: the same from non-negative least squares, the datasheet's priors, FLOPs at the datasheet's peak.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import measured
import numpy as np
import pandas as pd
from end_to_end import MODELS, graph_of
from measured import Group
from scoring import harness_of

import energy_opt as eo
from energy_opt.calibrate.fit import chip_of, fit_time
from energy_opt.calibrate.fit_all import box_of
from energy_opt.calibrate.samples import Samples, concatenate
from energy_opt.estimators.device import Device
from energy_opt.estimators.fitted import Fitted, FittedTime
from energy_opt.estimators.forms import FORMS
from energy_opt.estimators.forms.tiles import ALONE

POINTS = 400
REGIMES = {"linear": "single", "bmm": "batched"}
"""Which of a model's matrix products those of the table stand for."""


def run(data: Path) -> list[dict[str, Any]]:
    """Print every cell and a summary, and give the summary's rows."""
    files = sorted(data.glob("neusight_e2e_models*"))
    if not files:
        print(f"models: {data} holds no neusight_e2e_models*", file=sys.stderr)
        return []
    read = {"dtype": {"mode": str}, "keep_default_na": False}
    table = pd.concat([pd.read_csv(path, **read) for path in files], ignore_index=True)
    found = _cells(table, _by_device(data))
    if not found:
        return []
    frame = pd.DataFrame(found)
    print("\nmodels: latency of whole models from operators, error in %")
    methods = [c for c in frame.columns if c not in ("device", "model", "seq", "batch", "measured")]
    shown = frame.copy()
    for method in methods:
        shown[method] = 100 * (frame[method] / frame["measured"] - 1)
    print(shown.round(3).to_string(index=False), end="\n\n")
    rows: list[dict[str, Any]] = []
    for name, part in [*shown.groupby("device"), ("all", shown)]:
        line = {m: float(part[m].abs().mean()) for m in methods}
        print(
            f"{name:16s} {len(part):3d} cells  "
            + "  ".join(f"{m} {v:5.1f}" for m, v in line.items())
        )
        for method in methods:
            common = {
                "benchmark": "ops", "table": "neusight_e2e_models", "device": name, "method": method,
                "setting": "bottom-up/operators/models", "level": "model", "quantity": "latency", "n": len(part),
            }  # fmt: skip
            errors = part[method]
            values = {
                "mape": line[method],
                "bias": float(errors.mean()),
                "p90": float(errors.abs().quantile(0.9)),
            }
            rows += [
                {**common, "metric": metric, "value": value} for metric, value in values.items()
            ]
    return rows


def _by_device(data: Path) -> dict[str, list[Group]]:
    groups: dict[str, list[Group]] = {}
    for group in measured.latency_groups(data):
        if group.table == "neusight":
            groups.setdefault(group.device.name, []).append(group)
    return groups


def _cells(table: pd.DataFrame, groups: Mapping[str, list[Group]]) -> list[dict[str, Any]]:
    priced: dict[str, dict[str, Device]] = {}
    cells = []
    for point in table.itertuples():
        what = f"{point.device}, {point.model}, {point.mode}"
        device = measured.device_of(point.device)
        if point.mode != "inf" or point.model not in MODELS:
            print(f"left out: {what}: not a model or mode that is rebuilt here", file=sys.stderr)
        elif device is None or device.name not in groups:
            print(f"left out: {what}: no profile, or no operators of it", file=sys.stderr)
        else:
            if device.name not in priced:
                priced[device.name] = devices(device, groups[device.name])
            sizes = {"batch": int(point.batch), "seq": int(point.seq)}
            cell = {"device": device.name, "model": point.model, **sizes}
            cell["measured"] = point.e2e_latency_ms / 1e3
            for method, of_it in priced[device.name].items():
                estimate = eo.analyze(graph_of(point.model), device=of_it, **sizes)
                cell[method] = float(estimate.latency_s)
            cell["peak"] = 2 * float(estimate.macs) / device.peaks["float32"]
            cells.append(cell)
    return cells


def devices(device: Device, groups: list[Group]) -> dict[str, Device]:
    """The device by each method of pricing it."""
    plain = measured.unfitted(device)
    return {
        "ours": plain.model_copy(update={"fits": tuple(fits(groups, None))}),
        "nnls": plain.model_copy(update={"fits": tuple(fits(groups, ("linear",)))}),
        "datasheet": plain,
    }


def fits(groups: list[Group], forms: tuple[str, ...] | None, draws: int = 8) -> list[Fitted]:
    """Fits of matrix products by regime, and of every other kind over its operators."""
    by_kind: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        by_kind.setdefault((group.kind, REGIMES.get(group.op, "")), []).append(group)
    found: list[Fitted] = []
    for (kind, regime), parts in by_kind.items():
        time, box = _fit(parts, forms, draws)
        found.append(Fitted(kind=kind, regime=regime, dtype="float32", time=time, box=box))
        if kind == "elementwise":
            # Copies, gathers and masks were not measured; they pass over memory just so.
            found.append(Fitted(kind="other", dtype="float32", time=time, box=box))
    return found


def _fit(parts: list[Group], forms: tuple[str, ...] | None, draws: int) -> tuple[FittedTime, Any]:
    samples = concatenate([_without_harness(p) for p in parts])
    time = fit_time(
        samples, chip_of(parts[0].device, "float32"), forms=forms, draws=draws, source="operators", basis="fitted"
    )  # fmt: skip
    least = {p.name: p.low for p in FORMS[time.form].parameters if p.name in ALONE}
    drawn = {name: [least.get(name, v) for v in values] for name, values in time.draws.items()}
    fitted = time.model_copy(update={"at": {**time.at, **least}, "draws": drawn})
    return fitted, box_of(samples)


def _without_harness(group: Group) -> Samples:
    few = group.sample(POINTS)
    samples = few.samples
    kept = samples.latency_s - harness_of(group)
    return Samples(
        samples.kind, samples.op, samples.dtype, samples.runtime, samples.work, kept,
        np.full(len(few), np.nan), np.full(len(few), np.nan), samples.group,
    )  # fmt: skip
