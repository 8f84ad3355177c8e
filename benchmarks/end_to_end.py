"""Whole models: predicted latency of a PyTorch model's eager run against the measured one, device by device.

    python benchmarks/end_to_end.py --data DIR [--json FILE]

Reads the tables `neusight_e2e_models*` in DIR (device, model, mode, seq, batch, e2e_latency_ms; fp32, eager attention;
Lee et al., NeuSight, ASPLOS 2025). Each model is rebuilt from its transformers config, without weights, and predicted
with the device's shipped profile: no whole model was used to make it, operators of the same collection were. Beside
it: FLOPs at the datasheet's peak.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measured import device_of

import energy_opt as eo
from energy_opt.estimators.estimate import Estimate

EAGER = {"attn_implementation": "eager"}
_GPT2 = {"vocab_size": 50257, "n_positions": 2048}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert_large": (
        "hf:bert",
        {
            "num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096,
            "architectures": ["BertForSequenceClassification"],
        },
    ),
    "gpt2_large": ("hf:gpt2", {"n_layer": 36, "n_embd": 1280, "n_head": 20}),
    "gpt3_xl": ("hf:gpt2", {**_GPT2, "n_layer": 24, "n_embd": 3072, "n_head": 24}),
    "gpt3_27": ("hf:gpt2", {**_GPT2, "n_layer": 32, "n_embd": 2560, "n_head": 32}),
    "opt_13": (
        "hf:opt",
        {"num_hidden_layers": 24, "hidden_size": 2048, "num_attention_heads": 32, "ffn_dim": 8192, "vocab_size": 50272},
    ),
}  # fmt: skip
"""The tables' names of models, and what they are; sizes as the operators of the same collection show them."""


@functools.cache
def graph_of(name: str) -> eo.Graph:
    spec, settings = MODELS[name]
    return eo.load(spec, settings={**settings, **EAGER})


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for point in table.itertuples():
        if point.mode != "inf" or point.model not in MODELS:
            print(
                f"left out: {point.model}, {point.mode}: not a model or mode that is rebuilt here",
                file=sys.stderr,
            )
            continue
        device = device_of(point.device)
        if device is None:
            print(f"left out: {point.device}: no profile", file=sys.stderr)
            continue
        sizes = {"batch": int(point.batch), "seq": int(point.seq)}
        estimate: Estimate = eo.analyze(graph_of(point.model), device=device, **sizes)
        measured = point.e2e_latency_ms / 1e3
        low, high = estimate.latency_s_interval
        rows.append(
            {
                "device": device.name, "model": point.model, **sizes, "measured_s": measured,
                "predicted_s": float(estimate.latency_s), "low_s": float(low), "high_s": float(high),
                "peak_s": 2 * float(estimate.macs) / device.peaks["float32"],
            }
        )  # fmt: skip
    return rows


def summary(frame: pd.DataFrame) -> list[dict[str, Any]]:
    found = []
    for device, part in [*frame.groupby("device"), ("all", frame)]:
        for method, column in (("ours", "predicted_s"), ("FLOPs at peak", "peak_s")):
            error = 100 * (part[column] / part["measured_s"] - 1)
            setting = {
                "benchmark": "end_to_end", "table": "neusight_e2e_models", "device": device, "method": method,
                "setting": "static/datasheet", "level": "model", "quantity": "latency", "n": len(part),
            }  # fmt: skip
            found.append({**setting, "metric": "mape", "value": float(np.mean(np.abs(error)))})
            found.append({**setting, "metric": "bias", "value": float(np.mean(error))})
        inside = part["measured_s"].between(part["low_s"], part["high_s"])
        found.append(
            {
                **found[-1],
                "method": "ours",
                "metric": "coverage90",
                "value": 100 * float(inside.mean()),
            }
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="directory of the tables")
    parser.add_argument("--json", type=Path, help="also write the summary as rows")
    options = parser.parse_args()
    files = sorted(options.data.glob("**/neusight_e2e_models*"))
    if not files:
        print(f"{options.data}: holds no neusight_e2e_models*", file=sys.stderr)
        return 1
    tables = [pd.read_csv(path, dtype={"mode": str}, keep_default_na=False) for path in files]
    rows = rows_of(pd.concat(tables, ignore_index=True))
    if not rows:
        print("nothing to compare", file=sys.stderr)
        return 1
    frame = pd.DataFrame(rows)
    frame["error_%"] = 100 * (frame["predicted_s"] / frame["measured_s"] - 1)
    print(frame.round(3).to_string(index=False), end="\n\n")
    results = summary(frame)
    table = pd.DataFrame(results).pivot_table(
        index=["device", "method"], columns="metric", values="value"
    )
    print(table.round(1).to_string())
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
