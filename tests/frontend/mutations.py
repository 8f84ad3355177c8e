"""Models gone wrong, by seed: damage to bytes, damage to graphs, and small bombs made on purpose.

`mutant(seed, corpus)` is a pure function, so a number is a reproducer.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

Mutation = Callable[[random.Random, onnx.ModelProto], None]

NUMBERS = (0, 1, -1, 2, 7, -3, 64, 255, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, -(2**63))
DIM_NAMES = (
    *("a**99999999", "9**9**9**9", "a**b**c**d", "n*2**9999", "n-n", "-n", "n/0", "1/0", "n//0", "n%0"),
    *("__import__('os').system('true')", "lambda: 0", "f(n)", "a.b", "x[0]", "(" * 3000, "n+" * 3000),
    *("", " ", "0", "-1", "1.5", "nan", "oo", "zoo", "I", "E", "S", "N", "pi", "None", "True", "Max(n,"),
    *("a" * 100_000, "\u6279", "\x1b[31m", "a\nb", "<b>", "=1+1", "batch", "n", "s0", "unk__1", "n + n"),
)  # fmt: skip
OPS = (
    *("Einsum", "Reshape", "Expand", "Tile", "Gather", "GatherND", "Slice", "Split", "Concat", "Conv"),
    *("ConvTranspose", "MatMul", "Gemm", "Attention", "LSTM", "Resize", "Pad", "Range", "TopK", "Loop"),
    *("If", "Scan", "NonZero", "OneHot", "Where", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Shape"),
    *("ConstantOfShape", "DFT", "STFT", "MaxPool", "BatchNormalization", "QLinearConv", "Identity", ""),
    *("SequenceAt", "SplitToSequence", "ScatterND", "CumSum", "NoSuchOp", "GridSample", "Softmax", "Pow"),
)  # fmt: skip
EQUATIONS = (
    *("", "->", "ij,jk", "ij,jk->", "ij,jk->ik", "ii->i", "...ij,...jk->...ik", "i...j->...", "ij->ij->ij"),
    *("....", "i" * 500, "ij,jk->xyz", "\u00e4\u00f6->\u00fc", "1,2->3", "," * 100, "a b , b c -> a c"),
    "".join(map(chr, range(97, 123))) + "->",
)  # fmt: skip


def corpus(folder: Path | None = None, most_bytes: int = 300_000) -> list[bytes]:
    """The small models that the onnx package carries, and those in a folder, serialized."""
    files = list((Path(onnx.__file__).parent / "backend/test/data").rglob("*.onnx"))
    files += folder.glob("*.onnx") if folder else []
    return [file.read_bytes() for file in sorted(files) if file.stat().st_size <= most_bytes]


def mutant(seed: int, models: Sequence[bytes]) -> bytes:
    """The file of a seed: always the same for the same corpus."""
    rng = random.Random(seed)
    kind = rng.random()
    if kind < 0.1:
        return rng.choice(BOMBS)(rng).SerializeToString()
    data = rng.choice(models)
    if kind < 0.4:
        for _ in range(rng.choice((1, 1, 2, 5))):
            data = rng.choice(DAMAGE)(rng, data, models)
        return data
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(CHANGES)(rng, model)
    return model.SerializeToString()


# -- bytes ---------------------------------------------------------------------------------------


def flip(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    out = bytearray(data)
    for _i in range(rng.choice((1, 1, 3, 16))):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] if rng.random() < 0.5 else data[:start] + data[start + rng.randrange(64) :]


def repeat(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(data) + 1)
    chunk = data[start : start + rng.choice((1, 8, 64, 1000))]
    return data[:start] + chunk * rng.choice((2, 3, 50)) + data[start:]


def splice(rng: random.Random, data: bytes, models: Sequence[bytes]) -> bytes:
    other = rng.choice(models)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def overwrite(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """A length, tag or number becomes an extreme one; where, only chance knows."""
    start = rng.randrange(len(data) + 1)
    evil = rng.choice(
        (b"\xff" * 9 + b"\x01", b"\xff" * 12, b"\x80" * 5, b"\x00", b"\x7f", b"\x0b\x0c")
    )
    return data[:start] + evil + data[start + rng.choice((0, 1, len(evil))) :]


DAMAGE = (flip, cut, repeat, splice, overwrite)


# -- graphs --------------------------------------------------------------------------------------


def graphs(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    found = [model.graph]
    for graph in found:
        for node in graph.node:
            found += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return found


def pick_node(rng: random.Random, model: onnx.ModelProto) -> onnx.NodeProto:
    nodes = [node for graph in graphs(model) for node in graph.node]
    return rng.choice(nodes) if nodes else model.graph.node.add()


def pick_name(rng: random.Random, model: onnx.ModelProto) -> str:
    names = [name for graph in graphs(model) for node in graph.node for name in node.output]
    names += [value.name for value in model.graph.input]
    return rng.choice([*names, "", "dangling", names[-1] if names else ""])


def pick_value(rng: random.Random, model: onnx.ModelProto) -> onnx.ValueInfoProto:
    graph = rng.choice(graphs(model))
    values = [*graph.input, *graph.input, *graph.output, *graph.value_info]
    return rng.choice(values) if values else model.graph.input.add(name="extra")


def pick_tensor(rng: random.Random, model: onnx.ModelProto) -> TensorProto:
    found = [tensor for graph in graphs(model) for tensor in graph.initializer]
    for graph in graphs(model):
        found += [a.t for node in graph.node for a in node.attribute if a.HasField("t")]
    return rng.choice(found) if found else model.graph.initializer.add(name="extra", data_type=7)


def rewire(rng: random.Random, model: onnx.ModelProto) -> None:
    node = pick_node(rng, model)
    ends = rng.choice((node.input, node.input, node.input, node.output))
    if ends:
        ends[rng.randrange(len(ends))] = pick_name(rng, model)
    else:
        ends.append(pick_name(rng, model))


def change_arity(rng: random.Random, model: onnx.ModelProto) -> None:
    node = pick_node(rng, model)
    ends = rng.choice((node.input, node.output))
    if rng.random() < 0.5:
        ends.extend([rng.choice(("", pick_name(rng, model)))] * rng.choice((1, 2, 300)))
    else:
        del ends[rng.randrange(len(ends) + 1) :]


def change_op(rng: random.Random, model: onnx.ModelProto) -> None:
    node = pick_node(rng, model)
    what = rng.randrange(4)
    if what < 2:
        node.op_type = rng.choice(OPS)
    elif what == 2:
        node.domain = rng.choice(("com.microsoft", "ai.onnx.ml", "ai.onnx", "x", "pkg.torch"))
    else:
        node.name = rng.choice(("", "a/b/c", "/" * 50, "/".join("ab" * 300), "\x00", "<script>"))


def change_dim(rng: random.Random, model: onnx.ModelProto) -> None:
    kind = pick_value(rng, model).type
    shape = kind.tensor_type.shape
    what = rng.randrange(8)
    if what == 0:
        kind.tensor_type.ClearField("shape")
    elif what == 1:
        kind.tensor_type.elem_type = rng.choice((0, 1, 7, 8, 9, 16, 99, -1))
    elif what == 2:
        kind.CopyFrom(helper.make_sequence_type_proto(onnx.TypeProto.FromString(b"")))
    elif what == 3 or not shape.dim:
        for _ in range(rng.choice((1, 3, 40))):
            shape.dim.add().dim_value = rng.choice(NUMBERS)
    elif what < 6:
        rng.choice(shape.dim).dim_value = rng.choice(NUMBERS)
    else:
        rng.choice(shape.dim).dim_param = rng.choice(DIM_NAMES)


def change_attribute(rng: random.Random, model: onnx.ModelProto) -> None:
    node = pick_node(rng, model)
    if not node.attribute or rng.random() < 0.1:
        name = rng.choice(("axis", "axes", "to", "perm", "group", "value", "body", "num_heads"))
        node.attribute.append(helper.make_attribute(name, rng.choice((1, [1], 0.5, "s", [0.5]))))
    attribute = rng.choice(node.attribute)
    what = rng.randrange(8)
    if what == 0:
        attribute.type = rng.randrange(15)
    elif what == 1:
        node.attribute.remove(attribute)
    elif what == 2:
        attribute.name = rng.choice(("axis", "", "perm", "kernel_shape", "then_branch"))
    elif what == 3:
        attribute.ref_attr_name = "elsewhere"
    elif attribute.type == onnx.AttributeProto.INTS and what < 7:
        attribute.ints[:] = [rng.choice(NUMBERS) for _ in range(rng.choice((0, 1, 2, 4, 9)))]
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = rng.choice((float("nan"), float("inf"), -1.0, 0.0, 1e38))
    elif attribute.type == onnx.AttributeProto.STRING:
        attribute.s = rng.choice((*EQUATIONS, "SAME_UPPER", "VALID", "\xff")).encode()
    else:
        attribute.i = rng.choice(NUMBERS)


def change_tensor(rng: random.Random, model: onnx.ModelProto) -> None:
    tensor = pick_tensor(rng, model)
    what = rng.randrange(6)
    if what == 0:
        tensor.dims[:] = [rng.choice(NUMBERS) for _ in range(rng.choice((0, 1, 2, 5)))]
    elif what == 1:
        tensor.data_type = rng.choice((0, 1, 2, 6, 7, 8, 10, 14, 16, 17, 21, 23, 99))
    elif what == 2:
        tensor.raw_data = tensor.raw_data[: rng.randrange(20)]
    elif what == 3:
        tensor.ClearField("raw_data")
    else:
        values = [
            rng.choice(NUMBERS) for _ in range(max(1, min(8, sum(map(abs, tensor.dims)) or 1)))
        ]
        name = tensor.name
        tensor.CopyFrom(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))


def change_model(rng: random.Random, model: onnx.ModelProto) -> None:
    what = rng.randrange(7)
    if what == 0 and model.opset_import:
        rng.choice(model.opset_import).version = rng.choice((*NUMBERS, 6, 8, 13, 18, 25, 99))
    elif what == 1:
        model.opset_import.add(domain=rng.choice(("", "ai.onnx", "x")), version=rng.choice(NUMBERS))
    elif what == 2:
        model.graph.node.reverse()
    elif what == 3:
        del model.graph.output[:]
    elif what == 4 and model.graph.input:
        model.graph.input.append(rng.choice(model.graph.input))
    elif what == 5:
        model.graph.node.append(pick_node(rng, model))
    else:
        model.graph.output.add(name=pick_name(rng, model))


CHANGES: tuple[Mutation, ...] = (
    *(rewire, change_arity, change_op, change_dim, change_dim),
    *(change_attribute, change_attribute, change_tensor, change_model),
)


# -- bombs ---------------------------------------------------------------------------------------


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
