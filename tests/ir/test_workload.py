"""workload(): signatures, counts, traffic, fusion groups, coverage."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

import energy_opt as eo
from energy_opt import passes
from energy_opt.errors import DimError, ModelError
from energy_opt.ir.dims import symbol

HEADER = '<ir_version: 9, opset_import: ["" : 20, "my.ops" : 1]>\n'


def load(text: str, **weights: tuple[int, ...]) -> eo.Graph:
    proto = parser.parse_model(HEADER + text)
    for name, shape in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    return eo.load(proto)


def test_equal_signatures_share_a_row() -> None:
    graph = load(
        """g (float[N, 8] x) => (float[N, 8] y)
        { a = MatMul(x, w)  b = MatMul(a, v)  c = Relu(b)  y = MatMul(c, w) }""",
        w=(8, 8),
        v=(8, 8),
    )
    rows = {row.op: row for row in eo.workload(graph)}
    assert rows["MatMul"].count == 3
    assert len(rows["MatMul"].uses) == 3
    assert rows["Relu"].count == 1


def test_work_of_a_product_is_a_formula() -> None:
    (row,) = eo.workload(
        load("g (float[N, 8] x) => (float[N, 4] y) { y = MatMul(x, w) }", w=(8, 4))
    )
    batch = symbol("batch")
    assert row.matmul_flops == 64 * batch  # 2 * N * 8 * 4
    assert row.bytes_read == 32 * batch + 128  # 4 bytes: N*8 of x, 8*4 of w
    assert row.bytes_written == 16 * batch
    assert row.weight_bytes == 128
    assert row.dtype == "float32"


def test_views_move_nothing() -> None:
    graph = load(
        "g (float[6, 4] x) => (float[24] y) <int64[1] s = {-1}> { y = Reshape(x, s) }",
    )
    (row,) = eo.workload(graph)
    assert (row.kind, row.bytes_read, row.bytes_written, row.kernels) == ("view", 0, 0, 0)


def test_shape_arithmetic_launches_nothing() -> None:
    graph = load(
        """g (float[N, 4] x) => (float[M] y) <int64[1] four = {4}>
        { s = Shape <start = 0, end = 1> (x)  n = Mul(s, four)  y = Reshape(x, n) }"""
    )
    assert {row.op: row.kernels for row in eo.workload(graph)} == {
        "Shape": 0,
        "Mul": 0,
        "Reshape": 0,
    }


def test_a_moved_weight_stays_a_weight() -> None:
    graph = load(
        "g (float[N, 4] x) => (float[N, 8] y) { t = Transpose(w)  y = MatMul(x, t) }", w=(8, 4)
    )
    work = eo.workload(graph)
    assert [row.op for row in work] == ["MatMul"]
    assert work[0].weight_bytes == 128
    assert work.peak_activation_bytes({"batch": 1}) == 32  # y alone


def test_an_op_without_a_rule_is_priced_as_traffic_and_named() -> None:
    graph = load("g (float[N, 4] x) => (float[N, 4] y) { y = my.ops.Magic(x)  }")
    work = eo.workload(graph)
    assert work.unmodelled == {"my.ops::Magic": 1}
    assert work[0].kind == "other"
    assert work[0].bytes_read == 16 * symbol("batch")
    with pytest.raises(ModelError, match=r"my\.ops::Magic"):
        eo.workload(graph, strict=True)


def test_a_group_keeps_flops_and_drops_inner_traffic() -> None:
    graph = load("g (float[N, 4] x) => (float[N, 4] y) { a = Exp(x)  b = Neg(a)  y = Relu(b) }")
    plain, fused = eo.workload(graph), eo.workload(passes.fuse_elementwise(graph))
    batch = symbol("batch")
    assert len(fused) == 1
    assert fused[0].op == "Exp+Neg+Relu"
    assert fused[0].other_flops == sum(row.other_flops for row in plain)
    assert (fused[0].bytes_read, fused[0].bytes_written) == (16 * batch, 16 * batch)  # x in, y out


def test_a_group_still_writes_what_others_read() -> None:
    graph = load("g (float[N, 4] x) => (float[N, 4] y, float[N, 4] a) { a = Exp(x)  y = Relu(a) }")
    (row,) = eo.workload(passes.fuse_elementwise(graph))
    assert row.bytes_written == 32 * symbol("batch")


def test_totals_are_formulas() -> None:
    graph = load("g (float[N, 8] x) => (float[N, 4] y) { y = MatMul(x, w) }", w=(8, 4))
    assert str(eo.workload(graph).formulas["matmul_flops"]) == "64*batch"


def test_peak_memory_of_a_chain_with_a_residual() -> None:
    graph = load(
        """g (float[N, 4] x) => (float[N, 4] y)
        { a = Exp(x)  b = Neg(a)  c = Sqrt(b)  y = Add(a, c) }"""
    )
    # 16*N bytes each. Alive: a | a b | a b c | a c y (b is gone): three at once.
    assert eo.workload(graph).peak_activation_bytes({"batch": 10}) == 3 * 160


def test_peak_memory_does_not_count_views_twice() -> None:
    graph = load(
        """g (float[6, 4] x) => (float[24] y) <int64[1] s = {-1}>
        { a = Exp(x)  b = Reshape(a, s)  y = Neg(b) }"""
    )
    assert eo.workload(graph).peak_activation_bytes({}) == 2 * 96  # a (with its view b) and y


def test_peak_memory_over_arrays() -> None:
    graph = load("g (float[N, 4] x) => (float[N, 4] y) { a = Exp(x)  y = Neg(a) }")
    peak = eo.workload(graph).peak_activation_bytes({"batch": np.array([1.0, 2.0])})
    np.testing.assert_array_equal(peak, [32, 64])


def test_what_a_body_reads_lives_until_the_last_trip_and_what_it_makes_until_the_loop_hands_it_on() -> (
    None
):
    graph = load(
        """g (float[4] x) => (float[4] y) <int64 trips = {5}, bool go = {1}>
        { a = Exp(x)
          s = Loop (trips, go, x) <body = b (int64 i, bool c, float[4] t) => (bool d, float[4] o)
            { d = Identity(c)  u = Add(t, a)  v = Neg(u)  o = Sqrt(v) }>
          z = Exp(s)  w = Neg(z)  y = Abs(w) }"""
    )
    work = eo.workload(graph)
    live = [size for _, size in work.live_activation_bytes({})]
    ops = [node.op_type for node, _ in work.schedule]
    # 16 bytes each: a throughout the loop, u, v and o as a chain, o until the loop has its result s
    assert dict(zip(ops[1:], live[1:], strict=True)) | {"Exp": live[0]} == {
        "Exp": 16,
        "Identity": 16,
        "Add": 2 * 16,
        "Neg": 2 * 16,  # the last one, of z: z and w
        "Sqrt": 3 * 16,  # a, v, o
        "Loop": 3 * 16,  # a, o, s
        "Abs": 2 * 16,
    }


def test_every_op_and_module_says_what_is_alive_while_it_runs() -> None:
    proto = parser.parse_model(
        HEADER
        + """g (float[N, 4] x) => (float[N, 4] y)
        { a = Exp(x)  b = Neg(a)  c = Sqrt(b)  y = Add(a, c) }"""
    )
    for node, path in zip(proto.graph.node, ("a", "m", "m", "a"), strict=True):
        node.name = f"/{path}/{node.op_type}"
    answer = eo.analyze(eo.load(proto), batch=10).to_dict()
    # 160 bytes each. Alive: a | a b | a b c | a c y
    assert {op["op"]: op["peak_activation_bytes"] for op in answer["ops"]} == {
        "Exp": 160,
        "Neg": 320,
        "Sqrt": 480,
        "Add": 480,
    }
    peaks = {module["path"]: module["peak_activation_bytes"] for module in answer["modules"]}
    assert peaks == {"": 480, "a": 480, "m": 480}


def test_graph_as_networkx() -> None:
    graph = load("g (float[N, 4] x) => (float[N, 4] y) { a = Exp(x)  y = Neg(a) }")
    view = graph.to_networkx()
    assert [(a.op_type, b.op_type) for a, b in view.edges()] == [("Exp", "Neg")]


def test_a_model_in_memory_is_left_as_it_was() -> None:
    proto = parser.parse_model(HEADER + "g (float[s7, 4] x) => (float[s7, 4] y) { y = Neg(x) }")
    before = proto.SerializeToString(deterministic=True)
    eo.workload(eo.load(proto))
    assert onnx.ModelProto.FromString(before) == proto


@pytest.mark.parametrize(
    ("text", "weights", "parameters", "size"),
    [
        ("y = MatMul(x, w)", {"w": (4, 4)}, 16, 64),
        ("a = MatMul(x, w)  y = MatMul(a, w)", {"w": (4, 4)}, 16, 64),  # shared: once
        ("t = Transpose(w)  y = MatMul(x, t)", {"w": (4, 4)}, 16, 64),  # moved
        ("s = ConstantOfShape <value: tensor = float[1] {0.5}> (n)  y = MatMul(x, s)", {}, 16, 64),
        (
            "c = Constant <value: tensor = float[4] {1.0, 2.0, 3.0, 4.0}> ()  y = Add(x, c)",
            {},
            4,
            16,
        ),
        ("y = Add(x, one)", {}, 0, 4),  # a scalar of the exporter's is no parameter
        ("y = Relu(x)", {"unused": (4, 4)}, 0, 0),
    ],
)
def test_parameters(
    text: str, weights: dict[str, tuple[int, ...]], parameters: int, size: int
) -> None:
    head = "g (float[N, 4] x) => (float[N, 4] y) <int64[2] n = {4, 4}, float one = {1.0}> "
    work = eo.workload(load(head + "{ " + text + " }", **weights))
    assert (work.parameters, work.weight_bytes) == (parameters, size)
    assert sum(use.parameters for row in work for use in row.uses) == parameters


def test_half_precision_weights_count_the_same_parameters() -> None:
    graph = load("g (float[N, 4] x) => (float[N, 4] y) { y = MatMul(x, w) }", w=(4, 4))
    work = eo.workload(passes.cast_fp16(graph))
    assert (work.parameters, work.weight_bytes) == (16, 32)


def test_eager_frames_hold_a_modules_inputs() -> None:
    proto = parser.parse_model(
        HEADER
        + """g (float[N, 4] x) => (float[N, 4] y)
        { a = Exp(x)  b = Neg(a)  c = Sqrt(b)  d = Neg(c)  y = Neg(d) }"""
    )
    for node, path in zip(proto.graph.node, ("", "/m", "/m", "/m", ""), strict=True):
        node.name = f"{path}/{node.op_type}"
    work = eo.workload(eo.load(proto))
    # One value dies as the next is born: two at once. In eager mode `a` stays until module m returns with d: three.
    assert work.peak_activation_bytes({"batch": 1}) == 2 * 16
    assert work.peak_activation_bytes({"batch": 1}, frames=True) == 3 * 16


def test_sizes_that_make_no_sense_are_refused_with_the_dims_to_blame() -> None:
    graph = load(
        "g (float[N, 3, H, W] x) => (float[N, 5, A, B] y) { y = Conv(x, w) }", w=(5, 3, 7, 7)
    )
    with pytest.raises(DimError, match=r"with H=1 the value 'y' would have a size of -5 \(H - 6\)"):
        eo.analyze(graph)
    assert eo.analyze(graph, H=32, W=32).energy_j > 0
    with pytest.raises(DimError, match=r"W=4|with W"):
        eo.analyze(graph, H=32, W=np.array([32, 4]))


def test_an_input_without_a_shape_is_said() -> None:
    proto = parser.parse_model(HEADER + "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    for value in (proto.graph.input[0], proto.graph.output[0]):
        value.type.tensor_type.ClearField("shape")
    work = eo.workload(eo.load(proto))
    assert work.unmodelled == {"Relu": 1}
    assert any("unknown shape" in note for note in work.notes)
