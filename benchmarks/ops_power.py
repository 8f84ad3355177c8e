"""Power and energy of ops on shapes that were left out, and on devices that were left out, beside baselines.

    python benchmarks/ops_power.py --data DIR [--json FILE] [--seeds 3]

Every method predicts the readings of public tables (aiconfigurator_power*). A reading is of the work and of the second
before it; "ours" predicts both, the second before as other shapes of the same collection had it. "no instrument" is the
same fit without that. "the work" is what the work alone draws by the fit that knows of it, which is what a profile
holds; it is scored where hardly any of the reading is of something else. No reading of a left-out shape is used, of
neighbouring rows neither. The same op in two collections differs by 4.6 % (median) to 10.5 % (mean): that is the floor.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import power_elsewhere
import power_scores
from measured_power import PowerPart, power_parts
from power_scores import FOLDS, SETTLED, Predicted

MOST = 1000
FEWEST = 40
BELOW = 0.9
SAME = "all, but kernels of another kind"
Row = dict[str, Any]
Scored = list[tuple[PowerPart, Predicted]]
"""Parts with their predictions, once per seed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    rows = run(arguments.data, arguments.seeds)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def run(data: Path, seeds: int = 3) -> list[Row]:
    """Every table, printed, and its figures as rows."""
    parts = [p.sample(MOST) for p in power_parts(data)]
    parts = [p for p in parts if len(p) >= FEWEST and len(np.unique(p.samples.group)) >= 2 * FOLDS]
    rows: list[Row] = []
    if parts:
        forms: dict[str, str] = {}
        scored = [
            (p, power_scores.held_out(p, seed, seed == 0, forms))
            for seed in range(seeds)
            for p in parts
        ]
        rows += report("static/held-out-shapes", scored)
        rows += report("static/leave-one-device-out", list(between(parts, forms)))
    return rows + power_elsewhere.run(data)


def between(
    parts: Iterable[PowerPart], forms: dict[str, str]
) -> Iterable[tuple[PowerPart, Predicted]]:
    """Predictions for each device by fits to the others that ran the same op of the same framework."""
    parts = list(parts)
    for unseen in parts:
        for known in parts:
            if known.name == unseen.name and known.device.name != unseen.device.name:
                times = power_scores.elsewhere_times(known, unseen, 0, forms)
                found = power_scores.predict(known, unseen, times, 0)
                yield unseen, found | power_scores.boosted(known, unseen)


def report(setting: str, scored: Scored) -> list[Row]:
    """Prints the tables of a setting; per op and framework, then per op, then over all."""
    rows: list[Row] = []
    by_device: dict[str, Scored] = defaultdict(list)
    for part, found in scored:
        by_device[part.device.name].append((part, found))
    for device, mine in by_device.items():
        levels: dict[str, Scored] = defaultdict(list)
        for part, found in mine:
            levels[part.name].append((part, found))
            levels[part.samples.op.split("/")[0].partition(" ")[0]].append((part, found))
            levels["all"].append((part, found))
            if same_kernels(part, found):
                levels[SAME].append((part, found))
        if len(levels[SAME]) == len(levels["all"]):
            del levels[SAME]
        ordered = sorted(
            levels.items(),
            key=lambda level: (level[0].startswith("all"), "(" not in level[0], level[0]),
        )
        mine_rows = [
            row for level, group in ordered for row in figures(device, setting, level, group)
        ]
        show(device, setting, mine_rows)
        rows += mine_rows
    return rows


def same_kernels(part: PowerPart, found: Predicted) -> bool:
    """Whether times learnt elsewhere are at all those of this device: some schemes run in software on one of two."""
    return bool(
        abs(np.median(np.log(found["ours", "latency"] / part.samples.latency_s))) < np.log(2)
    )


def figures(device: str, setting: str, level: str, scored: Scored) -> list[Row]:
    """Every figure of a level: MAPE, P90 and bias by method and quantity; coverage and width of ours."""
    rows: list[Row] = []

    def add(method: str, quantity: str, metric: str, value: float, n: int) -> None:
        rows.append(
            {
                "benchmark": "ops", "table": "aiconfigurator-power", "device": device, "method": method,
                "setting": setting, "level": level, "quantity": quantity, "metric": metric,
                "value": round(value, 3), "n": n,
            }
        )  # fmt: skip

    cap = np.concatenate([p.samples.power_w / p.device.tdp_w for p, _ in scored])
    add("readings", "power", "share-below-0.9", float(np.mean(cap < BELOW)), len(cap))
    settled = np.concatenate([f["instrument", "share"] for _, f in scored]) < SETTLED
    keys = dict.fromkeys(key for _, found in scored for key in found if key[0] != "instrument")
    for method, quantity in keys:
        error = errors(scored, method, quantity)
        parts = {"": np.isfinite(error)}
        if quantity.endswith("power"):
            parts["-below-0.9"] = parts[""] & (cap < BELOW)
            parts["-settled"] = parts[""] & settled
        for suffix, mask in parts.items():
            if not np.any(mask):
                continue
            size = 100 * np.abs(error[mask])
            add(method, quantity + suffix, "mape", float(np.mean(size)), int(mask.sum()))
            if not suffix:
                add(method, quantity, "p90", float(np.quantile(size, 0.9)), int(mask.sum()))
                add(method, quantity, "bias", float(100 * np.mean(error[mask])), int(mask.sum()))
    for quantity in ("latency", "power", "static-power", "energy"):
        hits, widths = coverage(scored, quantity)
        if len(hits):
            add("ours", quantity, "coverage90", 100 * float(np.mean(hits)), len(hits))
            add("ours", quantity, "half-width", 100 * float(np.median(widths)), len(hits))
    return rows


def truth(part: PowerPart, quantity: str) -> Any:
    samples = part.samples
    return {"latency": samples.latency_s, "energy": samples.energy_j}.get(quantity, samples.power_w)


def errors(scored: Scored, method: str, quantity: str) -> Any:
    """Relative errors of all executions, NaN where the method predicts nothing."""
    return np.concatenate(
        [
            f.get((method, quantity), np.full(len(p), np.nan)) / truth(p, quantity) - 1
            for p, f in scored
        ]
    )


def coverage(scored: Scored, quantity: str) -> tuple[Any, Any]:
    """Whether each execution lies in its 90 % interval, and half the interval's width.

    Split conformal: the interval of a shape is as wide as the errors on the other folds' shapes.
    """
    hits, widths = [], []
    for number, (part, found) in enumerate(scored):
        error = np.log(found["ours", quantity] / truth(part, quantity))
        for mask in part.samples.folds(FOLDS, 100 + number):
            others = np.abs(error[~mask & np.isfinite(error)])
            groups = len(np.unique(part.samples.group[~mask]))
            if not len(others):
                continue
            reach = np.quantile(others, min(1.0, 0.9 * (groups + 1) / groups))
            hits.append(np.abs(error[mask]) <= reach)
            widths.append(np.full(int(mask.sum()), np.sinh(reach)))
    return np.concatenate(hits or [[]]), np.concatenate(widths or [[]])


POWER = (
    ("ours", "ours", "power", "mape"), ("<.9 cap", "ours", "power-below-0.9", "mape"), ("P90", "ours", "power", "p90"),
    ("bias", "ours", "power", "bias"), ("no instr", "ours, no instrument", "power", "mape"),
    ("<.9 cap", "ours, no instrument", "power-below-0.9", "mape"), ("work*", "the work", "power-settled", "mape"),
    ("nnls", "nnls", "power", "mape"), ("boost", "boosting", "power", "mape"), ("TDP", "tdp", "power", "mape"),
    ("static", "ours", "static-power", "mape"), ("cover", "ours", "power", "coverage90"),
    ("+-%", "ours", "power", "half-width"),
)  # fmt: skip
ENERGY = (
    ("ours", "ours", "energy", "mape"), ("P90", "ours", "energy", "p90"), ("bias", "ours", "energy", "bias"),
    ("no instr", "ours, no instrument", "energy", "mape"), ("nnls", "nnls", "energy", "mape"),
    ("boost", "boosting", "energy", "mape"), ("TDP*t", "tdp", "energy", "mape"), ("t alone", "ours", "latency", "mape"),
    ("t bias", "ours", "latency", "bias"),
    ("t known", "ours", "power", "mape"),
    ("cover", "ours", "energy", "coverage90"),
    ("+-%", "ours", "energy", "half-width"), ("t cover", "ours", "latency", "coverage90"),
    ("t +-%", "ours", "latency", "half-width"),
)  # fmt: skip


def show(device: str, setting: str, rows: list[Row]) -> None:
    """Two tables: power where the latency is known, and energy where nothing is."""
    value = {(r["level"], r["method"], r["quantity"], r["metric"]): r["value"] for r in rows}
    count = {r["level"]: r["n"] for r in rows if r["metric"] == "share-below-0.9"}
    for title, columns, note in (
        (
            "power readings, latency known",
            POWER,
            "work*: of readings that are of the work alone; static: from predicted latencies",
        ),
        (
            "energy, nothing known of the execution",
            ENERGY,
            "t alone: error of the latency; t known: energy where the latency is measured",
        ),
    ):
        print(f"\n{device}, {setting}: mean error (%) of {title}\n{note}")
        print(f"{'op':46s} {'n':>6s}" + "".join(f"{name:>9s}" for name, *_ in columns))
        for level, n in count.items():
            cells = (value.get((level, *key), float("nan")) for _, *key in columns)
            print(f"{level:46s} {n:6d}" + "".join(f"{cell:9.1f}" for cell in cells))


if __name__ == "__main__":
    main()
