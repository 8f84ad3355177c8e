"""The ONNX front-end: dims, scopes, control flow, functions, weights, and files that make no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

import energy_opt as eo
from energy_opt.errors import DimError, ModelError

HEADER = '<ir_version: 9, opset_import: ["" : {opset}]>\n'


def text_model(text: str, opset: int = 20) -> onnx.ModelProto:
    return parser.parse_model(HEADER.format(opset=opset) + text)


def macs(graph: eo.Graph, **dims: int) -> float:
    return float(eo.analyze(graph, **dims).macs)


# -- dims ------------------------------------------------------------------------------------------------------------


def test_each_inputs_own_batch_symbol_becomes_one() -> None:
    graph = eo.load(
        text_model(
            """g (int64[s10, s11] input_ids, int64[s86, s11] token_type_ids) => (int64[a, b] y)
            { y = Add(input_ids, token_type_ids) }"""
        )
    )
    assert list(graph.dims) == ["batch", "seq"]
    assert set(graph.dims["batch"].aliases) == {"s10", "s86"}
    assert any("the same size as input_ids axis 0: the batch" in note for note in graph.notes)


@pytest.mark.parametrize(
    ("inputs", "dims"),
    [
        # words that say the same are one size; letters, and words that differ, are two
        ("float[batch, 4] x, float[batch_size, 4] z", ["batch"]),
        ("float[N, 4] x, float[b, 4] z", ["batch", "b"]),
        ("int64[text_batch, 4] x, float[image_batch, 3, 8, 8] z", ["text_batch", "image_batch"]),
        ("float[s1, 3, s2, s3, s4] x", ["batch", "depth", "height", "width"]),
        ("float[s1, 3, s2, s3] x", ["batch", "height", "width"]),
        # one past, though each key and value has a symbol of its own; the mask covers it and the new tokens
        (
            "int64[s1, s2] input_ids, int64[s3, s4] attention_mask, "
            "float[s1, 2, s5, 8] past_0_key, float[s1, 2, s6, 8] past_0_value",
            ["batch", "seq", "past"],
        ),
        (
            "int64[b, seq] input_ids, int64[b, total_sequence_length] mask, float[b, 2, past, 8] k",
            ["batch", "seq", "past"],
        ),
        # a mask's total, where the new tokens come without a telling name
        (
            "float[b, seq, 8] x, int64[b, total_length] mask, float[b, 2, past, 8] k",
            ["batch", "seq", "past"],
        ),
        # the encoder's keys are as long as its input, not as the past
        (
            "int64[s1, 1] ids, float[s1, 2, s5, 8] past_decoder_key, float[s1, 2, s6, 8] past_encoder_key",
            ["batch", "past", "encoder_seq"],
        ),
    ],
)
def test_names_and_roles(inputs: str, dims: list[str]) -> None:
    proto = text_model(f"g ({inputs}) => (float y) {{ y = Constant<value_float = 1.0>() }}")
    assert list(eo.load(proto).dims) == dims


def test_a_shared_cache_is_a_buffer_and_its_total_the_keys() -> None:
    graph = eo.load(
        parser.parse_model(
            """<ir_version: 9, opset_import: ["" : 20, "com.microsoft" : 1]>
            g (float[b, 1, 64] x, int64[b, total] mask, float[b, 1, room, 32] k, float[b, 1, room, 32] v, int32[b] n)
              => (float[b, 1, 64] y, float[b, 1, room, 32] pk, float[b, 1, room, 32] pv)
              <int64 one = {1}> {
              s = Shape(mask)  t = Gather(s, one)  t32 = Cast<to = 6>(t)
              key = Slice(x, zero, half, two)
              y, pk, pv = com.microsoft.GroupQueryAttention<num_heads = 2, kv_num_heads = 1>(
                x, key, key, k, v, n, t32) }""".replace(
                "<int64 one = {1}>",
                "<int64 one = {1}, int64[1] zero = {0}, int64[1] half = {32}, int64[1] two = {2}>",
            )
        )
    )
    estimate = eo.analyze(graph, b=1, total=10, room=1000)
    (attention,) = (op for op in estimate.ops() if op["kind"] == "attention")
    assert attention["macs"] == 2 * 2 * 10 * 32  # two heads meet ten keys of 32, twice
    assert attention["bytes_written"] == 4 * (64 + 2 * 32)  # the result and one new key and value


def test_symbols_that_an_operator_forces_to_be_equal_become_one() -> None:
    graph = eo.load(
        text_model(
            """g (int64[s10, s11] input_ids, int64[s10, s99] attention_mask) => (int64[a, b] y)
            { y = Mul(input_ids, attention_mask) }"""
        )
    )
    assert list(graph.dims) == ["batch", "seq"]
    assert "s99" in graph.dims["seq"].aliases


def test_the_files_names_and_ours_both_bind() -> None:
    graph = eo.load(
        text_model("g (float[batch_size, s1, 4] x) => (float[n, m, 4] y) { y = Relu(x) }")
    )
    assert graph.bind({"batch_size": 3, "s1": 5}) == graph.bind({"batch": 3, "seq": 5})
    with pytest.raises(DimError, match="twice"):
        graph.bind({"batch": 3, "batch_size": 4})


def test_an_unknown_dim_is_answered_with_those_there_are() -> None:
    graph = eo.load(text_model("g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"))
    with pytest.raises(DimError, match=r"no dim 'bacth'; it has: batch \(x axis 0\)"):
        graph.bind({"bacth": 3})


@pytest.mark.parametrize("size", [0, -1, 1.5, "8", None, True, [], [1, 0], [1.5]])
def test_sizes_that_cannot_be_are_refused(size: object) -> None:
    graph = eo.load(text_model("g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"))
    with pytest.raises(DimError, match="batch"):
        graph.bind({"batch": size})


def test_a_fixed_model_says_that_it_has_no_dims() -> None:
    graph = eo.load(text_model("g (float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }"))
    with pytest.raises(DimError, match="no free dims"):
        graph.bind({"batch": 3})


def test_declared_expressions_are_kept() -> None:
    graph = eo.load(
        text_model(
            """g (float[batch, past, 4] cache, float[batch, 1, 4] x) => (float[batch, n, 4] y)
            { y = Concat <axis = 1> (cache, x) }"""
        )
    )
    shape = next(graph.nodes()).outputs[0].shape
    assert shape is not None
    assert [str(dim) for dim in shape.dims] == ["batch", "past + 1", "4"]


def test_absurd_dim_names_are_names_only() -> None:
    proto = text_model("g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }")
    for text in ("a**99999999", "__import__('os')", "9" * 5000 + "*x", "x" * 100_000, "\x1b[31m"):
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = text
        proto.graph.output[0].type.tensor_type.shape.dim[0].dim_param = text
        graph = eo.load(proto)
        assert len(graph.dims) == 1
        assert next(iter(graph.dims)).isidentifier()


def test_negative_sizes_are_refused() -> None:
    proto = text_model("g (float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -2
    with pytest.raises(ModelError, match=r"'x' declares size -2 on axis 0"):
        eo.load(proto)


# -- scopes ----------------------------------------------------------------------------------------------------------


def test_scopes_from_the_dynamo_exporters_metadata() -> None:
    proto = text_model("g (float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }")
    for key, value in (
        ("pkg.torch.onnx.name_scopes", "['', 'encoder', 'encoder.layer.0', 'relu']"),
        (
            "pkg.torch.onnx.class_hierarchy",
            "['m.Bert', 'm.Encoder', 'm.BertLayer', 'aten.relu.default']",
        ),
    ):
        entry = proto.graph.node[0].metadata_props.add()
        entry.key, entry.value = key, value
    graph = eo.load(proto)
    assert eo.workload(graph)[0].uses[0].path == "encoder.layer.0"
    assert graph.modules == {"": "Bert", "encoder": "Encoder", "encoder.layer.0": "BertLayer"}


def test_scopes_from_node_names() -> None:
    proto = text_model("g (float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }")
    proto.graph.node[0].name = "/encoder/layer.0/attention/self/query/Relu"
    use = eo.workload(eo.load(proto))[0].uses[0]
    assert use.path == "encoder.layer.0.attention.self.query"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/features/features.0/features.0.1/Conv", "features.0.1"),
        ("/layer1/layer10/Conv", "layer1.layer10"),
        ("/Conv", ""),
    ],
)
def test_children_of_a_sequential_are_not_named_twice(name: str, path: str) -> None:
    proto = text_model("g (float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }")
    proto.graph.node[0].name = name
    assert eo.workload(eo.load(proto))[0].uses[0].path == path


def test_nodes_without_a_name_belong_where_their_weight_or_their_neighbours_do() -> None:
    proto = text_model(
        """g (float[N, 4] x) => (float[N, 4] y)
        { a = MatMul(x, q)  b = Relu(a)  c = MatMul(b, p)  d = MatMul(c, s)  y = MatMul(d, s) }"""
    )
    for node, name in zip(proto.graph.node, ("", "fused", "", "/h/0/out/MatMul", "x"), strict=True):
        node.name = name
    for index, name in ((0, "h.0.fc.weight_Q4"), (2, "h.0.proj.weight"), (3, "h.9.tied")):
        weight = numpy_helper.from_array(np.zeros((4, 4), np.float32), name)
        proto.graph.initializer.append(weight)
        proto.graph.node[index].input[1] = name
    proto.graph.node[4].input[1] = "h.9.tied"
    paths = [node.metadata_props["energy_opt.path"] for node in eo.load(proto).nodes()]
    # Relu stands between h.0.fc and h.0.proj; the tied weight tells nothing of the last, which only h.0.out feeds
    assert paths == ["h.0.fc", "h.0", "h.0.proj", "h.0.out", "h.0.out"]


def test_a_convolution_with_a_folded_batch_norm_is_the_convolution(examples: Path) -> None:
    work = eo.workload(eo.load(examples / "resnet50.onnx"))
    paths = {use.path for row in work if row.kind == "conv" for use in row.uses}
    assert len(paths) == 53
    assert all(path.endswith(".convolution") for path in paths)


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


def test_a_size_that_the_weights_ask_for_is_the_default() -> None:
    proto = text_model("g (float[N, K] x) => (float[N, 4] y) { y = MatMul(x, w) }")
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros((8, 4), np.float32), "w"))
    graph = eo.load(proto)
    assert graph.bind({})["K"] == 8
    assert any("K (x axis 1) is 8 unless given" in note for note in graph.notes)


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
