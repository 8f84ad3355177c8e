"""What an ONNX Runtime session takes beside its kernels, and what profiling adds to them: from chains of nodes."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from energy_opt.calibrate.ort_models import Composite
from energy_opt.calibrate.ort_profile import Profiling, run_times
from energy_opt.estimators.runtime import HostCost

_LONG = 60
"""Nodes in a chain."""

_RUNS = 60
_SMALL, _SHARED = (8, 16), (128, 256)
"""Sizes of an activation that one thread computes, and of one that several share."""

Open = Callable[[Composite, str], Any]
"""Opens a session and says what runs it once; with a prefix for files, under ONNX Runtime's profiler."""


def host_cost(start: Open) -> HostCost:
    """Seconds per run and per view.

    The run is a session of one node that does nothing; a view's is what a Reshape before each kernel adds to a chain. A
    kernel's launch is part of its time.
    """
    run_s = _seconds(start, _chain("Sin", _SMALL, 0))
    kernels_s = _seconds(start, _chain("Sin", _SMALL))
    views_s = _seconds(start, _chain("Sin", _SMALL, views=True))
    view_s = max(0.0, (views_s - kernels_s) / _LONG)
    return HostCost(launch_s=0.0, view_s=view_s, run_s=run_s, overlaps=False)


def profiling(start: Open, folder: Path) -> Profiling:
    """Seconds that profiling adds to a kernel on one thread and on several: chains with it less the same without."""
    found = []
    for op, shape in (("Sin", _SMALL), ("Softmax", _SHARED)):
        made = _chain(op, shape)
        bare_s = _seconds(start, made) - _seconds(start, _chain(op, shape, 0))
        found.append(max(0.0, (_profiled(start, made, folder) - bare_s) / _LONG))
    return Profiling(*found)


def _chain(
    op: str, shape: tuple[int, int], length: int = _LONG, *, views: bool = False
) -> Composite:
    """Nodes one after another, with a view before each where asked."""
    nodes = [helper.make_node("Identity", ["x"], ["y0"], name="first")]
    for number in range(length):
        x = f"y{number}"
        if views:
            target = "flat" if number % 2 else "square"
            nodes.append(helper.make_node("Reshape", [x, target], [f"r{number}"]))
            x = f"r{number}"
        nodes.append(helper.make_node(op, [x], [f"y{number + 1}"], name=f"k{number}"))
    targets = {"flat": np.array([-1, shape[0] * shape[1]]), "square": np.array([-1, *shape])}
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info(f"y{length}", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in targets.items()] if views else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    fed = np.random.default_rng(0).standard_normal((1, *shape), np.float32)
    return Composite(model.SerializeToString(), {"x": fed}, {})


def _seconds(start: Open, made: Composite) -> float:
    """Median seconds of a run."""
    _, run = start(made, "")
    times = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _profiled(start: Open, made: Composite, folder: Path) -> float:
    """Median over runs of the seconds of all kernels, as the profile has them."""
    session, run = start(made, str(folder / "host"))
    for _ in range(_RUNS):
        run()
    path = Path(session.end_profiling())
    events = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return statistics.median(run_times(events))
