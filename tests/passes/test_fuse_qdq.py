"""Quantized graphs written as dequantize, compute, quantize: what is read, written and computed in integers."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper, parser

import energy_opt as eo
from energy_opt import passes

HEADER = '<ir_version: 10, opset_import: ["" : 21]>\n'


def load(body: str, bits: type = np.int8, outputs: str = "float[N, 4] y") -> eo.Graph:
    proto = parser.parse_model(f"{HEADER}g (float[N, 8] x) => ({outputs}) {{ {body} }}")
    weights = {
        "w": np.zeros((8, 4), bits),
        "b": np.zeros(4, np.int32),
        "s": np.array(0.1, np.float32),
        "z": np.array(0, np.int8),
    }
    for name, array in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return eo.load(proto)


LAYER = """q = QuantizeLinear(x, s, z)  xf = DequantizeLinear(q, s, z)  wf = DequantizeLinear(w, s, z)
bf = DequantizeLinear(b, s)  a = Gemm(xf, wf, bf)  r = Relu(a)  p = QuantizeLinear(r, s, z)
y = DequantizeLinear(p, s, z)"""


def test_a_layer_between_dequantize_and_quantize_is_one_integer_kernel() -> None:
    graph = load(LAYER)
    before, after = eo.workload(graph), eo.workload(passes.fuse_qdq(graph))
    rows = {row.op: row for row in after}
    gemm = rows["Gemm"]
    assert gemm.dtype == "int8"
    # a row of 8 and one of 4 of one byte each; 8 * 4 weights and 4 biases of 4 bytes; no scales
    batch = next(iter(gemm.bytes_written.free_symbols))  # type: ignore[union-attr]
    assert gemm.bytes_read == 8 * batch + 32 + 16
    assert gemm.bytes_written == 4 * batch
    assert set(rows) == {"QuantizeLinear", "Gemm", "Relu", "DequantizeLinear"}
    assert rows["DequantizeLinear"].count == 1  # the last: the result leaves as a float
    assert {row.op: row.dtype for row in before}["Gemm"] == "float32"
    assert (after.parameters, after.weight_bytes) == (before.parameters, before.weight_bytes)
    assert any("integers" in note for note in after.notes)


def test_activations_are_kept_as_integers() -> None:
    graph = load(LAYER)
    sizes = {"batch": 10}
    # beside x: q and r at one byte (80 + 40 + 40), then p as a float (40 + 160)
    assert eo.workload(passes.fuse_qdq(graph)).peak_activation_bytes(sizes) == 200
    assert eo.workload(graph).peak_activation_bytes(sizes) > 400


def test_what_something_else_reads_as_a_float_stays_one() -> None:
    leaking = load(
        LAYER.replace("a = Gemm", "t = Exp(xf)  a = Gemm"), outputs="float[N, 4] y, float[N, 8] t"
    )
    assert passes.fuse_qdq(leaking) is leaking


def test_weights_alone_in_integers_are_read_so_and_computed_in_floats() -> None:
    graph = load("wf = DequantizeLinear(w, s, z)  y = MatMul(x, wf)")
    (row,) = eo.workload(passes.fuse_qdq(graph))
    batch = next(iter(row.bytes_written.free_symbols))  # type: ignore[union-attr]
    assert (row.op, row.dtype, row.bytes_read) == ("MatMul", "float32", 32 * batch + 32)


def test_onnxruntime_runs_quantized_graphs_in_integers() -> None:
    ops = {op["op"]: op["dtype"] for op in eo.analyze(load(LAYER), runtime="onnxruntime").ops()}
    assert ops["Gemm"] == "int8"
    ops = {op["op"]: op["dtype"] for op in eo.analyze(load(LAYER), runtime="eager").ops()}
    assert ops["Gemm"] == "float32"
