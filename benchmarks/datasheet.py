"""How far off priors on datasheets are on measured devices, without the fits that profiles hold.

Op latency, power and energy: error and coverage.

    python benchmarks/datasheet.py --data DIR [--json FILE] [--sample N]

Nothing is fitted here. The priors that the profiles use were fitted over several of these devices together
(benchmarks/fit_priors.py prints each device's errors when it was left out of that fit). Whole models are scored by
benchmarks/end_to_end.py.

Op latencies of NeuSight hold its harness: launch, synchronisation, clock. The quickest call of each op on the device
stands for that and is added to the prediction; ops of which the harness is over a quarter of the time are left out of
the scores, since they say little of the device.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import measured
import numpy as np
import pandas as pd
from measured import Group

from energy_opt.estimators.interval import interval
from energy_opt.estimators.pricing import Pricer
from energy_opt.estimators.runtime import Runtime
from energy_opt.ir.row import Row, Use

BARE = Runtime.model_validate(
    {
        "name": "bare",
        "label": "kernels alone",
        "vocabularies": ["onnx", "aten"],
        "host": {
            kind: {"launch_s": 0, "view_s": 0, "run_s": 0, "overlaps": True}
            for kind in ("gpu", "cpu")
        },
        "spread": 0,
    }
)
SETTING = "static/shared-priors"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sample", type=int, default=800, help="executions per op and device")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print(f"{'device':16s} {'op':30s} {'quantity':8s}     n   MAPE   bias  cover  width")
    for group in measured.latency_groups(arguments.data):
        rows += score(group, arguments.sample, ("latency",))
    for group in measured.power_groups(arguments.data):
        rows += score(group, arguments.sample, ("latency", "power", "energy"))
    rows += by_device(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def score(group: Group, sample: int, quantities: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows of error, bias, coverage and width of one op on one device."""
    group = group.take(np.flatnonzero(group.seconds > 4 * group.harness_s)).sample(sample)
    if len(group) < 20:
        return []
    sizes = tuple((name, 1) for name in group.work.sizes)
    row = Row(
        group.kind, group.op, group.dtype, 0, 0, 0, 0, 0, sizes, group.kernels, True, 1, (Use(group.op, ""),)
    )  # fmt: skip
    pricer = Pricer([row], measured.unfitted(group.device), BARE)
    work = measured.as_performed(group.work)
    central = pricer.totals([work])
    drawn = pricer.totals([work], drawn=True, points=True)
    found: dict[str, tuple[Any, Any, Any]] = {
        "latency": (
            central.latency_s + group.harness_s, drawn.latency_s + group.harness_s, group.seconds
        ),
    }  # fmt: skip
    if group.power_w is not None:
        found["power"] = (
            central.energy_j / central.latency_s, drawn.energy_j / drawn.latency_s, group.power_w
        )  # fmt: skip
        found["energy"] = (central.energy_j, drawn.energy_j, group.power_w * group.seconds)
    result = []
    for quantity in quantities:
        value, draws, truth = found[quantity]
        result += report(group.table, group.device.name, group.op, quantity, value, draws, truth)
    return result


def report(
    table: str,
    device: str,
    op: str,
    quantity: str,
    value: Any,
    draws: Any,
    truth: Any,
) -> list[dict[str, Any]]:
    """Print one line and give its rows."""
    low, high = interval(value, draws)
    ratio = value / truth
    metrics = {
        "mape": 100 * float(np.mean(np.abs(ratio - 1))),
        "p90": 100 * float(np.quantile(np.abs(ratio - 1), 0.9)),
        "bias": 100 * float(np.median(ratio) - 1),
        "coverage": 100 * float(np.mean((low <= truth) & (truth <= high))),
        # Half the interval's width relative to the value, in percent.
        "width": 100 * float(np.median((high - low) / 2 / value)),
    }
    print(
        f"{device:16s} {op:30s} {quantity:8s} {len(truth):5d} {metrics['mape']:6.1f} {metrics['bias']:6.1f} "
        f"{metrics['coverage']:6.1f} {metrics['width']:6.1f}"
    )
    common = {
        "benchmark": "datasheet", "table": table, "device": device, "method": "ours", "setting": SETTING,
        "level": "op", "op": op, "quantity": quantity,
    }  # fmt: skip
    return [common | {"metric": name, "value": v, "n": len(truth)} for name, v in metrics.items()]


def by_device(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over a device's ops, every op weighing the same."""
    table = pd.DataFrame(rows)
    print("\nmeans over ops")
    result = []
    for (device, quantity), part in table.groupby(["device", "quantity"]):
        means = {m: float(p["value"].mean()) for m, p in part.groupby("metric")}
        print(
            f"{device:16s} {quantity:8s} MAPE {means['mape']:6.1f}  bias {means['bias']:6.1f}  "
            f"coverage {means['coverage']:5.1f}  half-width {means['width']:5.1f}"
        )
        for metric, value in means.items():
            result.append(
                {
                    "benchmark": "datasheet",
                    "table": "all",
                    "device": device,
                    "method": "ours",
                    "setting": SETTING,
                    "level": "device",
                    "quantity": quantity,
                    "metric": metric,
                    "value": value,
                    "n": int(part["n"].sum() / part["metric"].nunique()),
                }
            )
    return result


if __name__ == "__main__":
    main()
