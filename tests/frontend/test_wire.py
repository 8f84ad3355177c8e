"""Reading .onnx files without weights: what is skipped, where it is, and every kind of bad file."""

from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from energy_opt.frontend import proto, rewrite, wire

LARGE = np.arange(600, dtype=np.float32)  # 2,400 bytes, over the 1 KiB that stay


def model_of(
    *nodes: onnx.NodeProto,
    initializers: tuple[TensorProto, ...] = (),
    functions: tuple[onnx.FunctionProto, ...] = (),
) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    nodes = nodes or (helper.make_node("Relu", ["x"], ["y"]),)
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions)


def tensor(name: str = "w", start: float = 0) -> TensorProto:
    return numpy_helper.from_array(LARGE + np.float32(start), name)


def attribute(name: str, value: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], **{name: value})


def body(*nodes: onnx.NodeProto, initializers: tuple[TensorProto, ...] = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "body", [], [], initializers)


def nested(levels: int) -> onnx.NodeProto:
    node = attribute("value", tensor())
    for _ in range(levels):
        node = helper.make_node("If", ["x"], ["y"], then_branch=body(node))
    return node


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[onnx.ModelProto | bytes], Path]:
    def save(model: onnx.ModelProto | bytes) -> Path:
        path = tmp_path / "model.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return path

    return save


def tensors(message: Any) -> Iterator[TensorProto]:
    if isinstance(message, TensorProto):
        yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in [value] if hasattr(value, "ListFields") else value:
                yield from tensors(inner)


def stored(place: wire.WeightPlace) -> bytes:
    assert place.length is not None
    return Path(place.file).read_bytes()[place.offset : place.offset + place.length]


def sparse(start: float = 0) -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.arange(600, dtype=np.int64), "i")
    return helper.make_sparse_tensor(tensor("w", start), indices, [1000])


def with_sparse_initializer() -> onnx.ModelProto:
    model = model_of()
    model.graph.sparse_initializer.add().CopyFrom(sparse())
    return model


def with_training() -> onnx.ModelProto:
    model = model_of()
    info = model.training_info.add()
    info.initialization.CopyFrom(body(initializers=(tensor("a", 1),)))
    info.algorithm.CopyFrom(body(attribute("value", tensor("b", 2))))
    return model


def with_function() -> onnx.ModelProto:
    opset = [helper.make_opsetid("", 20)]
    node = attribute("value", tensor("a", 1))
    function = helper.make_function("f", "F", ["x"], ["c"], [node, nested(1)], opset)
    function.attribute_proto.add().CopyFrom(helper.make_attribute("k", tensor("b", 2)))
    return model_of(functions=(function,))


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (model_of(initializers=(tensor("a"), tensor("a", 1), tensor("b", 2))), 3),
        (model_of(attribute("value", tensor())), 1),
        (model_of(attribute("values", [tensor("a"), tensor("b", 1)])), 2),
        (model_of(attribute("sparse_value", sparse())), 1),  # its indices, int64, stay
        (model_of(attribute("sparse_values", [sparse(), sparse(1)])), 2),
        (model_of(nested(1)), 1),
        (model_of(nested(5)), 1),
        (model_of(attribute("graphs", [body(attribute("value", tensor()))])), 1),
        (with_sparse_initializer(), 1),
        (with_training(), 2),
        (with_function(), 3),
    ],
)
def test_large_tensors_stay_in_the_file_wherever_they_are(
    saved: Any, model: onnx.ModelProto, count: int
) -> None:
    read, places = wire.read_model(saved(model))
    omitted = [t for t in tensors(read) if t.data_location == TensorProto.EXTERNAL]
    assert len(places) == len(omitted) == count
    whole = [t for t in tensors(model) if t.data_type == TensorProto.FLOAT]
    for left, original in zip(omitted, whole, strict=True):
        assert (left.name, left.dims, left.data_type) == (
            original.name,
            original.dims,
            original.data_type,
        )
        assert not left.raw_data
        assert wire.is_omitted(left)
        (entry,) = left.external_data
        assert stored(places[entry.value]) == original.raw_data
        with pytest.raises(ValueError, match="null byte"):  # a name that nothing can open
            os.open(entry.value, os.O_RDONLY)


PACKED = [
    (4, np.float32, TensorProto.FLOAT, "float_data"),
    (5, np.int32, TensorProto.INT32, "int32_data"),
    (7, np.int64, TensorProto.INT64, "int64_data"),
    (10, np.float64, TensorProto.DOUBLE, "double_data"),
    (11, np.uint64, TensorProto.UINT64, "uint64_data"),
]
COUNT = 40_000  # as int64, one or two bytes each on the wire: over the 32 KiB that stay


@pytest.mark.parametrize(("number", "dtype", "data_type", "field"), PACKED)
@pytest.mark.parametrize("packed", [True, False])
def test_payloads_in_typed_fields(
    saved: Any, number: int, dtype: Any, data_type: int, field: str, packed: bool
) -> None:
    values = np.arange(COUNT, dtype=dtype) % 1000
    original = TensorProto(name="w", dims=[COUNT], data_type=data_type)
    if packed:
        getattr(original, field).extend(values.tolist())
    else:
        # One element per field, as proto2 without [packed] writes it; the parser takes both.
        one = TensorProto()
        pieces = []
        for value in values.tolist():
            getattr(one, field)[:] = [value]
            packed_one = one.SerializeToString()  # tag, length, element
            wire_type = {np.float32: 5, np.float64: 1}.get(dtype, 0)
            pieces.append(bytes([number << 3 | wire_type]) + packed_one[2:])
        original.MergeFromString(b"".join(pieces))
        raw = original.SerializeToString()
    model = model_of(initializers=(original,))
    data = model.SerializeToString()
    if not packed:
        prefix = TensorProto(name="w", dims=[COUNT], data_type=data_type).SerializeToString()
        raw = prefix + b"".join(pieces)
        head = model_of().graph.SerializeToString()
        graph = head + proto.delimited(5, raw)
        data = b"\x08\x09" + proto.delimited(7, graph) + proto.delimited(8, b"\x10\x14")
    read, places = wire.read_model(saved(data))
    (place,) = places.values()
    assert place.field == (field if packed else "tensor")
    left = read.graph.initializer[0]
    assert left.name == "w"
    assert list(left.dims) == [COUNT]
    assert not getattr(left, field)
    again = TensorProto(dims=[COUNT], data_type=data_type)
    if packed:
        again.MergeFromString(proto.delimited(number, stored(place)))
    else:
        again = TensorProto.FromString(stored(place))
    np.testing.assert_array_equal(numpy_helper.to_array(again), values)


def test_strings_stay_in_the_file(saved: Any) -> None:
    original = helper.make_tensor("w", TensorProto.STRING, [300], [b"token"] * 300)
    _, places = wire.read_model(saved(model_of(initializers=(original,))))
    (place,) = places.values()
    assert place.field == "tensor"
    assert TensorProto.FromString(stored(place)) == original


def test_a_payload_in_unpacked_pieces_costs_one_look() -> None:
    data = b"\x25abcd" * 1_000_000 + b"\x0a"
    reader = proto.Reader(data)
    assert reader.unpacked(4, proto.FIXED32, 0, len(data)) == 5_000_000


def test_small_tensors_and_shapes_keep_their_values(saved: Any) -> None:
    kept = [
        numpy_helper.from_array(np.arange(256, dtype=np.float32), "1 KiB"),
        numpy_helper.from_array(np.arange(4096, dtype=np.int64), "32 KiB of shapes"),
        helper.make_tensor("s", TensorProto.STRING, [2], [b"a", b"b"]),
    ]
    read, places = wire.read_model(saved(model_of(initializers=tuple(kept))))
    assert list(read.graph.initializer) == kept
    assert not places


def test_a_compiled_blob_in_an_attribute_stays_in_the_file(saved: Any) -> None:
    blob = b"\x00engine" * 200_000
    node = helper.make_node(
        "EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context=blob
    )
    read, places = wire.read_model(saved(model_of(node)))
    key = read.graph.node[0].attribute[0].s.decode()
    assert stored(places[key]) == blob


def test_stack_traces_of_large_nodes_go_and_scopes_stay(saved: Any) -> None:
    node = helper.make_node("Relu", ["x"], ["y"], doc_string="d" * 500)
    for key in ("pkg.torch.onnx.stack_trace", "pkg.torch.onnx.name_scopes", "namespace"):
        entry = node.metadata_props.add()
        entry.key, entry.value = key, "v" * 500
    read, _ = wire.read_model(saved(model_of(node)))
    kept = read.graph.node[0]
    assert [entry.key for entry in kept.metadata_props] == [
        "pkg.torch.onnx.name_scopes",
        "namespace",
    ]
    assert not kept.doc_string
    assert list(kept.input) == ["x"]


_watchers: list[list[str]] = []


@pytest.fixture(scope="module")
def watch_opens() -> None:
    """Have every opened path appended to the lists in `_watchers`; a hook stays for good."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and _watchers:
            _watchers[-1].append(str(arguments[0]))

    sys.addaudithook(hook)


def external(location: str, **entries: str) -> TensorProto:
    result = TensorProto(name="w", dims=[9], data_type=1, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        entry = result.external_data.add()
        entry.key, entry.value = key, value
    return result


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (
            external("w.data", offset="4096", length="36"),
            wire.WeightPlace("w.data", 4096, 36, "external"),
        ),
        (external("/etc/passwd"), wire.WeightPlace("/etc/passwd", 0, None, "external")),
        (
            external("../x", offset="-1", length="9" * 5000),
            wire.WeightPlace("../x", 0, None, "external"),
        ),
        (
            external("omitted-by-energy-opt:0\0"),
            wire.WeightPlace("omitted-by-energy-opt:0\0", 0, None, "external"),
        ),
        (
            external("stripped-by-energy-opt"),
            wire.WeightPlace(rewrite.STRIPPED, 0, None, "stripped"),
        ),
    ],
)
@pytest.mark.parametrize("in_node", [True, False])
@pytest.mark.usefixtures("watch_opens")
def test_a_file_that_the_model_names_is_remembered_and_not_opened(
    saved: Any, declared: TensorProto, expected: wire.WeightPlace, in_node: bool
) -> None:
    model = (
        model_of(attribute("value", declared)) if in_node else model_of(initializers=(declared,))
    )
    path = saved(model)
    wire.read_model(path)  # imports onnx, which opens files of its own
    _watchers.append([])
    read, places = wire.read_model(path)
    assert _watchers.pop() == [str(path)]
    (left,) = tensors(read)
    (entry,) = left.external_data
    assert places == {entry.value: expected}


@pytest.mark.parametrize(
    "location",
    [  # data_location = 1, each in an encoding that the parser takes
        b"\x70\x01",
        b"\xf0\x00\x01",
        b"\xf0\x80\x80\x00\x01",
        b"\x70\x81\x00",
        b"\x70\x81\x80\x80\x80\x10",  # 2**32 + 1, cut to 32 bits
        b"\x70\x00\x70\x01",
        b"\x70\x01\x70\x09",  # 9 is no location: the one before holds
    ],
)
def test_a_named_file_is_found_however_it_is_written(saved: Any, location: bytes) -> None:
    entry = proto.delimited(13, proto.delimited(1, b"location") + proto.delimited(2, b"/etc/x"))
    node = proto.delimited(
        5, proto.delimited(1, b"value") + proto.delimited(5, entry + location) + b"\xa0\x01\x04"
    )
    graph = proto.delimited(1, b"\x22\x08Constant" + node)
    path = saved(b"\x08\x09" + proto.delimited(7, graph) + proto.delimited(8, b"\x10\x14"))
    whole = onnx.ModelProto.FromString(path.read_bytes())
    assert next(tensors(whole)).data_location == TensorProto.EXTERNAL  # the premise
    read, places = wire.read_model(path)
    assert [place.file for place in places.values()] == ["/etc/x"]
    assert b"/etc" not in read.SerializeToString()


def test_names_that_are_not_utf8_are_escaped(saved: Any) -> None:
    data = model_of(helper.make_node("Relu", ["x"], ["caf#"], name="n#m")).SerializeToString()
    read, _ = wire.read_model(saved(data.replace(b"#", b"\xe9")))
    node = read.graph.node[0]
    assert (node.name, list(node.output)) == ("n\\xe9m", ["caf\\xe9"])


def test_five_gigabytes_inside_the_file(tmp_path: Path) -> None:
    size = 5 * 2**30  # protobuf itself stops at 2 GiB
    length = proto.varint(size)
    head = proto.delimited(8, b"w") + b"\x10\x01" + b"\x4a" + length
    start = proto.delimited(1, proto.delimited(4, b"Relu"))
    graph_size = proto.varint(
        len(start) + 1 + len(proto.varint(len(head) + size)) + len(head) + size
    )
    before = b"\x08\x09\x3a" + graph_size + start
    before += b"\x2a" + proto.varint(len(head) + size) + head
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.write(before)
        file.seek(size, os.SEEK_CUR)  # a hole, not on the disk
        file.write(proto.delimited(8, b"\x10\x14"))
    wire.read_model(path)
    tracemalloc.start()
    read, places = wire.read_model(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (place,) = places.values()
    assert (place.offset, place.length) == (len(before), size)
    assert read.graph.initializer[0].name == "w"
    assert peak < 2**20
