"""How far off datasheet profiles are on measured devices: op and model latency, power, energy; error and coverage.

    python benchmarks/datasheet.py --data DIR [--json FILE] [--sample N]

Nothing is fitted here. The priors that the profiles use were fitted over several of these devices together
(benchmarks/fit_priors.py prints each device's errors when it was left out of that fit).

Op latencies of NeuSight hold its harness: launch, synchronisation, clock. The quickest call of each op on the device
stands for that and is added to the prediction; ops of which the harness is over a quarter of the time are left out of
the scores, since they say little of the device.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measured
import numpy as np
import pandas as pd
from measured import Group

from energy_opt.estimators.interval import interval
from energy_opt.estimators.latency import WorkTable
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
    rows += whole_models(arguments.data)
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
    pricer = Pricer([row], group.device, BARE)
    central = pricer.totals([group.work])
    drawn = pricer.totals([group.work], drawn=True, points=True)
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
    level: str = "op",
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
        "level": level, "op": op, "quantity": quantity,
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


# name: layers, width, heads, inner width, vocabulary, kernels of its activation in eager mode, causal mask applied
MODELS = {
    "bert_large": (24, 1024, 16, 4096, 30522, 1, False),
    "gpt2_large": (36, 1280, 20, 5120, 50257, 8, True),
    "gpt3_xl": (24, 3072, 24, 12288, 50257, 8, True),
    "gpt3_27": (32, 2560, 32, 10240, 50257, 8, True),
    "opt_13": (24, 2048, 32, 8192, 50272, 1, True),
}


def whole_models(data: Path) -> list[dict[str, Any]]:
    """Whole-model latencies in eager float32 against the sum of their rows."""
    result = []
    eager = Runtime.load("eager")
    for path in sorted(data.glob("neusight_e2e_models*.csv*")):
        table = pd.read_csv(path, dtype={"mode": str})  # "inf" is inference, not infinity
        print("\nwhole models, eager float32")
        for device_name, part in table.groupby("device"):
            device = measured.device_of(str(device_name))
            part = part[
                (part["mode"] == "inf")
                & part["model"].isin(list(MODELS))
                & (part["variant"] == "eager")
            ]
            if device is None or part.empty:
                continue
            values, draws, truth = [], [], []
            for _, line in part.iterrows():
                rows = list(
                    transformer(*MODELS[line["model"]], int(line["batch"]), int(line["seq"]))
                )
                pricer = Pricer(rows, device, eager)
                works = WorkTable(rows)({})
                values.append(pricer.totals(works).latency_s)
                draws.append(
                    np.broadcast_to(pricer.totals(works, drawn=True).latency_s, pricer.draws)
                )
                truth.append(line["e2e_latency_ms"] / 1e3)
                print(
                    f"  {device.name:16s} {line['model']:11s} batch {line['batch']:3d} seq {line['seq']:5d}"
                    f"  measured {truth[-1]:7.3f} s  predicted {values[-1]:7.3f} s"
                )
            result += report(
                "neusight-e2e", device.name, "whole models", "latency", np.array(values),
                np.array(draws).T, np.array(truth), "model",
            )  # fmt: skip
    return result


def transformer(
    layers: int, width: int, heads: int, inner: int, vocabulary: int, activation: int, causal: bool,
    batch: int, seq: int,
) -> Iterator[Row]:  # fmt: skip
    """Rows of a float32 transformer in eager mode: every kernel of a layer, the embeddings and the head."""
    tokens, scores = batch * seq, batch * heads * seq * seq
    hidden = tokens * width

    def row(
        kind: str,
        name: str,
        flops: int,
        other: int,
        read: int,
        written: int,
        count: int,
        **sizes: int,
    ) -> Row:
        return Row(
            kind, name, "float32", flops, other, 4 * read, 4 * written, 0, tuple(sizes.items()), 1, True, count,
            (Use(name, "", count),),
        )  # fmt: skip

    def product(name: str, b: int, m: int, n: int, k: int, count: int) -> Row:
        return row(
            "matmul",
            name,
            2 * b * m * n * k,
            0,
            b * (m * k + n * k),
            b * m * n,
            count,
            b=b,
            m=m,
            n=n,
            k=k,
        )

    yield product("query, key, value", 1, tokens, width, width, 3 * layers)
    yield product("scores", batch * heads, seq, seq, width // heads, layers)
    yield row("elementwise", "scale", 0, scores, scores, scores, 2 * layers)
    yield row("softmax", "softmax", 0, 5 * scores, scores, scores, layers)
    yield product("context", batch * heads, seq, width // heads, seq, layers)
    yield row("copy", "heads", 0, 0, hidden, hidden, 4 * layers)
    yield product("output", 1, tokens, width, width, layers)
    yield row("elementwise", "residual", 0, hidden, 2 * hidden, hidden, 2 * layers)
    yield row("norm", "norm", 0, 7 * hidden, hidden, hidden, 2 * layers)
    yield product("up", 1, tokens, inner, width, layers)
    yield row(
        "elementwise",
        "activation",
        0,
        tokens * inner,
        tokens * inner,
        tokens * inner,
        activation * layers,
    )
    yield product("down", 1, tokens, width, inner, layers)
    yield row("gather", "embedding", 0, 0, hidden, hidden, 2)
    if causal:
        yield product("head", 1, tokens, vocabulary, width, 1)


if __name__ == "__main__":
    main()
