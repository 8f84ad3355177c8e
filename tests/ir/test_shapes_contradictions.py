"""Graphs that contradict themselves: one sentence with the node, the operator, the shapes."""

from __future__ import annotations

import pytest

from energy_opt.errors import ModelError
from energy_opt.ir import shapes
from energy_opt.ir.dims import symbol
from tests.ir.written import dims, model


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "g (float[2, 3] x, float[4, 5] w) => (float y) { [mm] y = MatMul(x, w) }",
            "'mm' (MatMul): inner sizes 3 and 4",
        ),
        (
            "g (float[2, 3] x, float[2, 4] w) => (float y) { [a] y = Add(x, w) }",
            "'a' (Add): sizes 3 and 4",
        ),
        (
            "g (float[2, 3] x, float[3, 4] w) => (float y) { [c] y = Concat<axis = 1>(x, w) }",
            "sizes 2 and 3 of axis 0",
        ),
        (
            "g (float[1, 3, 8, 8] x, float[4, 2, 3, 3] w) => (float y) { [c] y = Conv(x, w) }",
            "3 channels",
        ),
        (
            "g (float[2, 3] x) => (float y) { t = Constant<value_ints = [4, 2]>() [r] y = Reshape(x, t) }",
            "6 elements cannot be reshaped to 8",
        ),
        (
            "g (float[5, 3] x) => (float y) { t = Constant<value_ints = [2, -1]>() [r] y = Reshape(x, t) }",
            "15 elements cannot be laid out in rows of 2",
        ),
        ("g (float[2, 3] x) => (float y) { [t] y = Transpose<perm = [0, 0]>(x) }", "perm [0, 0]"),
        (
            "g (float[2, 3] x) => (float y) { a = Constant<value_ints = [5]>() [q] y = Squeeze(x, a) }",
            "axis 5",
        ),
        (
            "g (float[2, 3] x) => (float y) { a = Constant<value_ints = [0]>() [q] y = Squeeze(x, a) }",
            "size 2",
        ),
        (
            "g (float[2, 3] x, float[4, 4] w) => (float y) { [g] y = Gemm(x, w) }",
            "inner sizes 3 and 4",
        ),
        ("g (float[2, 3] x) => (float y) { [e] y = MatMul(x) }", "input 2 is missing"),
        (
            "g (float[1, 1, 2] x) => (float y) { [p] y = MaxPool<kernel_shape = [5]>(x) }",
            "a window of 5",
        ),
        ("g (float[2, 3] x) => (float[2, 4] y) { [r] y = Relu(x) }", "declares 'y' as [2, 4]"),
        ("g (float[2, 3] x) => (float[2] y) { [r] y = Relu(x) }", "declares 'y' as [2]"),
        (
            "g (int64[3] x) => (float y) { a = Constant<value_ints = [2, -3]>() [c] y = ConstantOfShape(a) }",
            "cannot be negative",
        ),
        (
            """g (float[4] x) => (float y, float z) { s = Constant<value_ints = [1, 2]>() [s] y, z = Split(x, s) }""",
            "do not add up to 4",
        ),
    ],
)
def test_contradictions(text: str, words: str) -> None:
    parsed = model(text)
    with pytest.raises(ModelError) as caught:
        shapes.infer(parsed)
    message = str(caught.value)
    assert words in message
    assert "its inputs are [" in message
    assert "\n" not in message
    assert len(message) < 600


def test_declared_shapes_complete_what_cannot_be_inferred() -> None:
    parsed = model("g (float[4] x, int64[2] t) => (float[2, n] y) { y = Reshape(x, t) }")
    shapes.infer(parsed)
    # the number of columns follows from neither, so the declared name stays
    assert dims(parsed.graph.outputs[0]) == [2, symbol("n")]


def test_an_unknown_operator_costs_only_its_own_shapes() -> None:
    parsed = model("g (float[2, 3] x) => (float y, float z) { y = local.Strange(x) z = Relu(x) }")
    shapes.infer(parsed)
    assert [dims(value) for value in parsed.graph.outputs] == [None, [2, 3]]
