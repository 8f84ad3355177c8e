"""What an ONNX Runtime session takes beside its kernels: per run, per kernel, and per node that only renames memory."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from energy_opt.calibrate.ort_models import Composite
from energy_opt.estimators.runtime import HostCost

_LONG = 60
"""Nodes, or groups of them, in a chain."""

_RUNS = 60


def host_cost(threads: int, folder: Path) -> HostCost:
    """Seconds per run, per kernel and per view.

    The run is a session of one node that does nothing. A kernel's is what a chain of small ones takes beyond their own
    profile; a view's is what a Reshape before each adds to the chain.
    """
    run_s = _seconds(_chain(0, False), threads)
    kernels_s = _seconds(_chain(_LONG, False), threads)
    own_s = _profiled(_chain(_LONG, False), threads, folder)
    views_s = _seconds(_chain(_LONG, True), threads)
    launch_s = max(0.0, (kernels_s - run_s - own_s) / _LONG)
    view_s = max(0.0, (views_s - kernels_s) / _LONG)
    return HostCost(launch_s=launch_s, view_s=view_s, run_s=run_s, overlaps=False)


def _chain(length: int, views: bool) -> Composite:
    """Additions one after another, with a view before each where asked."""
    nodes = [helper.make_node("Identity", ["x"], ["y0"], name="first")]
    for number in range(length):
        x, own = f"y{number}", f"_{number}"
        if views:
            nodes += [
                helper.make_node("Reshape", [x, "flat" if number % 2 else "square"], [f"r{own}"])
            ]
            x = f"r{own}"
        nodes.append(helper.make_node("Sin", [x], [f"y{number + 1}"], name=f"k{number}"))
    constants = {"flat": np.array([-1, 128]), "square": np.array([-1, 8, 16])}
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8, 16])],
        [helper.make_tensor_value_info(f"y{length}", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()]
        if views
        else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    fed = np.random.default_rng(0).standard_normal((1, 8, 16), np.float32)
    return Composite(model.SerializeToString(), {"x": fed}, {})


def _seconds(made: Composite, threads: int) -> float:
    """Median seconds of a run."""
    from energy_opt.calibrate.ort import bound, opened, session_options

    session = opened(made, session_options(threads))
    binding = bound(session, made.feeds)
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        session.run_with_iobinding(binding)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _profiled(made: Composite, threads: int, folder: Path) -> float:
    """Median over runs of the seconds of all kernels, as the profile has them."""
    from energy_opt.calibrate.ort import bound, opened, session_options

    options = session_options(threads)
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "host")
    session = opened(made, options)
    binding = bound(session, made.feeds)
    for _ in range(_RUNS):
        session.run_with_iobinding(binding)
    path = Path(session.end_profiling())
    sums, total = [], 0.0
    for event in json.loads(path.read_text(encoding="utf-8")):
        if event["name"] == "SequentialExecutor::Execute":
            sums.append(total)
            total = 0.0
        elif event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            total += (event["dur"] + 0.5) * 1e-6
    path.unlink()
    return statistics.median(sums)
