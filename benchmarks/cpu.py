"""This machine's CPU, calibrated and then checked on models that calibration never saw.

    python benchmarks/cpu.py [--times 3] [--budget 180] [--json FILE] [--force]

Each time over: `calibrate --target cpu` within the budget, then the latency of twelve models (transformers and
convolutional networks of several sizes, float32, PyTorch eager, random weights) beside what the new profile predicts
from their configs, and beside the shipped profile of this kind of processor. Models are timed in turn, over and over,
half of it before and half of it after the calibration: a shared machine's speed moves by tens of percent in minutes.
Needs the `torch` extra and an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import energy_opt as eo
from energy_opt.calibrate.base import base_of
from energy_opt.calibrate.cpu import LOADED, busy
from energy_opt.calibrate.run import calibrate_device
from energy_opt.frontend.huggingface import prepare

ENCODER = {
    "num_hidden_layers": 4,
    "hidden_size": 256,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}
LLAMA = {
    "num_hidden_layers": 8, "hidden_size": 768, "num_attention_heads": 12, "num_key_value_heads": 4,
    "intermediate_size": 2048, "vocab_size": 16000, "head_dim": 64,
}  # fmt: skip
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "bert-base": ("hf:bert", {}, {"batch": 1, "seq": 128}),
    "bert-mini": ("hf:bert", ENCODER, {"batch": 4, "seq": 64}),
    "distilbert": ("hf:distilbert", {}, {"batch": 2, "seq": 96}),
    "gpt2": ("hf:gpt2", {}, {"batch": 1, "seq": 64}),
    "llama-8x768": ("hf:llama", LLAMA, {"batch": 1, "seq": 100}),
    "t5-small-encoder": ("hf:t5", {"architectures": ["T5EncoderModel"]}, {"batch": 1, "seq": 128}),
    "whisper-tiny-encoder": ("hf:whisper", {"architectures": ["WhisperForAudioClassification"]}, {"batch": 1}),
    "vit-base": ("hf:vit", {"num_labels": 1000}, {"batch": 1}),
    "resnet50": ("hf:resnet", {"num_labels": 1000}, {"batch": 1}),
    "convnext-tiny": ("hf:convnext", {"num_labels": 1000}, {"batch": 1}),
    "mobilenet-v2": ("hf:mobilenet_v2", {"num_labels": 1000}, {"batch": 2}),
    "dinov2-small": (
        "hf:dinov2",
        {"hidden_size": 384, "num_attention_heads": 6, "image_size": 224},
        {"batch": 2},
    ),
}  # fmt: skip
"""Name -> spec, settings, sizes. None of them was looked at when the method was chosen."""


class Loaded:
    """A model with random weights, inputs for it, and its graph."""

    def __init__(self, spec: str, settings: dict[str, Any], sizes: dict[str, int]) -> None:
        made = prepare(spec, settings)
        self.graph = eo.load(spec, settings=settings)
        self.sizes = {name: size for name, size in sizes.items() if name in self.graph.dims}
        bound = self.graph.bind(self.sizes)
        torch.manual_seed(0)
        self.module = type(made.module)._from_config(made.module.config).eval()
        self.inputs = {}
        for name, tensor in made.inputs.items():
            axes = made.dynamic.get(name, {})
            shape = [bound.get(axes.get(i), size) for i, size in enumerate(tensor.shape)]
            whole = not tensor.is_floating_point()
            self.inputs[name] = torch.randint(0, 100, shape) if whole else torch.randn(shape)

    def run_s(self) -> float:
        """Seconds of one inference."""
        start = time.perf_counter()
        self.module(**self.inputs)
        return time.perf_counter() - start


def measured(models: dict[str, Loaded], seconds: float) -> dict[str, float]:
    """Median seconds of each model, run in turn, each right after a run of its own; anew where others took a tenth."""
    for attempt in range(6):
        others = Others()
        found = _measured(models, seconds)
        share = others.share()
        if share < LOADED:
            return found
        print(f"others took {share:.0%} of the processors: models are timed again ({attempt + 1})")
    print("the machine is never idle: the last times count")
    return found


class Others:
    """How much of the processors other processes take from now on."""

    def __init__(self) -> None:
        self._busy, self._total, self._own = *busy(), time.process_time()

    def share(self) -> float:
        """Their share of all processors so far."""
        worked, total = busy()
        ticks = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
        own = (time.process_time() - self._own) * ticks
        return max(0.0, worked - self._busy - own) / max(total - self._total, 1e-9)


def _measured(models: dict[str, Loaded], seconds: float) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for model in models.values():
            model.run_s()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for name, model in models.items():
                model.run_s()
                times[name] += [model.run_s() for _ in range(2)]
    return {name: statistics.median(found) for name, found in times.items()}


def once(
    models: dict[str, Loaded], options: argparse.Namespace, number: int
) -> list[dict[str, Any]]:
    """One calibration and one check; prints the table, gives the rows."""
    before = measured(models, options.seconds / 2)
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        device = calibrate_device(
            "cpu",
            output=Path(folder) / "here.json",
            budget_s=options.budget,
            seed=number,
            force=options.force,
        )
        took_s = time.monotonic() - start
    shipped = base_of("cpu", {}, [])
    after = measured(models, options.seconds / 2)
    truth = {name: (before[name] + after[name]) / 2 for name in models}
    moved = statistics.median(after[name] / before[name] for name in models) - 1
    print(
        f"\ncalibration {number + 1}: {took_s:.0f} s, {len(device.fits)} fits; meanwhile models got {moved:+.0%} slower"
    )
    print(
        f"{'model':24}{'measured':>12}{'predicted':>12}{'error':>9}{'90 % interval':>24}{'datasheet':>11}"
    )
    errors: dict[str, list[float]] = {"ours": [], "datasheet roofline": []}
    inside, widths = [], []
    for name, model in models.items():
        estimate = eo.analyze(model.graph, device=device, runtime="eager", **model.sizes)
        other = eo.analyze(model.graph, device=shipped, runtime="eager", **model.sizes)
        low, high = (float(end) for end in estimate.latency_s_interval)
        predicted, truth_s = float(estimate.latency_s), truth[name]
        errors["ours"].append(predicted / truth_s - 1)
        errors["datasheet roofline"].append(float(other.latency_s) / truth_s - 1)
        inside.append(low <= truth_s <= high)
        widths.append((high - low) / 2 / predicted)
        print(
            f"{name:24}{1e3 * truth_s:9.2f} ms{1e3 * predicted:9.2f} ms{errors['ours'][-1]:+9.1%}"
            f"{1e3 * low:14.2f} - {1e3 * high:.2f}{errors['datasheet roofline'][-1]:+11.0%}"
        )
    rows = []
    for method, found in errors.items():
        away = np.abs(found)
        metrics = {"mape": np.mean(away), "p90": np.percentile(away, 90), "bias": np.mean(found)}
        if method == "ours":
            metrics |= {"coverage90": np.mean(inside), "width": np.median(widths)}
        for metric, value in metrics.items():
            rows.append(
                {
                    "benchmark": "cpu", "table": f"calibration {number + 1}", "device": device.label,
                    "method": method, "setting": "static/unseen-models", "level": "model", "quantity": "latency",
                    "metric": metric, "value": 100 * float(value), "n": len(found),
                }
            )  # fmt: skip
        print(f"{method:24}" + "  ".join(f"{m} {100 * v:.1f} %" for m, v in metrics.items()))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3, help="how often to do it all over")
    parser.add_argument("--budget", type=float, default=180.0, help="seconds of one calibration")
    parser.add_argument("--seconds", type=float, default=40.0, help="seconds of timing the models")
    parser.add_argument("--seed", type=int, default=0, help="of the first calibration's draw")
    parser.add_argument("--models", help="only these, separated by commas")
    parser.add_argument("--force", action="store_true", help="also where the machine is loaded")
    parser.add_argument("--data", type=Path, help="not used: everything is measured here")
    parser.add_argument("--json", type=Path, help="also write the summary as rows")
    options = parser.parse_args()
    wanted = options.models.split(",") if options.models else list(MODELS)
    models = {name: Loaded(*MODELS[name]) for name in wanted}
    rows: list[dict[str, Any]] = []
    for number in range(options.times):
        rows += once(models, options, options.seed + number)
    print("\nmean error of each calibration: ", end="")
    print(
        ", ".join(
            f"{row['value']:.1f} %"
            for row in rows
            if (row["method"], row["metric"]) == ("ours", "mape")
        )
    )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
