"""Models gone wrong, by seed: damage to bytes, damage to graphs, and small bombs made on purpose.

`mutant(seed, corpus)` is a pure function, so a number is a reproducer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from tests.frontend.bombs import BOMBS, EQUATIONS

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
