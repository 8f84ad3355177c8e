"""Hostile shapes: inference ends, and in few megabytes."""

from __future__ import annotations

import onnx_ir
import pytest
import sympy

from energy_opt.errors import ModelError
from energy_opt.ir import shapes
from tests.ir.written import dims, model


def _chain(line: str, count: int) -> str:
    return "\n".join(line.replace("@+", str(i + 1)).replace("@", str(i)) for i in range(count))


@pytest.mark.parametrize(
    "text",
    [
        "g () => (float y) { s = Constant<value_ints = [9223372036854775807, 5]>() y = ConstantOfShape(s) }",
        "g (int64[3] x) => (int64 y) { s = Constant<value_ints = [1000000000000]>() y = Tile(x, s) }",
        "g () => (int64 y) { x = Constant<value_ints = [1, 2]>() s = Constant<value_ints = [9999]>() y = Tile(x, s) }",
        "g (int64[1] x) => (int64 y) { s = Constant<value_ints = [10000000, 10000000]>() y = Expand(x, s) }",
        "g (float[9223372036854775807, 9223372036854775807] x) => (float y) { y = Flatten<axis = 2>(x) }",
        "g (float[n] x0) => (float y) { "
        + _chain("x@+ = Concat<axis = 0>(x@, x@)", 200)
        + " y = Identity(x200) }",
        "g (float[n] z) => (int64 y) { x0 = Size(z) "
        + _chain("x@+ = Mul(x@, x@)", 300)
        + " y = Identity(x300) }",
        "g () => (int64 y) { x0 = Constant<value_int = 3>() "
        + _chain("x@+ = Mul(x@, x@)", 300)
        + " y = Identity(x300) }",
        "g (float[n, m] z) => (float y) { o = Constant<value_int = 1>() x0 = Size(z) "
        + _chain("p@ = Add(x@, o) x@+ = Mul(x@, p@)", 100)
        + " y = ConstantOfShape(x100) }",
        "g (float[1, 1, n] x0) => (float y) { "
        + _chain(
            "x@+ = MaxPool<kernel_shape = [3], strides = [2], pads = [1, 1], ceil_mode = 1>(x@)",
            100,
        )
        + " y = Identity(x100) }",
        "g (float[n] x0, float[m] q) => (float y) { st = Constant<value_ints = [1]>() en = Shape(q) "
        + _chain("s@ = Slice(x@, st, en) x@+ = Concat<axis = 0>(s@, x@)", 60)
        + " y = Identity(x60) }",
        "g (float[100000000] x) => (seq(float) y) { y = SplitToSequence(x) }",
    ],
    ids=range(12),
)
def test_hostile_sizes_stay_small(text: str) -> None:
    parsed = model(text)
    shapes.infer(parsed)
    for node in parsed.graph:
        for value in node.outputs:
            assert len(str(value.shape)) < 2000
            followed = shapes.known_values(value)
            assert followed is None or all(
                not isinstance(v, int) or abs(v) < 2**63 for v in followed
            )


@pytest.mark.parametrize(
    "name",
    ["2**99999999999", "(" * 5000 + "a" + ")" * 5000, "a/0", "a" * 100_000, "x; y", "é", "7"],
)
def test_hostile_dim_names_become_plain_symbols(name: str) -> None:
    parsed = model("g (float[n] x) => (float y) { y = Relu(x) }")
    parsed.graph.inputs[0].shape = onnx_ir.Shape([onnx_ir.SymbolicDim(name)])
    shapes.infer(parsed)
    (dim,) = dims(parsed.graph.outputs[0]) or ()
    assert isinstance(dim, sympy.Symbol)
    assert dim.name.isidentifier()


def _nested_loops(depth: int) -> onnx_ir.Model:
    """Loops in loops, each carrying a tensor that doubles: every level is walked more than once."""

    def body(level: int) -> onnx_ir.Graph:
        trip, go, x = (onnx_ir.Value(name=f"{name}{level}") for name in ("i", "c", "x"))
        condition = onnx_ir.node("Identity", [go])
        if level == 0:
            last = onnx_ir.node("Concat", [x, x], attributes={"axis": 0})
        else:
            inner = onnx_ir.AttrGraph("body", body(level - 1))
            last = onnx_ir.Node("", "Loop", [None, go, x], attributes=[inner])
        outputs = [condition.outputs[0], last.outputs[0]]
        return onnx_ir.Graph([trip, go, x], outputs, nodes=[condition, last], name=f"b{level}")

    x = onnx_ir.val("x", onnx_ir.DataType.FLOAT, [3])
    go = onnx_ir.val("go", onnx_ir.DataType.BOOL, [])
    loop = onnx_ir.Node(
        "", "Loop", [None, go, x], attributes=[onnx_ir.AttrGraph("body", body(depth))]
    )
    graph = onnx_ir.Graph(
        [x, go], [loop.outputs[0]], nodes=[loop], name="g", opset_imports={"": 18}
    )
    return onnx_ir.Model(graph, ir_version=9)


def test_nested_loops_end() -> None:
    parsed = _nested_loops(20)
    shapes.infer(parsed)
    assert len(parsed.graph.outputs[0].shape or ()) == 1


def test_nesting_beyond_reason_is_refused() -> None:
    with pytest.raises(ModelError, match="nested more than 32 deep"):
        shapes.infer(_nested_loops(40))
