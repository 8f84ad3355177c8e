"""This machine's CPU under ONNX Runtime, calibrated and then checked on models that calibration never saw.

    python benchmarks/cpu_onnxruntime.py [--times 3] [--budget 120] [--json FILE] [--force]

Each time over: the primitives of ONNX Runtime within the budget, then the latency of nine models (the files of
`examples/` and two convolutional networks that are exported here; random weights, float32) beside what the new profile
predicts from their graphs, and beside the shipped profile of this kind of processor. Models are timed in turn, before
the calibration and after it, each for a while before its time counts: the threads of the session before spin on for
some milliseconds. The median counts.
Needs the `onnxruntime` extra, for the exported models the `torch` extra and onnxscript, and an idle machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import energy_opt as eo
from energy_opt.calibrate import ort
from energy_opt.calibrate.base import base_of
from energy_opt.calibrate.ort_session import bound as bound_to
from energy_opt.calibrate.run import calibrate_device
from energy_opt.measure.runners.weights import runnable

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
MODELS: dict[str, dict[str, int]] = {
    "bert-base": {"batch": 1, "seq": 128},
    "distilbert": {"batch": 2, "seq": 96},
    "gpt2": {"batch": 1, "seq": 64},
    "t5-small": {"batch": 1, "seq": 128, "decoder_seq": 32},
    "whisper-tiny": {"batch": 1, "decoder_seq": 16},
    "vit-b16": {"batch": 1},
    "resnet50": {"batch": 1},
    "mobilenet-v2": {"batch": 2},
    "convnext-tiny": {"batch": 1},
}
"""Name -> sizes. None of them was looked at when the method was chosen."""

SETTLE_S = 0.12
"""How long a model runs before its time counts."""


def exported(name: str, folder: Path) -> Path:
    """The file of a network that is in no example."""
    import transformers

    spec = importlib.util.spec_from_file_location("make_examples", EXAMPLES / "make_examples.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    config, network = {
        "mobilenet-v2": ("MobileNetV2Config", "MobileNetV2ForImageClassification"),
        "convnext-tiny": ("ConvNextConfig", "ConvNextForImageClassification"),
    }[name]
    made = make.vision(
        getattr(transformers, config)(num_labels=1000), getattr(transformers, network)
    )
    path = folder / f"{name}.onnx"
    make.export(made, path, 20)
    return path


class Loaded:
    """A model with random weights in a session, inputs for it, and its graph."""

    def __init__(self, name: str, sizes: dict[str, int], folder: Path) -> None:
        path = EXAMPLES / f"{name}.onnx"
        path = path if path.exists() else exported(name, folder)
        self.graph = eo.load(path)
        self.sizes = {size: value for size, value in sizes.items() if size in self.graph.dims}
        own = folder / name
        own.mkdir()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(
            str(runnable(path, own).path), options, providers=["CPUExecutionProvider"]
        )
        self.binding = bound_to(self.session, self._feeds())

    def _feeds(self) -> dict[str, Any]:
        bound = self.graph.bind(self.sizes)
        names = {alias: i.name for i in self.graph.dims.values() for alias in (i.name, *i.aliases)}
        random = np.random.default_rng(0)
        feeds = {}
        for given in self.session.get_inputs():
            shape = [d if isinstance(d, int) else int(bound[names[d]]) for d in given.shape]
            if given.type == "tensor(float)":
                feeds[given.name] = random.standard_normal(shape, np.float32)
            else:
                high = 2 if "mask" in given.name else 100
                feeds[given.name] = random.integers(high - 1, high, shape)
        return feeds

    def run_s(self) -> float:
        """Seconds of one inference."""
        start = time.perf_counter()
        self.session.run_with_iobinding(self.binding)
        return time.perf_counter() - start


def measured(models: dict[str, Loaded], seconds: float) -> dict[str, float]:
    """Median seconds of each model, run in turn."""
    times: dict[str, list[float]] = {name: [] for name in models}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for name, model in models.items():
            settled = time.monotonic() + SETTLE_S
            while time.monotonic() < settled:
                model.run_s()
            times[name] += [model.run_s() for _ in range(3)]
    return {name: statistics.median(found) for name, found in times.items()}


def calibrated(options: argparse.Namespace, seed: int) -> tuple[eo.Device, float]:
    """The profile of this machine under ONNX Runtime, and the seconds that it took."""
    start = time.monotonic()
    backend, points, anchors = ort.open_target(seed=seed, force=options.force)
    with tempfile.TemporaryDirectory() as folder:
        device = calibrate_device(
            "cpu", output=Path(folder) / "here.json", budget_s=options.budget - (time.monotonic() - start), seed=seed,
            backend=backend, points=points, anchors=anchors,
        )  # fmt: skip
    return device, time.monotonic() - start


def once(
    models: dict[str, Loaded], options: argparse.Namespace, number: int
) -> list[dict[str, Any]]:
    """One calibration and one check; prints the table, gives the rows."""
    before = measured(models, options.seconds / 2)
    device, took_s = calibrated(options, number)
    after = measured(models, options.seconds / 2)
    truth = {name: (before[name] * after[name]) ** 0.5 for name in models}
    moved = statistics.median(after[name] / before[name] for name in models) - 1
    print(
        f"\ncalibration {number + 1}: {took_s:.0f} s, {len(device.fits)} fits; "
        f"models took {moved:+.1%} after it"
    )
    print(
        f"{'model':16}{'measured':>12}{'predicted':>12}{'error':>9}{'90 % interval':>22}{'datasheet':>11}"
    )
    shipped = base_of("cpu", {}, [])
    errors: dict[str, list[float]] = {"ours": [], "datasheet roofline": []}
    inside, widths = [], []
    for name, model in models.items():
        estimate = eo.analyze(model.graph, device=device, runtime="onnxruntime", **model.sizes)
        other = eo.analyze(model.graph, device=shipped, runtime="onnxruntime", **model.sizes)
        low, high = (float(end) for end in estimate.latency_s_interval)
        predicted = float(estimate.latency_s)
        errors["ours"].append(predicted / truth[name] - 1)
        errors["datasheet roofline"].append(float(other.latency_s) / truth[name] - 1)
        inside.append(low <= truth[name] <= high)
        widths.append((high - low) / 2 / predicted)
        print(
            f"{name:16}{1e3 * truth[name]:9.2f} ms{1e3 * predicted:9.2f} ms{errors['ours'][-1]:+9.1%}"
            f"{1e3 * low:13.2f} -{1e3 * high:7.2f}{errors['datasheet roofline'][-1]:+11.0%}"
        )
    rows = []
    for method, found in errors.items():
        away = np.abs(found)
        metrics = {"mape": np.mean(away), "p90": np.percentile(away, 90), "bias": np.mean(found)}
        if method == "ours":
            metrics |= {"coverage90": np.mean(inside), "width": np.median(widths)}
        print(f"{method:20}" + "  ".join(f"{m} {100 * v:.1f} %" for m, v in metrics.items()))
        rows += [
            {
                "benchmark": "cpu_onnxruntime", "table": f"calibration {number + 1}", "device": device.label,
                "method": method, "setting": "static/unseen-models", "level": "model", "quantity": "latency",
                "metric": metric, "value": 100 * float(value), "n": len(found),
            }
            for metric, value in metrics.items()
        ]  # fmt: skip
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3, help="how often to do it all over")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of one calibration")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds of timing the models")
    parser.add_argument("--models", help="only these, separated by commas")
    parser.add_argument("--force", action="store_true", help="also where the machine is loaded")
    parser.add_argument("--data", type=Path, help="not used: everything is measured here")
    parser.add_argument("--json", type=Path, help="also write the summary as rows")
    options = parser.parse_args()
    wanted = options.models.split(",") if options.models else list(MODELS)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        models = {}
        for name in wanted:
            try:
                models[name] = Loaded(name, MODELS[name], Path(folder))
            except ImportError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
        for number in range(options.times):
            rows += once(models, options, number)
    means = [r["value"] for r in rows if (r["method"], r["metric"]) == ("ours", "mape")]
    print("\nmean error of each calibration: " + ", ".join(f"{value:.1f} %" for value in means))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
