"""Peak activation memory: ours, from the ONNX graph, beside torch's memory profiler.

    python benchmarks/memory.py

Needs the `torch` extra and onnxscript. The oracle is torch.profiler(profile_memory=True) on the CPU over one
inference without gradients, weights and inputs allocated before. Torch's CPU allocator reports the bytes that were
asked for: no rounding, no cache. What a kernel allocates and frees before it returns (oneDNN's reordered weights and
inputs; 9.4 MB in ResNet-50's last 3x3) depends on the backend and is no activation: it is shown in a column of its own.

Torch is run twice. `program` is the exported program (torch.export, functional), which drops every value after its last
use: that is the liveness of the graph, which our `onnxruntime` and `graph` runtimes have. `module` is the module as a
person calls it: frames of the interpreter keep a module's inputs until it returns, which our `eager` runtime models; a
local variable that outlives its use (the attention weights in eager attention) is in no graph, and stays missing.

Whether the two can be compared depends on attention. A graph at opset 18 or 20 of a module with fused attention (sdpa)
writes the scores out, which torch never does: it is listed, and is larger for that reason.
"""

from __future__ import annotations

import gzip
import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.profiler import ProfilerActivity, profile

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

import make_examples  # noqa: E402

import energy_opt  # noqa: E402

BERT = ({"batch": 2, "seq": 128}, {"batch": 1, "seq": 384}, {"batch": 8, "seq": 256})
IMAGES = ({"batch": 1}, {"batch": 4})


class Case(NamedTuple):
    """A graph and the module that it should be held against."""

    name: str
    settings: dict[str, Any]
    opset: int
    comparable: bool
    sizes: tuple[dict[str, int], ...]


CASES = (
    Case("bert-base", {"attn_implementation": "sdpa"}, 23, True, BERT),
    Case("bert-base", {"attn_implementation": "eager"}, 20, True, BERT),
    Case("bert-base", {"attn_implementation": "sdpa"}, 20, False, BERT),
    Case("resnet50", {}, 20, True, IMAGES),
)


class Peak(NamedTuple):
    """Peak of live bytes, with and without what kernels free before they return."""

    all_bytes: int
    tensor_bytes: int


def inputs_of(name: str, sizes: dict[str, int]) -> dict[str, torch.Tensor]:
    """Example inputs."""
    if name == "resnet50":
        return {"pixel_values": torch.randn(sizes["batch"], 3, 224, 224)}
    ids = make_examples.tokens(30000, sizes["batch"], sizes["seq"])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def fold_batch_norms(module: torch.nn.Module) -> None:
    """Fold batch normalisations into convolutions, as the ONNX exporter does, in place."""
    for part in module.modules():
        if hasattr(part, "convolution") and hasattr(part, "normalization"):
            part.convolution = fuse_conv_bn_eval(part.convolution, part.normalization)
            part.normalization = torch.nn.Identity()


def profiled(module: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> Peak:
    """Peaks of one inference by torch's memory profiler."""
    with torch.no_grad():
        module(**inputs)  # first calls allocate what later ones find
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            output = module(**inputs)
    del output
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json.gz"
        profiler.export_chrome_trace(str(path))
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    changes = sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"])
    ops = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e.get("cat") == "cpu_op")
    scratch = _freed_within_their_op(changes, ops)
    live = peak = tensors = tensor_peak = 0
    for index, change in enumerate(changes):
        live += change["args"]["Bytes"]
        peak = max(peak, live)
        if index not in scratch:
            tensors += change["args"]["Bytes"]
            tensor_peak = max(tensor_peak, tensors)
    return Peak(peak, tensor_peak)


def _freed_within_their_op(
    changes: list[dict[str, Any]], ops: list[tuple[float, float]]
) -> set[int]:
    """Indices of the allocations, and their frees, that one outermost op makes and undoes."""
    outer: list[tuple[float, float]] = []
    for start, end in ops:  # sorted, so an op inside another follows it
        if not outer or start >= outer[-1][1]:
            outer.append((start, end))

    def op_at(time: float) -> int | None:
        return next((i for i, (start, end) in enumerate(outer) if start <= time <= end), None)

    found: set[int] = set()
    allocated: dict[int, int] = {}
    for index, change in enumerate(changes):
        address, size = change["args"]["Addr"], change["args"]["Bytes"]
        if size > 0:
            allocated[address] = index
        elif address in allocated:
            first = allocated.pop(address)
            op = op_at(changes[first]["ts"])
            if op is not None and op == op_at(change["ts"]):
                found |= {first, index}
    return found


def ours(path: Path, runtime: str, sizes: dict[str, int]) -> float:
    """Our peak of activation bytes under the runtime."""
    estimate = energy_opt.analyze(path, device="t4", runtime=runtime, **sizes)
    return float(estimate.peak_activation_bytes)


def program_of(module: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The exported program without in-place ops, as a module that frees values after their last use."""
    return torch.export.export(module, (), inputs, strict=False).run_decompositions({}).module()


def main() -> int:
    """Print the table; 1 where a comparable peak is off by more than 5 %."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)  # how much a kernel allocates depends on the threads
    titles = (
        "ours MB",
        "program MB",
        "ratio",
        "+ scratch MB",
        "ours eager",
        "module MB",
        "ratio",
        "+ scratch MB",
    )
    print(f"{'graph':28} {'dims':20}", *(f"{title:>12}" for title in titles))
    worst = 0.0
    for case in CASES:
        example = make_examples.EXAMPLES[case.name](**case.settings)
        for parameter in example.module.parameters():
            parameter.data.normal_(0, 0.02)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            make_examples.export(example, path, case.opset)
            fold_batch_norms(example.module)
            for sizes in case.sizes:
                error = row(case, path, example.module, sizes)
                worst = max(worst, error if case.comparable else 0.0)
    print(f"worst error of the comparable against the exported program: {worst:.2%}")
    return int(worst > 0.05)


def row(case: Case, path: Path, module: torch.nn.Module, sizes: dict[str, int]) -> float:
    """Print one row; returns our error relative to the exported program."""
    inputs = inputs_of(case.name, sizes)
    cells, ratios = [], []
    for runtime, runnable in (("onnxruntime", program_of(module, inputs)), ("eager", module)):
        mine = ours(path, runtime, sizes)
        peak = profiled(runnable, inputs)
        scratch = peak.all_bytes - peak.tensor_bytes
        ratio = mine / peak.tensor_bytes
        cells += [
            f"{mine / 1e6:12.3f}",
            f"{peak.tensor_bytes / 1e6:12.3f}",
            f"{ratio:12.4f}",
            f"{scratch / 1e6:12.3f}",
        ]
        ratios.append(ratio)
    attention = case.settings.get("attn_implementation", "")
    label = f"{case.name} {attention} opset {case.opset}{'' if case.comparable else ' *'}"
    dims = " ".join(f"{key}={size}" for key, size in sizes.items())
    print(f"{label:28} {dims:20}", *cells, flush=True)
    return abs(ratios[0] - 1)


if __name__ == "__main__":
    raise SystemExit(main())
