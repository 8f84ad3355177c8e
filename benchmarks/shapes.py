"""Shape inference beside its peers: coverage of onnx's operator cases, and CPU seconds on the same files in one run.

    python benchmarks/shapes.py [MODEL.onnx ...]     (default: the models in examples/)

Declared shapes are erased first. Coverage: `fed` turns small steering inputs into constants, `unfed` leaves inputs
without values (see tests/ir/test_node_cases.py). Times are CPU seconds (getrusage) of the inference alone, without
reading the file, each tool in a process of its own: the first call, and the best of three. `known` counts node outputs
that get a shape, `open` those of them with an axis that has neither a number nor a name. Some peers refuse files whose
weights were stripped. Tools that are not installed are left out.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import resource
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
REPEATS = 3
TIMEOUT_S = 300


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def erased_proto(path: str) -> Any:
    import onnx

    proto = onnx.load(path, load_external_data=False)
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    return proto


# Each prepares (not timed) and returns the call to time, which returns the number of values with a shape.


def ours(path: str) -> Callable[[], tuple[int, int]]:
    import onnx_ir

    from energy_opt.ir import shapes

    model = onnx_ir.from_proto(erased_proto(path))
    for (
        value
    ) in model.graph.initializers.values():  # as our reader has them: weights without their data
        if value.const_value is not None and value.const_value.size > 1024:
            value.shape, value.const_value = value.const_value.shape, None

    def call() -> tuple[int, int]:
        shapes.infer(model)
        shapes.equalities(model)
        return _count_ir(model)

    return call


def library(path: str) -> Callable[[], tuple[int, int]]:
    import onnx_ir
    from onnx_shape_inference import infer_symbolic_shapes

    model = onnx_ir.from_proto(erased_proto(path))

    def call() -> tuple[int, int]:
        infer_symbolic_shapes(model, warn_on_missing=False)
        return _count_ir(model)

    return call


def _count_ir(model: Any) -> tuple[int, int]:
    """How many node outputs have a shape, and how many of them an axis without number and name."""
    known = [
        o.shape for node in model.graph for o in node.outputs if o.name and o.shape is not None
    ]
    return len(known), sum(
        any(not isinstance(d, int) and d.value is None for d in shape) for shape in known
    )


def _count(proto: Any) -> tuple[int, int]:
    names = {name for node in proto.graph.node for name in node.output if name}
    typed = {v.name: v.type.tensor_type for v in (*proto.graph.value_info, *proto.graph.output)}
    known = [t.shape.dim for name, t in typed.items() if name in names and t.HasField("shape")]
    return len(known), sum(
        any(not (d.HasField("dim_value") or d.dim_param) for d in dims) for dims in known
    )


def onnx_data_prop(path: str) -> Callable[[], tuple[int, int]]:
    import onnx

    proto = erased_proto(path)
    return lambda: _count(onnx.shape_inference.infer_shapes(proto, data_prop=True))


def ort_symbolic(path: str) -> Callable[[], tuple[int, int]]:
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    proto = erased_proto(path)
    return lambda: _count(SymbolicShapeInference.infer_shapes(proto, auto_merge=True))


def slim(path: str) -> Callable[[], tuple[int, int]]:
    import onnxslim

    proto = erased_proto(path)
    return lambda: _count(onnxslim.slim(proto))


def tool(path: str) -> Callable[[], tuple[int, int]]:
    from onnx_tool import Model

    model = Model(erased_proto(path))
    inputs = {}
    import numpy as np

    for name in model.graph.input:
        shape = [
            d if isinstance(d, int) and d > 0 else 1
            for d in model.graph.tensormap[name].get_shape()
        ]
        inputs[name] = np.zeros(shape, np.int64)

    def call() -> tuple[int, int]:
        model.graph.shape_infer(inputs)
        return sum(bool(tensor.shape) for tensor in model.graph.tensormap.values()), 0

    return call


PEERS: dict[str, Callable[[str], Callable[[], tuple[int, int]]]] = {
    "energy-opt": ours,
    "onnx_shape_inference 0.4": library,
    "onnx, data_prop": onnx_data_prop,
    "ORT symbolic_shape_infer": ort_symbolic,
    "onnxslim": slim,
    "onnx-tool": tool,
}


def _timed(name: str, path: str, queue: Any) -> None:
    import logging
    import os

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    times: list[float] = []
    known = (0, 0)
    try:
        while len(times) < REPEATS and sum(times) < 20:
            call = PEERS[name](path)
            start = cpu_s()
            known = call()
            times.append(cpu_s() - start)
        queue.put((times[0], min(times), *known))
    except ImportError:
        queue.put(None)
    except Exception as error:  # noqa: BLE001 - a peer that fails is a result of the comparison
        queue.put(f"{type(error).__name__}: {str(error)[:60]}".replace("\n", " "))


def measure(name: str, path: str) -> Any:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_timed, args=(name, path, queue))
    process.start()
    try:
        return queue.get(timeout=TIMEOUT_S)
    except Exception:  # noqa: BLE001 - queue.Empty of the spawned context
        return f"no answer in {TIMEOUT_S} s"
    finally:
        process.terminate()
        process.join()


def timing(paths: list[str]) -> None:
    import onnx

    for path in paths:
        nodes = len(onnx.load(path, load_external_data=False).graph.node)
        print(f"\n{Path(path).name}: {nodes} nodes")
        for name in PEERS:
            result = measure(name, path)
            if result is None:
                continue
            if isinstance(result, str):
                print(f"  {name:26} failed: {result}")
            else:
                first, best, known, unnamed = result
                print(
                    f"  {name:26} {first:9.4f} {best:9.4f} CPU s   known {known:6d}   open {unnamed:5d}"
                )


def chains() -> None:
    """Linear growth: synthetic layers of nine nodes with their own weights and a symbolic batch and length."""
    import numpy as np
    import onnx_ir

    from energy_opt.ir import shapes

    print(
        "\nsynthetic layers (MatMul, Add, Relu, LayerNormalization, Reshape, Transpose x2, Reshape, Add)"
    )
    for count in (1_000, 10_000, 100_000):
        x = onnx_ir.val("x", onnx_ir.DataType.FLOAT, ["batch", "seq", 64])
        to_heads, back, bias = (
            onnx_ir.val(name, const_value=onnx_ir.tensor(data, name=name))
            for name, data in (
                ("to_heads", np.array([0, 0, 8, 8])),
                ("back", np.array([0, 0, -1])),
                ("bias", np.zeros(64, np.float32)),
            )
        )
        nodes: list[onnx_ir.Node] = []
        weights = [to_heads, back, bias]
        current = x
        while len(nodes) < count:
            weight = onnx_ir.val(f"w{len(weights)}", onnx_ir.DataType.FLOAT, [64, 64])
            weights.append(weight)
            skip = current
            for op, others, attributes in (
                ("MatMul", [weight], {}),
                ("Add", [bias], {}),
                ("Relu", [], {}),
                ("LayerNormalization", [bias, bias], {"axis": -1}),
                ("Reshape", [to_heads], {}),
                ("Transpose", [], {"perm": [0, 2, 1, 3]}),
                ("Transpose", [], {"perm": [0, 2, 1, 3]}),
                ("Reshape", [back], {}),
                ("Add", [skip], {}),
            ):
                node = onnx_ir.node(op, [current, *others], attributes=attributes)
                nodes.append(node)
                current = node.outputs[0]
        graph = onnx_ir.Graph(
            [x], [current], nodes=nodes, initializers=weights, opset_imports={"": 18}, name="g"
        )
        model = onnx_ir.Model(graph, ir_version=9)
        start = cpu_s()
        shapes.infer(model)
        spent = cpu_s() - start
        print(
            f"  {len(nodes):7d} nodes {spent:7.3f} CPU s   {spent / len(nodes) * 1e6:5.1f} us per node"
        )


# --- coverage ---


def _test_module() -> Any:
    spec = importlib.util.spec_from_file_location(
        "node_cases", ROOT / "tests" / "ir" / "test_node_cases.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["node_cases"] = module
    spec.loader.exec_module(module)
    return module


def _run_onnx(model: Any) -> Any:
    import onnx
    import onnx_ir

    inferred = onnx.shape_inference.infer_shapes(onnx_ir.to_proto(model), data_prop=True)
    return onnx_ir.from_proto(inferred)


def _run_library(model: Any) -> Any:
    from onnx_shape_inference import infer_symbolic_shapes

    return infer_symbolic_shapes(model, warn_on_missing=False)


def _run_ours(model: Any) -> Any:
    from energy_opt.ir import shapes

    shapes.infer(model)
    return model


def coverage() -> None:
    cases = _test_module()
    print(
        f"{len(cases._cases())} operator cases of the onnx package, outputs' shapes and dtypes erased"
    )
    print(f"  {'':26} {'':6} {'exact':>6} {'open':>6} {'wrong':>6} {'failed':>6}")
    for way in (True, False):
        for name, run in (
            ("energy-opt", _run_ours),
            ("onnx_shape_inference 0.4", _run_library),
            ("onnx, data_prop", _run_onnx),
        ):
            tally = Counter(_verdict(cases, case, run, way) for case in cases._cases())
            numbers = " ".join(f"{tally[key]:6d}" for key in ("exact", "open", "wrong", "failed"))
            print(f"  {name:26} {'fed' if way else 'unfed':6} {numbers}")


def _verdict(cases: Any, case: Any, run: Callable[[Any], Any], feed: bool) -> str:
    model = cases._erased(case, feed)
    if feed:  # peers know constants as initializers only
        for value in model.graph.inputs:
            if value.const_value is not None:
                value.const_value.name = value.name
                model.graph.initializers.add(value)
    try:
        model = run(model)
    except Exception:  # noqa: BLE001 - a peer that fails is a result of the comparison
        return "failed"
    verdicts = [
        verdict
        for value, item in zip(model.graph.outputs, case.outputs, strict=True)
        for verdict in cases._verdicts(value, item)
    ]
    if any(verdict.startswith("wrong") for verdict in verdicts):
        return "wrong"
    return "open" if "open" in verdicts else "exact"


def main() -> None:
    import logging

    logging.getLogger("onnx_shape_inference").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    paths = sys.argv[1:] or sorted(str(path) for path in (ROOT / "examples").glob("*.onnx"))
    coverage()
    timing(paths)
    chains()


if __name__ == "__main__":
    main()
