"""Multiply-accumulates of PyTorch architectures: ours, closed forms, FlopCounterMode and fvcore in one run.

    python benchmarks/counts_torch.py                 # every architecture of tests/zoo.py at full size
    python benchmarks/counts_torch.py bert mixtral    # some
    python benchmarks/counts_torch.py --no-peers      # ours only

Needs the `torch` extra. Every count is divided by the closed form of tests/oracles; 1 is right. Our graph is made once
for a model, and its dims are bound at each size. FlopCounterMode runs the same module on fake tensors at each size,
with attention written out as products and experts as batched products. It knows no grouped ones, which are the default
(and refuses them in float32 on fake tensors): the column "its grouped" is that default, in bfloat16. fvcore traces real
tensors on the CPU: once for a model, at the first size, where that is small.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

import energy_opt
from energy_opt.frontend.huggingface import Prepared
from energy_opt.frontend.pytorch import counters
from energy_opt.frontend.pytorch.modules import load_module
from energy_opt.ir.graph import Graph
from tests import zoo
from tests.oracles import flop_counter
from tests.oracles.macs_torch import CASES

MOST_MACS_RUN = 2.5e10  # fvcore really computes
TITLES = ("ours", "FlopCounter", "its grouped", "fvcore")


def answer(graph: Graph, sizes: dict[str, int]) -> dict[str, Any]:
    """Our whole answer."""
    return energy_opt.analyze(graph, device="h100-sxm", **sizes).to_dict()


def ours(graph: Graph, sizes: dict[str, int]) -> float:
    """MACs by energy-opt."""
    return float(answer(graph, sizes)["totals"]["macs"])


def flops_of_torch(made: Prepared, sizes: dict[str, int]) -> float:
    """MACs by FlopCounterMode with all the help it can get."""
    return flop_counter.macs(made.module, flop_counter.at(made.inputs, made.dynamic, sizes))


def grouped(made: Prepared, sizes: dict[str, int]) -> float | str:
    """MACs by FlopCounterMode of experts as they are by default; nothing for a model without experts."""
    if made.module.config._experts_implementation != "grouped_mm":
        return ""
    own = made.module.dtype
    inputs = flop_counter.at(made.inputs, made.dynamic, sizes)
    try:
        return flop_counter.macs(made.module.to(torch.bfloat16), inputs, batched_experts=False)
    finally:
        made.module.to(own)


def fvcore(made: Prepared, sizes: dict[str, int], truth: int) -> float | str:
    """MACs of matrix products by fvcore, or why there are none."""
    if truth > MOST_MACS_RUN:
        return "too large"
    inputs = flop_counter.at(made.inputs, made.dynamic, sizes)
    count = counters.fvcore(made.module, (), inputs)
    return count.failed.partition(":")[0] or sum(count.operators.values()) / 2


def attempt(count: Callable[[], float | str]) -> tuple[float | str, float]:
    """A count and the seconds it took; an error's name where it fails."""
    start = time.perf_counter()
    try:
        result = count()
    except Exception as error:  # noqa: BLE001  a peer may fail in any way; the table says how
        result = type(error).__name__
    return result, time.perf_counter() - start


def cell(result: float | str, truth: int, seconds: float) -> str:
    """The count over the closed form, or what went wrong."""
    shown = result if isinstance(result, str) else f"{result / truth:.4f}"
    return f"{shown} {seconds:6.2f}s" if shown else ""


def rows(name: str, *, peers: bool) -> float:
    """Print the rows of one model; returns our worst error relative to the closed form."""
    made = zoo.prepare(name, small=False)
    start = time.perf_counter()
    try:
        graph = load_module(
            made.module, made.inputs, dynamic=made.dynamic, source=made.source, notes=made.notes
        )
    except energy_opt.EnergyOptError as error:
        print(f"{name:12} not loaded: {error}")
        return math.inf
    loaded_s, worst = time.perf_counter() - start, 0.0
    for index, sizes in enumerate(CASES[name].sizes):
        truth = CASES[name].count(made.module.config, **sizes)
        counts = [lambda s=sizes: ours(graph, s)]
        if peers:
            counts += [
                lambda s=sizes: flops_of_torch(made, s),
                lambda s=sizes: grouped(made, s),
                lambda s=sizes, t=truth, first=index == 0: fvcore(made, s, t) if first else "",
            ]
        results = [attempt(count) for count in counts]
        dims = " ".join(f"{key}={size}" for key, size in sizes.items())
        cells = (f"{cell(result, truth, seconds):>22}" for result, seconds in results)
        print(f"{name:12} {dims:33} {truth:20,}", *cells, flush=True)
        result = results[0][0]
        worst = max(worst, math.inf if isinstance(result, str) else abs(result / truth - 1))
    coverage = answer(graph, CASES[name].sizes[0])["coverage"]
    unmodelled = ", ".join(f"{op} {times}x" for op, times in coverage["unmodelled"].items())
    print(
        f"{name:12} graph in {loaded_s:.2f} s; {coverage['ops']} ops, unmodelled: {unmodelled or 'none'}"
    )
    return worst


def main() -> int:
    """Print the table; 1 where one of our counts is off by more than 0.1 %."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(CASES), help="of tests/zoo.py")
    parser.add_argument("--no-peers", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)  # torch logs what fake tensors refuse; the table says it
    titles = TITLES[:1] if arguments.no_peers else TITLES
    print(f"{'model':12} {'dims':33} {'closed form MACs':>20}", *(f"{t:>22}" for t in titles))
    worst = max(rows(name, peers=not arguments.no_peers) for name in arguments.names)
    print(f"our worst error: {worst:.2%}")
    return int(not worst <= 1e-3)


if __name__ == "__main__":
    raise SystemExit(main())
