"""Attention, mixtures of experts, pointwise operators and collectives: errors on shapes that were left out.

    python benchmarks/ops_attention.py --data DIR [--json FILE] [--part attention,moe,pointwise,collectives]

Per table, device and kernel a third of the weight shapes (head layouts, shapes of experts, row widths, message sizes)
is left out, up to 200 executions of the others calibrate, and up to 2000 of the left out are predicted; three times.
Beside ours: non-negative least squares on [1, FLOPs, bytes], the shipped datasheet roofline, and gradient boosting
where scikit-learn is installed. Nothing depends on which devices the files hold.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import measured
import numpy as np
import pandas as pd
from measured import Group
from measured_collectives import collective_parts, collective_work
from measured_moe import moe_parts, moe_work
from scoring import boosting, datasheet, mean, metrics

from energy_opt.calibrate.fit import MENU, chip_of, fit_at, fit_time, seconds
from energy_opt.calibrate.samples import Samples, concatenate
from energy_opt.estimators.forms import FORMS
from energy_opt.estimators.forms.attention import regime

CALIBRATE, SCORE, SEEDS = 200, 2000, (0, 1, 2)
SHARE, ENOUGH = 1 / 3, 3000
POINTWISE = ("elementwise", "softmax", "norm", "gather", "quantize")
NARROW = {
    "fp8": "float8", "fp8_block": "float8", "nvfp4": "float4", "w4a8_mxfp4_mxfp8": "float8",
    "int4_wo": "bfloat16", "w4a16_mxfp4": "bfloat16",
}  # fmt: skip
"""The arithmetic's type where the table's name of it says more."""

Predicted = dict[str, tuple[Any, float]]
"""By method: seconds, and the standard deviation of log time that the method states (0: none)."""


def attention(data: Path) -> Iterator[Group]:
    """Prefill, decode and encoder attention; parts of a table with one kernel are put together."""
    yield from (g for g in _joined(data) if g.kind == "attention")


def pointwise(data: Path) -> Iterator[Group]:
    """Operators that pass over their operands once."""
    yield from (g for g in measured.latency_groups(data) if g.kind in POINTWISE)


def _joined(data: Path) -> Iterator[Group]:
    """Groups of one device and name as one: decode of one key is in the table of prefill."""
    found: dict[tuple[str, str, str, str], list[Group]] = {}
    for groups in (measured.latency_groups(data), measured.power_groups(data)):
        for group in groups:
            key = (group.table, group.device.name, group.op, group.dtype)
            found.setdefault(key, []).append(group)
    for groups_of in found.values():
        first = groups_of[0]
        parts = [g.samples for g in groups_of]
        yield Group(first.table, first.device, concatenate(parts), first.harness_s)


def moe(data: Path) -> Iterator[Group]:
    """Mixtures of experts, by framework and type."""
    for name, device, table in _tables(data):
        for framework, dtype, rows in moe_parts(table):
            rows = rows.sample(min(len(rows), ENOUGH), random_state=0)
            work = moe_work(rows, dtype)
            sizes = work.sizes
            shape = np.stack([sizes[c] for c in ("hidden", "inter", "k", "experts")], axis=1)
            kind = NARROW.get(dtype, dtype)
            yield _group(name, device, f"moe {framework} {dtype}", "moe", kind, work, rows, shape)


def collectives(data: Path) -> Iterator[Group]:
    """Collectives, by operation and number of ranks; a message size is left out as a whole."""
    for name, device, table in _tables(data):
        for op, ranks, rows in collective_parts(table):
            shape = rows[["message_size"]].to_numpy()
            label, work = f"{op} x{ranks}", collective_work(rows)
            yield _group(name, device, label, "collective", "bfloat16", work, rows, shape)


PARTS: dict[str, Callable[[Path], Iterator[Group]]] = {
    "attention": attention,
    "moe": moe,
    "pointwise": pointwise,
    "collectives": collectives,
}


def _tables(data: Path) -> Iterator[tuple[str, Any, Any]]:
    """(table, device, rows) of every aiconfigurator table; devices without a profile are named and left out."""
    for prefix in ("aiconfigurator_latency", "aiconfigurator_power"):
        for path in sorted(data.glob(f"{prefix}*.csv*")):
            for name, rows in pd.read_csv(path, low_memory=False).groupby("device", sort=True):
                device = measured.device_of(str(name))
                if device is None:
                    print(f"{path.name}: no profile of {name}: left out", file=sys.stderr)
                    continue
                yield prefix.replace("_latency", "").replace("_", "-"), device, rows


def _group(
    table: str, device: Any, op: str, kind: str, dtype: str, work: Any, rows: Any, shape: Any
) -> Group:
    seconds_of = rows["latency_ms"].to_numpy(np.float64) / 1e3
    unknown = np.full(len(rows), np.nan)
    names = np.unique(shape, axis=0, return_inverse=True)[1].ravel()
    samples = Samples(kind, op, dtype, "", work, seconds_of, unknown, unknown, names)
    group = Group(table, device, samples, 0.0)
    return group.take(np.flatnonzero(seconds_of > 0))


def score(group: Group, seeds: tuple[int, ...] = SEEDS) -> dict[str, dict[str, float]]:
    """Mean metrics of every method over the seeds; empty where there is too little to leave out."""
    found: dict[str, list[dict[str, float]]] = {}
    names = np.unique(group.samples.group)
    if len(names) < 6 or len(group) < 20:
        return {}
    for seed in seeds:
        random = np.random.default_rng(seed)
        left_out = random.choice(names, max(1, int(len(names) * SHARE)), replace=False)
        unseen = np.isin(group.samples.group, left_out)
        known = group.take(np.flatnonzero(~unseen)).sample(CALIBRATE, seed)
        for method, (predicted, log_sd) in predict(
            known, hidden := group.take(np.flatnonzero(unseen)).sample(SCORE, seed), seed
        ).items():
            found.setdefault(method, []).append(metrics(predicted, log_sd, hidden.seconds))
    return {method: mean(rows) for method, rows in found.items()}


def predict(known: Group, unseen: Group, seed: int) -> Predicted:
    """Seconds of the unseen executions by every method, fitted to the known ones."""
    chip = chip_of(known.device, known.dtype)
    fitted = fit_time(
        known.samples, chip, forms=_forms(known), folds=4, draws=2, source=known.table,
        basis="fitted", seed=seed,
    )  # fmt: skip
    at = fit_at(FORMS["linear"], known.samples, chip)
    found: Predicted = {
        "ours": (seconds(fitted, unseen.work, chip), fitted.errors.log_sd),
        "nnls": (seconds((FORMS["linear"], at), unseen.work, chip), 0.0),
    }
    if known.kind != "collective":
        found["datasheet"] = (datasheet(unseen), 0.0)
    boosted = boosting(known, unseen)
    return found if boosted is None else found | {"boosting": (boosted, 0.0)}


def _forms(group: Group) -> tuple[str, ...] | None:
    """The menu of the kind; of attention the forms of the regime, which no line ever beats."""
    if group.kind == "collective":
        return ("linear", *MENU["collective"])  # two dozen message sizes are all there are
    if group.kind != "attention":
        return None
    decode = np.mean(np.char.startswith(regime(group.work.sizes), "decode")) > 0.5
    flash = (name for name in MENU["attention"] if name.startswith("flash"))
    return tuple(name for name in flash if decode == (name == "flash-decode"))


def run(data: Path, parts: tuple[str, ...] = tuple(PARTS)) -> list[dict[str, Any]]:
    """Print a table per part and give its rows."""
    rows: list[dict[str, Any]] = []
    for part in parts:
        print(
            f"\n{part}: latency of shapes left out, MAPE in % (ours: P90, bias, coverage, half-width)"
        )
        means: dict[tuple[str, str], list[dict[str, float]]] = {}
        for group in PARTS[part](data):
            scored = score(group)
            if not scored:
                continue
            name = group.device.name
            _print(name, group.op, len(group), scored)
            means.setdefault((group.kind, name), []).append(
                {m: v["mape"] for m, v in scored.items()}
            )
            rows += _rows(part, group, scored)
        for (kind, name), found in sorted(means.items()):
            methods = found[0]
            line = {m: {"mape": float(np.mean([f[m] for f in found]))} for m in methods}
            _print(name, f"= mean of {kind}", len(found), line)
    return rows


def _print(device: str, op: str, count: int, scored: dict[str, dict[str, float]]) -> None:
    ours = scored["ours"]
    rest = [f"{m} {v['mape']:7.1f}" for m, v in scored.items() if m != "ours"]
    more = ""
    if "p90" in ours:
        more = f"({ours['p90']:5.1f} {ours['bias']:+5.1f} {ours['coverage90']:4.0f} {ours['width']:5.1f})"
    print(
        f"{device:16s} {op:44s} {count:6d}  ours {ours['mape']:5.1f} {more:26s} {'  '.join(rest)}"
    )


def _rows(part: str, group: Group, scored: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    common = {
        "benchmark": "ops", "table": group.table, "device": group.device.name,
        "setting": f"static/held-out-shapes/{part}", "level": group.op, "quantity": "latency",
    }  # fmt: skip
    return [
        {**common, "method": method, "metric": metric, "value": value, "n": len(group)}
        for method, values in scored.items()
        for metric, value in values.items()
        if np.isfinite(value)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", default=",".join(PARTS))
    arguments = parser.parse_args()
    rows = run(arguments.data, tuple(arguments.part.split(",")))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
