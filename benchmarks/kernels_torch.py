"""Kernels predicted beside those of PyTorch: of an eager run, and of the code that TorchInductor generates.

    python benchmarks/kernels_torch.py [--models bert,llama-1b] [--json FILE]
    python benchmarks/kernels_torch.py --eager [--models ...]

Models are those of tests/zoo.py with few small layers, on this machine's processor with weights of zeros. Ours are
launches per inference: `eager` before fusion; `graph` after it, of them those that the compiler would generate (fused)
and those that it would call.

`--eager` counts what a run dispatches below autograd: every operator there is one kernel, but for views and
allocations. `call` is the module as a person calls it, `program` the same with the flags that torch.export sets: models
then write out the mask that they leave away elsewhere, as in our graph. What differs from the program is listed by
operator: a boolean mask, which attention turns into numbers with three small kernels, and attention that has no fused
kernel here.

Without it the calls of TorchInductor's code are counted: `fused` kernels, and `library` calls for products,
convolutions and attention. Needs the `torch` extra, and for TorchInductor a C++ compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

MODELS = "bert,gpt2,llama-1b,gemma,qwen3,t5,vit,resnet,convnext,mamba"
LIBRARY = frozenset({"matmul", "conv", "attention", "rnn", "moe", "sort", "fft"})


NO_KERNEL = frozenset(
    """_local_scalar_dense _reshape_alias _unsafe_view alias detach empty empty_like empty_strided lift_fresh new_empty
    new_empty_strided""".split()
)
"""Operators that allocate, rename or read one value."""
SAME = {
    "addmm": "linear", "mm": "linear", "bmm": "matmul", "convolution": "conv", "native_layer_norm": "layer_norm",
    "native_batch_norm": "batch_norm", "native_group_norm": "group_norm", "_softmax": "softmax", "_to_copy": "to",
    "type_as": "to", "clone": "copy", "contiguous": "copy", "reshape": "copy", "bitwise_and": "__and__",
    "_scaled_dot_product_flash_attention_for_cpu": "scaled_dot_product_attention", "constant_pad_nd": "pad",
    "max_pool2d_with_indices": "max_pool2d", "_grouped_mm": "grouped_mm_fallback", "minimum": "min",
    "_weight_norm_interface": "_weight_norm", "adaptive_avg_pool1d": "mean", "adaptive_avg_pool2d": "mean",
    "conv1d": "conv", "conv2d": "conv", "linear": "linear", "matmul": "matmul",
}  # fmt: skip
"""What one of our operators is called below autograd; products of matrices are compared together."""


def ours_eager(prepared: Any) -> Counter[str]:
    """Launches of an eager run by our count, by operator."""
    import energy_opt as eo
    from energy_opt.frontend.pytorch.modules import load_module
    from energy_opt.ir.dims import evaluate

    work = eo.workload(load_module(prepared.module, prepared.inputs, source=prepared.source))
    bound = work.bind({})
    found: Counter[str] = Counter()
    for row in work:
        found[row.op] += row.kernels * int(evaluate(row.count, bound))
    return found


def dispatched(prepared: Any, *, exporting: bool) -> Counter[str]:
    """Operators that do work in a run on the processor, by name."""
    import counters
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    found: Counter[str] = Counter()

    class Leaves(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(
            self, function: Any, _: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            aliases = [result.alias_info for result in function._schema.returns]
            view = aliases and all(alias is not None and not alias.is_write for alias in aliases)
            name = function._schema.name.partition("::")[2]
            found[name] += not view and name not in NO_KERNEL
            return function(*args, **(kwargs or {}))

    module, inputs = counters.placed(prepared.module, prepared.inputs, "cpu")
    with flags(exporting), torch.no_grad(), Leaves():
        module(**inputs)
    return found


@contextlib.contextmanager
def flags(exporting: bool) -> Iterator[None]:
    """What torch.export sets, and models ask for."""
    import torch

    names = ("_is_exporting_flag", "_is_compiling_flag") if exporting else ()
    before = {name: getattr(torch.compiler, name) for name in names}
    try:
        for name in names:
            setattr(torch.compiler, name, True)
        yield
    finally:
        for name, value in before.items():
            setattr(torch.compiler, name, value)


def eager(model: str) -> list[dict[str, Any]]:
    """Print one model's counts of an eager run, ours and torch's."""
    from tests import zoo

    mine = ours_eager(zoo.prepare(model))
    call, program = (dispatched(zoo.prepare(model), exporting=on) for on in (False, True))
    merged = [Counter[str](), Counter[str]()]
    for into, counts in zip(merged, (mine, program), strict=True):
        for name, count in counts.items():
            into[SAME.get(name, name)] += count
    for counts in merged:  # a product is mm or bmm by its shapes
        counts["linear"] += counts.pop("matmul", 0)
    rest = {name: merged[1][name] - merged[0][name] for name in {*merged[0], *merged[1]}}
    totals = [sum(counts.values()) for counts in (mine, call, program)]
    print(
        f"{model:12} {totals[0]:6} {totals[1]:6} {totals[0] / totals[1]:6.2f} {totals[2]:8} "
        f"{totals[0] / totals[2]:6.2f}  ",
        *(f"{name} {count:+}" for name, count in sorted(rest.items()) if count),
        flush=True,
    )
    names = ("eager", "called", "exporting")
    return [
        {"benchmark": "kernels_torch", "setting": model, "metric": name, "value": value}
        for name, value in zip(names, totals, strict=True)
    ]


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
    parser.add_argument("--models", help="names in tests/zoo.py")
    parser.add_argument("--eager", action="store_true", help="compare with an eager run")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    rows = eager_table(options.models) if options.eager else compiled_table(options.models)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def eager_table(models: str | None) -> list[dict[str, Any]]:
    """The comparison with an eager run of all models of the zoo, or of these."""
    import torch

    from tests import zoo

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(
        f"{'':12} {'ours':>6} {'call':>6} {'ratio':>6} {'program':>8} {'ratio':>6}   more in the program"
    )
    return [row for model in (models.split(",") if models else zoo.NAMES) for row in eager(model)]


def compiled_table(models: str | None) -> list[dict[str, Any]]:
    """The comparison with TorchInductor."""
    rows: list[dict[str, Any]] = []
    heads = f"{'all':>4} {'fused':>6} {'library':>8} {'ratio':>6}"
    print(f"{'':12} {'eager':>6} {'graph':>6} {'fused':>6} {'library':>8}   inductor: {heads}")
    for model in (models or MODELS).split(","):
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
    return rows


if __name__ == "__main__":
    main()
