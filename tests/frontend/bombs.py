"""Small models made on purpose: what they ask for is endless, enormous or without meaning."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper

EQUATIONS = (
    *("", "->", "ij,jk", "ij,jk->", "ij,jk->ik", "ii->i", "...ij,...jk->...ik", "i...j->...", "ij->ij->ij"),
    *("....", "i" * 500, "ij,jk->xyz", "\u00e4\u00f6->\u00fc", "1,2->3", "," * 100, "a b , b c -> a c"),
    "".join(map(chr, range(97, 123))) + "->",
)  # fmt: skip


def _model(
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[TensorProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
    dims: Sequence[Any] = ("n", 8),
) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions)


def _ints(name: str, *values: int) -> TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def function_bomb(rng: random.Random) -> onnx.ModelProto:
    """f0 calls f1 ten times, f1 calls f2 ten times, ...; or a function calls itself."""
    depth, width = rng.choice(((1, 1), (2, 1), (3, 10), (12, 10), (30, 2), (300, 1)))
    loops = rng.random() < 0.3
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]
    functions = []
    for level in range(depth):
        last = level == depth - 1
        call = ("F0", "f") if last and loops else ("Relu", "") if last else (f"F{level + 1}", "f")
        names = ["x", *(f"t{i}" for i in range(1, width)), "y"]
        nodes = [
            helper.make_node(call[0], [a], [b], domain=call[1])
            for a, b in itertools.pairwise(names)
        ]
        functions.append(helper.make_function("f", f"F{level}", ["x"], ["y"], nodes, opsets))
    return _model([helper.make_node("F0", ["x"], ["y"], domain="f")], functions=functions)


def loop_bomb(rng: random.Random) -> onnx.ModelProto:
    """Loops in loops, with trip counts that nobody could run."""
    trips = rng.choice((0, -1, 3, 10**9, 2**62))
    grows = rng.random() < 0.5  # the carried tensor doubles in every round
    join = helper.make_node("Concat", ["a", "a" if grows else "x"], ["b"], axis=0)
    body = [join if grows else helper.make_node("Relu", ["a"], ["b"])]
    for _ in range(rng.choice((1, 2, 4, 20))):
        values = [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", TensorProto.FLOAT, None),
        ]
        outputs = [
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, None),
        ]
        inner = helper.make_graph(body, "body", values, outputs)
        body = [helper.make_node("Loop", ["trips", "go", "a"], ["b"], body=inner)]
    body[0].input[1:] = ["", "x"]
    body[0].output[0] = "y"
    trip = helper.make_tensor("trips", TensorProto.INT64, [], [trips])
    go = helper.make_tensor("go", TensorProto.BOOL, [], [True])
    return _model(body, [trip, go])


def size_bomb(rng: random.Random) -> onnx.ModelProto:
    """Ops whose output size is a number in the file."""
    big = rng.choice((2**62, 2**40, 10**9, -1, 0, -(2**63)))
    dims = [big] * rng.choice((1, 2, 8))
    op, inputs, constants = rng.choice(
        (
            ("ConstantOfShape", ["s"], [_ints("s", *dims)]),
            ("Expand", ["x", "s"], [_ints("s", *dims)]),
            ("Reshape", ["x", "s"], [_ints("s", *dims)]),
            ("Tile", ["x", "s"], [_ints("s", big, 2)]),
            ("Pad", ["x", "s"], [_ints("s", 0, 0, big, big)]),
            ("Slice", ["x", "s", "s", "s", "s"], [_ints("s", big)]),
            ("OneHot", ["x", "s", "s"], [_ints("s", big)]),
            ("TopK", ["x", "s"], [_ints("s", big)]),
            ("Range", ["s", "e", "e"], [_ints("s", 0), _ints("e", big)]),
            ("Split", ["x", "s"], [_ints("s", *dims)]),
            ("Resize", ["x", "", "", "s"], [_ints("s", big, 4)]),
            ("Einsum", ["x", "x"], []),
        )
    )
    node = helper.make_node(op, inputs, ["y"])
    if op == "Einsum":
        node.attribute.append(helper.make_attribute("equation", rng.choice(EQUATIONS)))
    return _model([node], constants)


def arithmetic_bomb(rng: random.Random) -> onnx.ModelProto:
    """Shape arithmetic that squares, doubles or adds until a number or an expression fills the memory."""
    op = rng.choice(("Mul", "Add", "Pow", "Concat", "Div", "Sub", "Mod", "Max", "Where"))
    nodes = [helper.make_node("Shape", ["x"], ["s0"])]
    rounds = rng.choice((5, 30, 70, 400))
    mixed = rng.random() < 0.5
    for i in range(rounds):
        other = "k" if mixed and i % 2 else f"s{i}"
        inputs = [f"s{i}", other]
        if op == "Where":
            inputs = ["c", *inputs]
        node = helper.make_node(op, inputs, [f"s{i + 1}"])
        if op == "Concat":
            node.attribute.append(helper.make_attribute("axis", 0))
        nodes.append(node)
    last = rng.choice(("Expand", "ConstantOfShape", "Reshape"))
    inputs = [f"s{rounds}"] if last == "ConstantOfShape" else ["x", f"s{rounds}"]
    nodes.append(helper.make_node(last, inputs, ["y"]))
    dims = rng.choice((("n", 8), (3, 8), ("n", "m"), (2**31, 2**31), (2**62, 2), (0, 0)))
    flag = helper.make_tensor("c", TensorProto.BOOL, [2], [True, False])
    return _model(
        nodes,
        [_ints("k", *rng.choice(((2, 3), (2**62, 2**62), (0, 0), (-1, -7)))), flag],
        dims=dims,
    )


def doubling_bomb(rng: random.Random) -> onnx.ModelProto:
    """x = Concat(x, x), again and again; or a chain that is only long."""
    rounds = rng.choice((10, 70, 2000))
    op = rng.choice(("Concat", "Add", "MatMul", "Reshape", "Relu"))
    nodes = []
    for i in range(rounds):
        source = "x" if i == 0 else f"t{i}"
        target = "y" if i == rounds - 1 else f"t{i + 1}"
        second = {"Concat": [source], "Add": [source], "MatMul": ["x"], "Reshape": ["s"]}.get(
            op, []
        )
        node = helper.make_node(op, [source, *second], [target])
        if op == "Concat":
            node.attribute.append(helper.make_attribute("axis", rng.choice((0, 1, -1, 5))))
        nodes.append(node)
    return _model(nodes, [_ints("s", 0, -1)])


def symbol_bomb(rng: random.Random) -> onnx.ModelProto:
    """Hundreds of free dims, broadcast and multiplied with each other."""
    count = rng.choice((5, 60, 300))
    values = [
        helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, [f"d{i}", f"e{i}"])
        for i in range(count)
    ]
    op = rng.choice(("Concat", "Add", "Einsum", "MatMul", "Max"))
    if op in ("Concat", "Max"):
        nodes = [helper.make_node(op, [v.name for v in values], ["y"])]
        if op == "Concat":
            nodes[0].attribute.append(helper.make_attribute("axis", 0))
    else:
        nodes = []
        for i in range(1, count):
            left = "x0" if i == 1 else f"t{i - 1}"
            node = helper.make_node(op, [left, f"x{i}"], ["y" if i == count - 1 else f"t{i}"])
            if op == "Einsum":
                node.attribute.append(helper.make_attribute("equation", "ab,cd->ac"))
            nodes.append(node)
    flat = helper.make_node("Reshape", ["y", "s"], ["z"])
    model = _model([*nodes, flat], [_ints("s", -1)])
    del model.graph.input[:]
    model.graph.input.extend(values)
    return model


BOMBS: tuple[Callable[[random.Random], onnx.ModelProto], ...] = (
    function_bomb,
    loop_bomb,
    size_bomb,
    arithmetic_bomb,
    doubling_bomb,
    symbol_bomb,
)
