"""What ONNX Runtime really runs, beside what the `onnxruntime` runtime here predicts it runs.

    python benchmarks/kernels.py [MODEL.onnx ...] [--json FILE]

Weights are filled with random numbers where the file has none. The session's saved optimised model (all optimisations,
CPU) is counted op by op; so are the predicted kernels.
"""

from __future__ import annotations

import argparse
import collections
import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import energy_opt as eo
from energy_opt import passes

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NOT_KERNELS = {"Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten", "Shape", "Constant"}


def with_random_weights(path: Path) -> onnx.ModelProto:
    """The model with every missing weight made up: N(0, 0.02), small integers for indices."""
    model = onnx.load(path, load_external_data=False)
    random = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        values = random.standard_normal(tuple(tensor.dims), dtype=np.float32) * 0.02
        made = onnx.numpy_helper.from_array(np.abs(values).astype(dtype), tensor.name)
        tensor.CopyFrom(made)
    return model


def executed(model: onnx.ModelProto) -> collections.Counter[str]:
    """Op counts of the graph that ONNX Runtime made of the model."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "model.onnx", Path(folder) / "optimized.onnx"
        onnx.save(model, source, save_as_external_data=True, location="model.data")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", "weights.bin"
        )
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(target, load_external_data=False).graph
    return collections.Counter(node.op_type for node in graph.node)


def predicted(path: Path) -> collections.Counter[str]:
    """Op counts of the kernels that we predict."""
    graph = eo.load(path)
    graph = passes.run(graph, eo.Runtime.load("onnxruntime").fusions)
    counts: collections.Counter[str] = collections.Counter()
    for row in eo.workload(graph):
        if row.kernels:
            counts[row.op] += len(row.uses)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for path in options.models or [
        EXAMPLES / f"{n}.onnx" for n in ("bert-base", "distilbert", "resnet50", "vit-b16")
    ]:
        real = executed(with_random_weights(path))
        ours = predicted(path)
        kernels = {
            "ours": sum(ours.values()),
            "onnxruntime": sum(n for op, n in real.items() if op not in NOT_KERNELS),
        }
        print(
            f"{path.name}: predicted {kernels['ours']} kernels, ONNX Runtime runs {kernels['onnxruntime']}"
        )
        print("   ours        ", dict(ours.most_common(14)))
        print("   onnxruntime ", dict(real.most_common(18)))
        rows += [
            {
                "benchmark": "kernels",
                "setting": path.name,
                "method": m,
                "metric": "kernels",
                "value": v,
            }
            for m, v in kernels.items()
        ]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
