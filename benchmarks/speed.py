"""How fast and how small: load, shapes, work and the whole command, beside other tools on the same files in one run.

    python benchmarks/speed.py [MODEL.onnx ...] [--nodes 10000,100000] [--json FILE]

CPU seconds (user + system) of child processes, each with one warm-up run not counted; peak memory is the child's own.
Peers are used where they are installed: onnx, onnxruntime, onnx-tool, onnxslim.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"

# Each body runs in a fresh process with `path` set; it leaves the CPU seconds that count in `seconds`.
LOADED = """
import energy_opt as eo, energy_opt.ir.shapes, energy_opt.ir.workload
from energy_opt.frontend import onnx as frontend
graph = eo.load(path); eo.workload(graph)
from onnx_ir import Shape
def erase(model):
    for node in model.graph.all_nodes():
        for value in node.outputs: value.shape = None
graph = eo.load(path); erase(graph.model)
start = cpu(); energy_opt.ir.shapes.infer(graph.model); work = eo.workload(graph); seconds = cpu() - start
"""
BODIES = {
    "energy-opt: shapes and work, warm": LOADED,
    "energy-opt: load (file to graph with shapes)": """
import energy_opt as eo
eo.load(path)
start = cpu(); eo.load(path); seconds = cpu() - start
""",
    "onnx.shape_inference (data_prop)": """
import onnx
model = onnx.load(path, load_external_data=False)
start = cpu(); onnx.shape_inference.infer_shapes(model, data_prop=True); seconds = cpu() - start
""",
    "onnxruntime symbolic_shape_infer": """
import onnx
from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference
model = onnx.load(path, load_external_data=False)
start = cpu()
SymbolicShapeInference.infer_shapes(model, auto_merge=True, guess_output_rank=True)
seconds = cpu() - start
""",
    "onnx-tool: shapes and MACs": """
import onnx_tool
model = onnx_tool.Model(path, {"verbose": False})
start = cpu(); model.graph.shape_infer(inputs()); model.graph.profile(); seconds = cpu() - start
""",
    "onnxslim": """
import onnxslim
start = cpu(); onnxslim.slim(path, skip_fusion_patterns=None); seconds = cpu() - start
""",
}
PRELUDE = """
import logging, resource, sys, warnings
warnings.simplefilter("ignore"); logging.disable(logging.CRITICAL)
def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF); return u.ru_utime + u.ru_stime
path = sys.argv[1]
def inputs():
    import numpy, onnx
    from onnx.helper import tensor_dtype_to_np_dtype
    made = {}
    for value in onnx.load(path, load_external_data=False).graph.input:
        kind = value.type.tensor_type
        shape = [d.dim_value or 8 for d in kind.shape.dim]
        made[value.name] = numpy.ones(shape, tensor_dtype_to_np_dtype(kind.elem_type))
    return made
"""


def run_body(body: str, path: Path, runs: int) -> tuple[float, float] | str:
    """(median CPU s of the timed part, peak RSS in MB), or why it failed."""
    script = (
        PRELUDE
        + body
        + "\nprint('@', seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    seconds, memory = [], []
    for _ in range(runs):
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)],
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("@")]
        if done.returncode or not lines:
            return (done.stderr.strip().splitlines() or ["no output"])[-1][:90]
        _, s, m = lines[-1].split()
        seconds.append(float(s))
        memory.append(float(m))
    return statistics.median(seconds), max(memory)


def run_command(arguments: list[str], runs: int) -> tuple[float, float] | str:
    """(median CPU s, peak RSS in MB) of a whole process."""
    seconds, memory = [], []
    for turn in range(runs + 1):
        pid = os.fork()
        if pid == 0:
            os.chdir(HERE.parent)
            with open(os.devnull, "w") as sink:
                os.dup2(sink.fileno(), 1)
                os.dup2(sink.fileno(), 2)
            os.execv(sys.executable, [sys.executable, *arguments])
        _, status, usage = os.wait4(pid, 0)
        if status:
            return f"exit {os.waitstatus_to_exitcode(status)}"
        if turn:
            seconds.append(usage.ru_utime + usage.ru_stime)
            memory.append(usage.ru_maxrss / 1024)
    return statistics.median(seconds), max(memory)


def chain(nodes: int, path: Path, *, weight_mb: int = 0) -> None:
    """A model of that many nodes: MatMul, Add, LayerNormalization, Reshape, Transpose, Relu on x[batch, 16, 64]."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = [
        numpy_helper.from_array(np.ones((64, 64), np.float32), "w"),
        numpy_helper.from_array(np.ones(64, np.float32), "b"),
        numpy_helper.from_array(np.array([0, 16, 4, 16], np.int64), "heads"),
        numpy_helper.from_array(np.array([0, 16, 64], np.int64), "flat"),
    ]
    made, last = [], "x"

    def add(op: str, inputs: list[str], **attributes: object) -> None:
        nonlocal last
        name = f"/block.{len(made) // 8}/{op}_{len(made)}"
        made.append(helper.make_node(op, inputs, [f"v{len(made)}"], name=name, **attributes))
        last = f"v{len(made) - 1}"

    while len(made) + 8 <= nodes:
        add("MatMul", [last, "w"])
        add("Add", [last, "b"])
        add("LayerNormalization", [last, "b", "b"])
        add("Reshape", [last, "heads"])
        add("Transpose", [last], perm=[0, 2, 1, 3])
        add("Transpose", [last], perm=[0, 2, 1, 3])
        add("Reshape", [last, "flat"])
        add("Relu", [last])
    while len(made) < nodes:
        add("Relu", [last])
    graph = helper.make_graph(
        made,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16, 64])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["batch", 16, 64])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)


def million_points(path: Path) -> tuple[float, float] | str:
    """CPU s and RSS of the energy of 1,000,000 (batch, seq) points, after one small evaluation."""
    return run_body(
        """
import numpy as np, energy_opt as eo
graph = eo.load(path)
eo.analyze(graph, device="t4", batch=np.arange(1, 9), seq=128).energy_j
batch, seq = (a.ravel() for a in np.meshgrid(np.arange(1, 1001), np.arange(1, 1001)))
start = cpu(); energy = eo.analyze(graph, device="t4", batch=batch, seq=seq).energy_j; seconds = cpu() - start
assert energy.shape == (1_000_000,)
""",
        path,
        1,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument(
        "--nodes",
        default="10000,100000",
        help="sizes of synthetic graphs, comma-separated; '' for none",
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    models = options.models or [EXAMPLES / "bert-base.onnx", EXAMPLES / "resnet50.onnx"]
    rows: list[dict[str, object]] = []

    def report(setting: str, method: str, result: tuple[float, float] | str) -> None:
        if isinstance(result, str):
            print(f"{setting:28} {method:46} failed: {result}")
            return
        print(
            f"{setting:28} {method:46} {result[0]:8.3f} CPU s {result[1]:8.0f} MB peak", flush=True
        )
        for metric, value in zip(("cpu_s", "peak_mb"), result, strict=True):
            rows.append(
                {
                    "benchmark": "speed",
                    "setting": setting,
                    "method": method,
                    "metric": metric,
                    "value": value,
                }
            )

    report(
        "-", "python -c 'import energy_opt'", run_command(["-c", "import energy_opt"], options.runs)
    )
    report("-", "energy-opt --help", run_command(["-m", "energy_opt", "--help"], options.runs))
    for model in models:
        path = model.resolve()
        for method, body in BODIES.items():
            report(model.name, method, run_body(body, path, options.runs))
        report(
            model.name,
            "energy-opt analyze, whole process",
            run_command(["-m", "energy_opt", "analyze", str(path)], options.runs),
        )
    if any("bert" in model.name for model in models):
        bert = next(model for model in models if "bert" in model.name)
        report(bert.name, "1,000,000 (batch, seq) points of energy", million_points(bert.resolve()))
    with tempfile.TemporaryDirectory() as folder:
        for nodes in (int(n) for n in options.nodes.split(",") if n):
            path = Path(folder) / f"chain{nodes}.onnx"
            chain(nodes, path)
            report(
                f"{nodes} nodes",
                "energy-opt analyze, whole process",
                run_command(["-m", "energy_opt", "analyze", str(path)], 1),
            )
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(f"(this script itself: {usage.ru_utime + usage.ru_stime:.1f} CPU s)")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
