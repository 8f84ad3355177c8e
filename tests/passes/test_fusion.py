"""Fusion passes: what is grouped, what is left alone, before and after as text."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper, parser

import energy_opt as eo
from energy_opt import passes
from energy_opt.errors import UsageError
from energy_opt.ir.dims import evaluate

HEADER = '<ir_version: 9, opset_import: ["" : {opset}]>\n'


def load(text: str, opset: int = 20, **weights: tuple[int, ...]) -> eo.Graph:
    proto = parser.parse_model(HEADER.format(opset=opset) + text)
    for name, shape in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    return eo.load(proto)


GELU = """g (float[N, 4] x) => (float[N, 4] y) <float r = {1.4142135}, float one = {1.0}, float half = {0.5}>
{ a = Add(x, bias)  d = Div(a, r)  e = Erf(d)  p = Add(e, one)  m = Mul(a, p)  y = Mul(m, half) }"""
GELU_HALF_ON_THE_SIDE = GELU.replace(
    "m = Mul(a, p)  y = Mul(m, half)", "h = Mul(a, half)  y = Mul(h, p)"
)
GELU_AS_DYNAMO_WRITES_IT = GELU.replace(
    "m = Mul(a, p)  y = Mul(m, half)", "m = Mul(half, p)  y = Mul(a, m)"
)


@pytest.mark.parametrize(
    ("name", "text", "weights", "before", "after"),
    [
        ("fuse-gelu", GELU, {"bias": (4,)}, 6, 1),
        ("fuse-gelu", GELU_HALF_ON_THE_SIDE, {"bias": (4,)}, 6, 1),
        (
            "fuse-gelu",
            GELU_AS_DYNAMO_WRITES_IT,
            {"bias": (4,)},
            6,
            6,
        ),  # ONNX Runtime leaves it alone
        ("fuse-gelu", GELU, {"bias": (3, 4)}, 6, 2),  # not a bias: Gelu alone
        (
            "fuse-gelu",
            "g (float[N, 4] x) => (float[N, 4] y) { a = Add(x, bias)  y = Gelu(a) }",
            {"bias": (4,)},
            2,
            1,
        ),
        (
            "fuse-conv",
            """g (float[N, 3, 8, 8] x, float[N, 5, 6, 6] r) => (float[N, 5, 6, 6] y)
            { c = Conv(x, w)  s = Add(c, r)  y = Relu(s) }""",
            {"w": (5, 3, 3, 3)},
            3,
            1,
        ),
        (  # the convolution has another reader: it must be written, and nothing may be fused to it
            "fuse-conv",
            "g (float[N, 3, 8, 8] x) => (float[N, 5, 6, 6] y, float[N, 5, 6, 6] c) { c = Conv(x, w)  y = Relu(c) }",
            {"w": (5, 3, 3, 3)},
            2,
            2,
        ),
        (
            "fuse-skip-norm",
            """g (float[N, 4] x, float[N, 4] r) => (float[N, 4] y, float[N, 4] s)
            { s = Add(x, r)  y = LayerNormalization(s, w, w) }""",
            {"w": (4,)},
            2,
            1,
        ),
        (  # a bias is not a residual
            "fuse-skip-norm",
            "g (float[N, 4] x) => (float[N, 4] y) { s = Add(x, w)  y = LayerNormalization(s, w, w) }",
            {"w": (4,)},
            2,
            2,
        ),
        ("fuse-elementwise", GELU_AS_DYNAMO_WRITES_IT, {"bias": (4,)}, 6, 1),
        (  # y must not join the group of a: it needs b, which needs a
            "fuse-elementwise",
            """g (float[4, 4] x) => (float[4, 4] y) { a = Exp(x)  b = MatMul(a, a)  y = Add(a, b) }""",
            {},
            3,
            3,
        ),
        (  # what is broadcast to one reader is computed there
            "fuse-elementwise",
            "g (float[N, 1] x, float[N, 4] z) => (float[N, 4] y) { a = Exp(x)  y = Add(a, z) }",
            {},
            2,
            1,
        ),
        (  # it has another reader, and over other elements: two kernels
            "fuse-elementwise",
            "g (float[N, 1] x, float[N, 4] z) => (float[N, 4] y, float[N, 1] a) { a = Exp(x)  y = Add(a, z) }",
            {},
            2,
            2,
        ),
    ],
)
def test_groups(
    name: str, text: str, weights: dict[str, tuple[int, ...]], before: int, after: int
) -> None:
    graph = load(text, **weights)
    kernels = [
        sum(row.kernels * len(row.uses) for row in eo.workload(g))
        for g in (graph, passes.run(graph, [name]))
    ]
    assert kernels == [before, after]


def test_an_unknown_pass_is_answered_with_those_there_are() -> None:
    graph = load("g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }")
    with pytest.raises(UsageError, match="fuse-conv"):
        passes.run(graph, ["fuse-everything"])


OPS = st.sampled_from(["Exp", "Relu", "Add", "Mul", "Softmax", "Transpose", "MatMul", "ReduceMean"])
NODES = st.lists(st.tuples(OPS, st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=14)


def random_graph(nodes: list[tuple[str, int, int]]) -> eo.Graph:
    """Operators on earlier results of 4 by 4; means of rows are right operands of Add and Mul alone."""
    names, rows, lines = ["x"], ["r"], []
    for op, left, right in nodes:
        operands = [names[left % len(names)]]
        if op == "MatMul":
            operands.append(names[right % len(names)])
        if op in ("Add", "Mul"):
            operands.append([*names, *rows][right % (len(names) + len(rows))])
        attributes = " <axes = [1]>" if op == "ReduceMean" else ""
        lines.append(f"v{len(lines)} = {op}{attributes}({', '.join(operands)})")
        (rows if op == "ReduceMean" else names).append(f"v{len(lines) - 1}")
    text = f"g (float[4, 4] x, float[4, 1] r) => (float[4, 4] {names[-1]}) {{ {'  '.join(lines)} }}"
    if names[-1] == "x":
        text = text.replace("(float[4, 4] x) {", "(float[4, 1] v0) {")
    return load(text, opset=13)


@given(NODES)
def test_fusing_never_adds_traffic_or_kernels_and_keeps_flops(
    nodes: list[tuple[str, int, int]],
) -> None:
    graph = random_graph(nodes)

    def totals(graph: eo.Graph) -> tuple[float, float, float]:
        work = eo.workload(graph)
        flops = work.formulas["matmul_flops"] + work.formulas["other_flops"]
        moved = work.formulas["bytes_read"] + work.formulas["bytes_written"]
        kernels = sum(row.kernels * len(row.uses) for row in work)
        assert all(
            evaluate(row.bytes_read, {}) >= 0 <= evaluate(row.bytes_written, {}) for row in work
        )
        return float(evaluate(flops, {})), float(evaluate(moved, {})), float(kernels)

    plain, fused = totals(graph), totals(passes.fuse_elementwise(graph))
    assert fused[0] == plain[0]
    assert fused[1] <= plain[1]
    assert fused[2] <= plain[2]


@given(NODES)
def test_no_two_kernels_wait_for_each_other(nodes: list[tuple[str, int, int]]) -> None:
    graph = passes.fuse_elementwise(random_graph(nodes))
    kernels = networkx.DiGraph()
    for reader in graph.nodes():
        for value in reader.inputs:
            maker = value.producer() if value is not None else None
            if maker is not None:
                ends = [graph.fused.get(node, node) for node in (maker, reader)]
                if ends[0] != ends[1]:
                    kernels.add_edge(*ends)
    assert networkx.is_directed_acyclic_graph(kernels)


def test_half_precision_halves_what_is_float32() -> None:
    graph = load(
        """g (float[N, 4] x) => (float[N, 4] y) { m = MatMul(x, w)  h = Cast <to = 10> (m)  y = Cast <to = 1> (h) }""",
        w=(4, 4),
    )
    half = passes.cast_fp16(graph)
    work, plain = eo.workload(half), eo.workload(graph)
    assert work[0].dtype == "float16"
    assert 2 * work[0].bytes_read == plain[0].bytes_read
    assert 2 * work.weight_bytes == plain.weight_bytes
    assert plain[0].dtype == "float32"  # the original is as it was
    assert eo.workload(passes.cast_bf16(graph))[0].dtype == "bfloat16"
    fused = passes.run(graph, ["fuse-elementwise", "cast-fp16"])
    assert [row.bytes_read for row in eo.workload(fused)] == [
        row.bytes_read for row in eo.workload(passes.run(graph, ["cast-fp16", "fuse-elementwise"]))
    ]
