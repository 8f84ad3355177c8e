"""Kernels predicted for the `graph` runtime beside those that TorchInductor generates for the same module.

    python benchmarks/kernels_torch.py [--models bert,llama-1b] [--json FILE]

Models are those of tests/zoo.py with few small layers, compiled for this machine's processor with weights of zeros; the
calls of the generated code are counted: `fused` kernels, and `library` calls for products, convolutions and attention.
Ours are launches per inference: `eager` before fusion; `graph` after it, of them those that the compiler would generate
(fused) and those that it would call. Needs the `torch` extra and a C++ compiler.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

MODELS = "bert,gpt2,llama-1b,gemma,qwen3,t5,vit,resnet,convnext,mamba"
LIBRARY = frozenset({"matmul", "conv", "attention", "rnn", "moe", "sort", "fft"})


def ours(prepared: Any) -> dict[str, int]:
    """Launches by our count, before and after the fusions of the `graph` runtime."""
    import energy_opt as eo
    from energy_opt.estimators.runtime import Runtime
    from energy_opt.frontend.pytorch.modules import load_module

    graph = load_module(prepared.module, prepared.inputs, source=prepared.source)
    fused = eo.workload(eo.passes.run(graph, Runtime.load("graph").fusions))
    launches = {"library": 0, "fused": 0}
    for row in fused:
        launches["library" if row.kind in LIBRARY else "fused"] += row.kernels * len(row.uses)
    eager = sum(row.kernels * len(row.uses) for row in eo.workload(graph))
    return {"eager": eager, **launches}


def inductor(prepared: Any) -> dict[str, int]:
    """Calls in the code that TorchInductor generates."""
    import counters
    import torch
    from torch._inductor import config
    from torch._inductor.utils import run_and_get_code

    config.compile_threads = 1
    module, inputs = counters.placed(prepared.module, prepared.inputs, "cpu")
    with torch.no_grad():
        _, codes = run_and_get_code(torch.compile(module), **inputs)
    body = [
        line.strip() for code in codes for line in code.splitlines() if line.startswith(" " * 8)
    ]
    calls = [
        line
        for line in body
        if re.match(r"(cpp_fused_\w+\(|(buf\d+ = )?(extern_kernels|torch\.ops)\.)", line)
    ]
    fused = sum(line.startswith("cpp_fused_") for line in calls)
    return {"fused": fused, "library": len(calls) - fused}


def child(model: str) -> None:
    """Both counts of one model as JSON."""
    import torch

    from tests import zoo

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    mine = ours(zoo.prepare(model, small=True))
    print(json.dumps({"ours": mine, "inductor": inductor(zoo.prepare(model, small=True))}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=MODELS, help="names in tests/zoo.py")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    rows: list[dict[str, Any]] = []
    heads = f"{'all':>4} {'fused':>6} {'library':>8} {'ratio':>6}"
    print(f"{'':12} {'eager':>6} {'graph':>6} {'fused':>6} {'library':>8}   inductor: {heads}")
    for model in options.models.split(","):
        script = [sys.executable, str(HERE / "kernels_torch.py"), "--child", model]
        done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=900)
        if done.returncode:
            print(f"{model:12} failed: {(done.stderr.strip().splitlines() or ['?'])[-1][:100]}")
            continue
        got = json.loads(done.stdout.splitlines()[-1])
        mine, theirs = got["ours"], got["inductor"]
        graph, real = mine["fused"] + mine["library"], theirs["fused"] + theirs["library"]
        print(
            f"{model:12} {mine['eager']:6} {graph:6} {mine['fused']:6} {mine['library']:8}   {real:14} "
            f"{theirs['fused']:6} {theirs['library']:8} {graph / real:6.2f}",
            flush=True,
        )
        for metric, value in (("predicted", graph), ("generated", real), ("eager", mine["eager"])):
            rows.append({"benchmark": "kernels_torch", "setting": model, "metric": metric, "value": value})  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
