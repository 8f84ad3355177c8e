"""The ONNX front-end: control flow, functions, weights, and files that make no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import energy_opt as eo
from energy_opt.errors import ModelError
from tests.frontend.written import text_model


def macs(graph: eo.Graph, **dims: int) -> float:
    return float(eo.analyze(graph, **dims).macs)


# -- control flow ----------------------------------------------------------------------------------------------------

LOOP = """g (float[4, 4] x, int64 {trips_input}) => (float[4, 4] y)
<int64 trips = {{5}}, bool go = {{1}}>
{{ y = Loop ({trips}, go, x) <body = b (int64 i, bool c, float[4, 4] s) => (bool c2, float[4, 4] s2)
   {{ c2 = Identity(c)  s2 = MatMul(s, s) }}> }}"""


def test_a_constant_trip_count_multiplies_the_body() -> None:
    graph = eo.load(text_model(LOOP.format(trips="trips", trips_input="unused")))
    row = next(row for row in eo.workload(graph) if row.op == "MatMul")
    assert row.count == 5
    assert row.matmul_flops == 2 * 4 * 4 * 4
    assert not [info for info in graph.dims.values() if info.origin == "trip"]


def test_an_unknown_trip_count_is_a_dim_that_defaults_to_one() -> None:
    graph = eo.load(text_model(LOOP.format(trips="n", trips_input="n")))
    (trip,) = [info for info in graph.dims.values() if info.origin == "trip"]
    assert macs(graph) == 64
    assert macs(graph, **{trip.name: 7}) == 7 * 64


def test_a_loop_that_may_end_early_is_counted_to_its_limit_and_said() -> None:
    text = LOOP.format(trips="trips", trips_input="unused").replace(
        "c2 = Identity(c)", "t = ReduceSum <keepdims = 0> (s) c2 = Cast <to = 9> (t)"
    )
    graph = eo.load(text_model(text))
    assert next(row for row in eo.workload(graph) if row.op == "MatMul").count == 5
    assert any("may end it earlier" in note for note in graph.notes)


def test_scan_runs_once_per_slice() -> None:
    graph = eo.load(
        text_model(
            """g (float[4, 4] s0, float[6, 4, 4] xs) => (float[4, 4] s, float[6, 4, 4] ys)
            { s, ys = Scan (s0, xs) <num_scan_inputs = 1, body = b (float[4, 4] a, float[4, 4] x)
              => (float[4, 4] a2, float[4, 4] o) { a2 = MatMul(a, x)  o = Relu(a2) }> }"""
        )
    )
    row = next(row for row in eo.workload(graph) if row.op == "MatMul")
    assert row.count == 6


def test_the_larger_branch_of_an_open_if_is_counted_and_said() -> None:
    graph = eo.load(
        text_model(
            """g (bool c, float[4, 4] x) => (float[4, 4] y)
            { y = If (c) <then_branch = t () => (float[4, 4] a) { a = Relu(x) },
                          else_branch = e () => (float[4, 4] d) { b = MatMul(x, x)  d = Relu(b) }> }"""
        )
    )
    assert {row.op for row in eo.workload(graph)} == {"If", "MatMul", "Relu"}
    assert any("else_branch" in note for note in graph.notes)


def test_a_branch_is_larger_by_its_work_and_the_other_ones_weights_are_in_the_model() -> None:
    proto = text_model(
        """g (bool c, float[N, 64] x) => (float[N, 64] y)
        { y = If (c) <then_branch = t () => (float[N, 64] a) { p = Relu(x) q = Neg(p) r = Abs(q) a = Mul(r, v) },
                      else_branch = e () => (float[N, 64] d) { b = MatMul(x, w)  d = MatMul(b, w) }> }"""
    )
    for name, shape in (("v", (64,)), ("w", (64, 64))):
        weight = numpy_helper.from_array(np.zeros(shape, np.float32), name)
        proto.graph.initializer.append(weight)
    graph = eo.load(proto)
    work = eo.workload(graph)
    assert {row.op for row in work} == {"If", "MatMul"}
    assert (work.parameters, work.weight_bytes) == (64 + 64 * 64, 4 * (64 + 64 * 64))
    assert work.nodes == 7
    totals = eo.analyze(graph).to_dict()
    assert sum(op["parameters"] for op in totals["ops"]) == 64 + 64 * 64


def test_what_is_said_of_branches_stays_readable() -> None:
    nodes = " ".join(
        f"""y{i} = If (c) <then_branch = t{i} () => (float[4] a{i}) {{ a{i} = Relu(x) }},
                           else_branch = e{i} () => (float[4] b{i}) {{ b{i} = Neg(x) }}>"""
        for i in range(9)
    )
    graph = eo.load(text_model(f"g (bool c, float[4] x) => (float[4] y8) {{ {nodes} }}"))
    said = graph.notes[1:]  # the first says that the file names no modules
    assert len(said) == 5
    assert said[-1] == "and so for 5 more nodes of control flow"


# -- functions -------------------------------------------------------------------------------------------------------


def function_model(bodies: dict[str, list[str]], calls: int = 1) -> onnx.ModelProto:
    """Functions of domain `f` that call the ops named, one after the other; the graph calls the first."""
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]
    functions = []
    for name, ops in bodies.items():
        nodes = [
            helper.make_node(
                op.removeprefix("f:"),
                [f"v{i}"],
                [f"v{i + 1}"],
                domain="f" if op.startswith("f:") else "",
            )
            for i, op in enumerate(ops)
        ]
        functions.append(helper.make_function("f", name, ["v0"], [f"v{len(ops)}"], nodes, opsets))
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 4]) for n in ("x", "y")]
    node = helper.make_node(next(iter(bodies)), ["x"], ["y"], domain="f", name="call")
    graph = helper.make_graph([node], "g", info[:1], info[1:])
    return helper.make_model(graph, functions=functions, opset_imports=opsets)


def test_functions_are_read_through() -> None:
    graph = eo.load(function_model({"outer": ["f:inner", "f:inner"], "inner": ["Relu", "Exp"]}))
    assert {row.op: row.count for row in eo.workload(graph)} == {"Relu": 2, "Exp": 2}


def test_a_function_that_calls_itself_is_refused() -> None:
    with pytest.raises(ModelError, match="calls itself"):
        eo.load(function_model({"a": ["f:b"], "b": ["f:a"]}))


def test_functions_that_explode_are_refused_before_they_do() -> None:
    bodies = {f"f{i}": [f"f:f{i + 1}"] * 10 for i in range(12)} | {"f12": ["Relu"]}
    with pytest.raises(ModelError, match="expand to more than"):
        eo.load(function_model(bodies))


# -- weights ---------------------------------------------------------------------------------------------------------


def matmul_with_weights() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.zeros((64, 64), np.float32), "w")
    text = "g (float[N, 64] x) => (float[N, 64] y) { a = MatMul(x, w)  y = MatMul(a, w) }"
    proto = text_model(text)
    proto.graph.initializer.append(weight)
    return proto


@pytest.mark.parametrize("external", [False, True])
def test_weights_are_counted_but_not_needed(tmp_path: Path, external: bool) -> None:
    path = tmp_path / "m.onnx"
    options = {"save_as_external_data": True, "location": "m.data", "size_threshold": 0}
    onnx.save(matmul_with_weights(), path, **(options if external else {}))
    (tmp_path / "m.data").unlink(missing_ok=True)
    work = eo.workload(eo.load(path))
    assert work.parameters == 64 * 64  # shared by both products, counted once
    assert work.weight_bytes == 64 * 64 * 4
    assert any("not needed" in note for note in work.notes)


# -- files that make no sense ----------------------------------------------------------------------------------------


def dangling(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].input[0] = "nowhere"


def cyclic(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].input[0] = proto.graph.node[1].output[0]


def twice(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].output[0] = proto.graph.node[0].output[0]


def future(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 9999


def no_opset(proto: onnx.ModelProto) -> None:
    del proto.opset_import[:]


def no_producer(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].name = "nobody"


def mismatched(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 63


def misdeclared(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 65


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (dangling, "reads the value 'nowhere'"),
        (cyclic, "cycle|before"),
        (twice, "two nodes make the value 'a'"),
        (future, "opset 9999 is not known"),
        (no_opset, "opset"),
        (no_producer, "'nobody'"),
        (mismatched, "63"),
        (misdeclared, "65"),
    ],
)
def test_what_makes_no_sense_is_one_clear_error(
    damage: Callable[[onnx.ModelProto], None], message: str
) -> None:
    proto = matmul_with_weights()
    damage(proto)
    with pytest.raises(ModelError, match=message) as caught:
        eo.load(proto)
    assert "\n" not in str(caught.value)


def test_nodes_out_of_order_are_put_in_order_and_said() -> None:
    proto = text_model(
        "g (float[N, 4] x) => (float[N, 4] y) { y = Relu(b)  b = MatMul(a, a)  a = Cast<to = 1>(x) }"
    )
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 4
    graph = eo.load(proto)
    assert [node.op_type for node in graph.nodes()] == ["Cast", "MatMul", "Relu"]
    assert any("order" in note for note in graph.notes)


def test_a_classifier_whose_output_is_a_map_is_read() -> None:
    scores = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])
    probabilities = helper.make_value_info(
        "p",
        helper.make_sequence_type_proto(
            helper.make_map_type_proto(
                TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
            )
        ),
    )
    node = helper.make_node(
        "ZipMap", ["x"], ["p"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]
    )
    graph = helper.make_graph([node], "g", [scores], [probabilities])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    work = eo.workload(eo.load(helper.make_model(graph, opset_imports=opsets)))
    assert [row.op for row in work] == ["ZipMap"]
    assert work.unmodelled == {}
