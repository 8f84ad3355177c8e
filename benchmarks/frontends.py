"""From a PyTorch module to its work: time, memory and counts of ours, of torch.export and of FLOP counters, in one run.

    python benchmarks/frontends.py [--models bert,llama-1b] [--runs 5] [--json FILE]
    python benchmarks/frontends.py --whole-process        # the command line on a Llama-70B config

Models are those of tests/zoo.py at their published sizes, with the inputs that energy-opt makes for them. Every way
runs in a process of its own on one thread: importing torch and transformers and building the module on the meta device
come first and are stated apart; then the first call, then the median of more. CPU seconds are user + system. FLOPs are
divided by the closed form of tests/oracles; 1 is right. What a tool misses are the operators of the model of which it
counts nothing (less than half) in a module of that operator alone. Tools that need weights get zeros, and only up to
--real-limit parameters. Needs the `torch` extra; peers are used where they are installed (see what it prints).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import counters

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TIMEOUT_S = 900
# Which probe of frontends_child.py says whether an operator of a model is counted, as transformers spells it.
PROBE = {
    "linear": "Linear", "matmul": "@", "_grouped_mm": "grouped_mm", "grouped_mm_fallback": "grouped_mm",
    "scaled_dot_product_attention": "scaled_dot_product_attention",
}  # fmt: skip


def child(task: str, way: str, model: str, runs: int) -> Any:
    """What the child answers, or one line that says why it does not."""
    script = [sys.executable, str(HERE / "frontends_child.py"), task, way, model, str(runs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            script, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not done after {TIMEOUT_S} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:110]
    return json.loads(done.stdout.splitlines()[-1])


def whole_process(arguments: list[str], runs: int) -> tuple[float, float] | str:
    """(median CPU s, peak RSS in MB) of the command line in a fresh process."""
    seconds, memory = [], []
    for turn in range(runs + 1):
        pid = os.fork()
        if pid == 0:
            os.chdir(ROOT)
            with open(os.devnull, "w") as sink:
                os.dup2(sink.fileno(), 1)
                os.dup2(sink.fileno(), 2)
            os.execv(sys.executable, [sys.executable, "-m", "energy_opt", *arguments])
        _, status, usage = os.wait4(pid, 0)
        if status:
            return f"exit {os.waitstatus_to_exitcode(status)}"
        if turn:  # the first reads the files from disk
            seconds.append(usage.ru_utime + usage.ru_stime)
            memory.append(usage.ru_maxrss * 1024 / 1e6)
    return statistics.median(seconds), max(memory)


def spec_of(model: str) -> list[str]:
    """What one types to get that model of the zoo."""
    from tests import zoo

    chosen = zoo._MODELS[model]
    settings = [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in chosen.full.items()]
    return [chosen.spec, *(word for setting in settings for word in ("--set", setting))]


class Table:
    """Prints rows as they come, and keeps them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def keep(self, method: str, model: str, **values: float | str | None) -> None:
        for metric, value in values.items():
            if value is not None:
                self.rows.append(
                    {"benchmark": "frontends", "setting": model, "method": method, "metric": metric, "value": value}
                )  # fmt: skip


def compare(
    model: str, ways: list[str], blind: dict[str, list[str]], runs: int, limit: float, table: Table
) -> None:
    """All ways on one model, as a table on stdout."""
    known = child("reference", "-", model, 0)
    if isinstance(known, str):
        print(f"\n{model}: no reference: {known}")
        known = {"flops": None, "sizes": {}, "operators": []}
    sizes = ", ".join(f"{dim} {size}" for dim, size in known["sizes"].items())
    closed = f"; closed form {known['flops'] / 1e9:.2f} GFLOPs" if known["flops"] else ""
    print(f"\n{model} ({sizes or 'fixed sizes'}){closed}")
    heads = f"{'CPU s':>8} {'first':>8} {'ratio':>7} {'MB':>6} {'added':>6}  misses"
    print(f"{'':32} {'gives':18} {'weights':8} {heads}")
    apart, parameters = [], 0.0
    for way in ways:
        _, gives, weights, package = counters.WAYS[way]
        if importlib.util.find_spec(package) is None:
            print(f"{way:32} not installed: pip install {package}")
            continue
        if weights == "real" and parameters > limit:
            print(f"{way:32} left out: needs all {parameters / 1e9:.1f}e9 weights in memory")
            continue
        got = child("measure", way, model, runs)
        if isinstance(got, str):
            print(f"{way:32} failed: {got}", flush=True)
            table.keep(way, model, failed=got)
            continue
        parameters = got["parameters"]
        apart.append((got["import_s"], got["build_s"]))
        ratio = got["flops"] / known["flops"] if got["flops"] and known["flops"] else None
        names = [op.rpartition("::")[2] for op in known["operators"]]
        missed = [name for name in names if PROBE.get(name, name) in blind.get(way, [])]
        shown = "-" if ratio is None else f"{ratio:.4f}"
        own = got["peak_mb"] - got["before_mb"]
        print(
            f"{way:32} {gives:18} {weights:8} {got['seconds']:8.3f} {got['first_s']:8.3f} {shown:>7} "
            f"{got['peak_mb']:6.0f} {own:6.0f}  {', '.join(missed)}",
            flush=True,
        )
        table.keep(way, model, cpu_s=got["seconds"], first_cpu_s=got["first_s"], flops=got["flops"], ratio=ratio,
                   peak_mb=got["peak_mb"], call_mb=own, misses=", ".join(missed))  # fmt: skip
    if apart:
        imports, builds = (statistics.median(column) for column in zip(*apart, strict=True))
        print(
            f"apart: importing torch and transformers {imports:.2f} CPU s, building the module {builds:.2f} CPU s"
        )
        table.keep("-", model, import_cpu_s=imports, build_cpu_s=builds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="bert,llama-1b", help="names in tests/zoo.py")
    parser.add_argument("--ways", help=f"comma-separated beginnings of: {'; '.join(counters.WAYS)}")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--real-limit", type=float, default=1.5e9, help="parameters, as zeros")
    parser.add_argument(
        "--whole-process", action="store_true", help="only the command on llama-70b"
    )
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    table = Table()
    if options.whole_process:
        for model in ("bert", "llama-1b", "llama-70b"):
            result = whole_process(["analyze", *spec_of(model)], options.runs)
            told = (
                result
                if isinstance(result, str)
                else f"{result[0]:.2f} CPU s, {result[1]:.0f} MB peak"
            )
            print(f"energy-opt analyze {model:10} whole process: {told}", flush=True)
            if not isinstance(result, str):
                table.keep(
                    "energy-opt analyze, whole process", model, cpu_s=result[0], peak_mb=result[1]
                )
    else:
        wanted = options.ways.split(",") if options.ways else [""]
        ways = [way for way in counters.WAYS if any(way.startswith(begin) for begin in wanted)]
        blind: dict[str, list[str]] = {}
        print("Operators of which a module of that operator alone counts less than half:")
        for way in ways:
            number = counters.WAYS[way][1].startswith("number")
            if number and importlib.util.find_spec(counters.WAYS[way][3]) is not None:
                found = child("misses", way, "-", 0)
                blind[way] = found if isinstance(found, list) else []
                told = ", ".join(found) or "none" if isinstance(found, list) else f"failed: {found}"
                print(f"  {way:32} {told}", flush=True)
                table.keep(way, "probes", misses=told)
        for model in options.models.split(","):
            compare(model, ways, blind, options.runs, options.real_limit, table)
    if options.json:
        options.json.write_text(json.dumps(table.rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
