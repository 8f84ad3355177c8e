"""Models that a fuzzer found: each is an answer, or one clear line; never a traceback, a hang or a guess."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import onnx
import pytest
from onnx import NodeProto, TensorProto
from onnx import helper as h

import energy_opt as eo
from energy_opt.errors import EnergyOptError


def info(
    name: str, dims: list[int | str] | None, kind: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    return h.make_tensor_value_info(name, kind, dims)


def model(
    nodes: list[NodeProto],
    inputs: list[onnx.ValueInfoProto],
    weights: tuple[TensorProto, ...] = (),
    output: str = "y",
) -> onnx.ModelProto:
    graph = h.make_graph(nodes, "g", inputs, [info(output, None)], weights)
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 20)])


def node(op: str, *inputs: str, **attributes: object) -> NodeProto:
    return h.make_node(op, inputs, ["y"], **attributes)


def sized(*dims: int | str) -> onnx.ModelProto:
    return model([node("Softmax", "x", axis=-1)], [info("x", list(dims))])


def typed(element: int) -> onnx.ModelProto:
    made = sized(2, 2)
    made.graph.input[0].type.tensor_type.elem_type = element
    return made


def sequence_of_nothing() -> onnx.ModelProto:
    made = sized(2, 2)
    made.graph.input[0].type.CopyFrom(onnx.TypeProto(sequence_type=onnx.TypeProto.Sequence()))
    return made


def with_attribute(op: str, name: str, **fields: object) -> onnx.ModelProto:
    made = node(op, "x") if op != "Constant" else node(op)
    made.attribute.add(name=name, **fields)
    return model([made], [info("x", [1, 3, 8, 8])])


def weight(**fields: object) -> onnx.ModelProto:
    return model(
        [node("Gather", "w", "x")],
        [info("x", [2], TensorProto.INT64)],
        (TensorProto(name="w", **fields),),
    )


def sparse() -> onnx.ModelProto:
    values = h.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    places = h.make_tensor("i", TensorProto.INT64, [1], [0])
    constant = h.make_node(
        "Constant", [], ["c"], sparse_value=h.make_sparse_tensor(values, places, [3])
    )
    return model([constant, node("Add", "x", "c")], [info("x", [3])])


def doubling(times: int) -> onnx.ModelProto:
    nodes = [
        h.make_node("Concat", ["x" if i == 0 else f"t{i}"] * 2, [f"t{i + 1}"], axis=0)
        for i in range(times)
    ]
    return model([*nodes, node("Relu", f"t{times}")], [info("x", [2**62, 2**62])])


def many_symbols(count: int) -> onnx.ModelProto:
    """A chain over tensors that share no size: its totals are formulas over all of them."""
    nodes = [
        h.make_node("Einsum", [f"t{i}", f"x{i + 1}"], [f"t{i + 1}"], equation="ab,cd->ac")
        for i in range(count)
    ]
    inputs = [info("t0", ["d0", "e0"])]
    inputs += [info(f"x{i + 1}", [f"d{i + 1}", f"e{i + 1}"]) for i in range(count)]
    return model([*nodes, node("Relu", f"t{count}")], inputs)


def weight_that_is_an_input() -> onnx.ModelProto:
    weights = (h.make_tensor("w", TensorProto.FLOAT, [4, 3, 2, 3], [0.0] * 72),)
    inputs = [info("x", [2, 3, 4, 5]), info("w", [4, 3, "batch", 3])]
    return model([node("Conv", "x", "w")], inputs, weights)


CASES = {
    "formulas over 120 sizes": many_symbols(60),
    "a weight whose input says another size": weight_that_is_an_input(),
    "a power without end": sized("9**9**9**9", 2),
    "a division by zero": sized("1/0", 2),
    "a negative expression": sized("-n", 4),
    "an expression that is zero": sized("n-n", 4),
    "a dim called True": sized("True", 4),
    "a dim called max": sized("max", 4),
    "a dim called lambda": sized("lambda", 4),
    "minus one as a name": sized("-1", 4),
    "element type 0": typed(0),
    "element type 99": typed(99),
    "element type -1": typed(-1),
    "a sequence of nothing": sequence_of_nothing(),
    "strings": model([node("StringNormalizer", "x")], [info("x", [2], TensorProto.STRING)]),
    "a graph where integers belong": with_attribute(
        "AveragePool", "strides", type=onnx.AttributeProto.GRAPH
    ),
    "a constant that is a float": with_attribute(
        "Constant", "value", type=onnx.AttributeProto.FLOAT, f=1.0
    ),
    "a reference outside of a function": with_attribute(
        "Constant", "value", type=onnx.AttributeProto.TENSOR, ref_attr_name="elsewhere"
    ),
    "negative weight sizes": weight(dims=[-(2**63), 2], data_type=1),
    "weight sizes whose product is huge": weight(dims=[2**62, 2**62, 7, 3], data_type=21),
    "weight type 0": weight(dims=[2], data_type=0),
    "weight type 99": weight(dims=[2], data_type=99),
    "too little data": weight(dims=[2], data_type=7, raw_data=b"\1" * 8),
    "data in the wrong field": weight(dims=[1], data_type=TensorProto.INT16, int64_data=[1]),
    "weights that are strings": model(
        [node("BatchNormalization", "x", "s", "s", "s", "s")],
        [info("x", [2, 3, 4])],
        (h.make_tensor("s", TensorProto.STRING, [3], [b"a"] * 3),),
    ),
    "two nodes make y": model([node("Relu", "x"), node("Relu", "x")], [info("x", [2])]),
    "an input with an evil name": model([node("Relu", "a\x1b[31m\nb")], [info("x", [2])]),
    "an output that nothing makes": model(
        [node("Relu", "x")], [info("x", [2])], output="no\x1b[31mpe"
    ),
    "a sparse constant": sparse(),
    "sizes beyond a float": doubling(1100),
    "no sizes at all": model([node("MatMul", "x", "x")], [info("x", None)]),
}


@pytest.mark.parametrize("name", CASES)
def test_an_answer_or_one_clear_line(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(CASES[name].SerializeToString())
    try:
        answer = eo.analyze(path, device="t4").to_dict()
    except EnergyOptError as error:
        assert str(error).isprintable()
        assert "cannot be understood" not in str(error)
        assert str(error).startswith(str(path))
    else:
        json.dumps(answer, allow_nan=False)
        assert all(v >= 0 for v in answer["totals"].values() if isinstance(v, (int, float)))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_sparse_constant_is_read_as_a_dense_one(tmp_path: Path) -> None:
    proto = sparse()
    before = proto.SerializeToString(deterministic=True)
    graph = eo.load(proto)
    assert [str(value.shape) for n in graph.nodes() for value in n.outputs] == ["[3]", "[3]"]
    assert proto.SerializeToString(deterministic=True) == before
