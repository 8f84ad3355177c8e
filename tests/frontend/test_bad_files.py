"""Files that are no models: each is one ModelError that says what it is and what to do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from energy_opt.errors import ModelError
from energy_opt.frontend import proto, rewrite, wire
from tests.frontend.test_wire import body, model_of, nested, tensor


def refusal(path: Path | str) -> str:
    """The message of the one error that reading a file gives."""
    with pytest.raises(ModelError) as caught:
        wire.read_model(path)
    return str(caught.value)


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    return path


def test_cut_at_every_byte(tmp_path: Path) -> None:
    large = numpy_helper.from_array(np.arange(300, dtype=np.float32), "w")
    data = model_of(nested(2), initializers=(large,)).SerializeToString()
    path = written(tmp_path, data)
    opsets = data.index(
        b"\x42\x04\x0a\x00\x10\x14"
    )  # the last two fields: what comes after is whole
    for size in range(len(data) - 1, 0, -1):
        os.truncate(path, size)  # writing a file anew would wait for the disk every time
        if size == opsets + 6:
            wire.read_model(path)
        else:
            assert str(path) in refusal(path), size


RELU = proto.delimited(1, proto.delimited(4, b"Relu"))
GRAPH = proto.delimited(7, RELU)
OPSET = proto.delimited(8, b"\x10\x14")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x08" + b"\xff" * 11, "longer than 10 bytes, at byte 1 of 12"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + RELU, "the file ends inside a field"),
        (b"\x3a\xff\xff\xff\xff\x0f" + RELU, "the file ends inside a field"),
        (b"\x3a\xe8\x07" + RELU, "992 bytes are missing), which starts at byte 0 of"),
        (proto.delimited(7, b"\x0a\x20" + b"x" * 8) + OPSET, "34 bytes in a message that has 10"),
        (b"\x3b\x3c" + GRAPH, "wire type 3, which ONNX never uses, at byte 0"),
        (b"\x08\x09\x3e", "wire type 6"),
        (b"\x00\x01", "field number 0 does not exist"),
        (b"\x82\x80\x80\x80\x80\x01\x00", "field number 4294967296 does not exist"),
        (GRAPH + GRAPH + OPSET, "a second graph where only one may be"),
        (b"\x08\x09" + OPSET, "it holds no graph"),
        (b"\x08\x09\x38\x07" + OPSET, "it holds no graph"),  # field 7 as a number
        (b"\x08\x09" + proto.delimited(7, b"") + OPSET, "no nodes"),
        (b"\x08\x09" + GRAPH, "which opset it uses"),
        (
            proto.delimited(7, proto.delimited(1, b"\x22\x05Re")) + OPSET,
            "7 bytes in a message that",
        ),
        (proto.delimited(7, proto.delimited(1, b"\x4b\x00")) + OPSET, "wire type 3"),
        (b"\x10\x20\x30\x40\x50\x60", "no graph"),
    ],
)
def test_damage_is_located(tmp_path: Path, data: bytes, message: str) -> None:
    assert message in refusal(written(tmp_path, data))


def test_old_models_need_no_opset(tmp_path: Path) -> None:
    read, _ = wire.read_model(written(tmp_path, b"\x08\x02" + GRAPH))
    assert read.ir_version == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 438823004\n",
            "a git-lfs pointer, not the model itself (which has 438,823,004 bytes): run `git lfs pull`",
        ),
        (b"PK\x03\x04" + b"\0" * 26 + b"archive/data.pkl", "a PyTorch file (.pt)"),
        (b"PK\x03\x04" + b"\0" * 26 + b"arr_0.npy", "NumPy archive"),
        (b"PK\x03\x04" + b"\0" * 26 + b"metadata.json", "a Keras file"),
        (b"PK\x03\x04" + b"\0" * 26 + b"net/archive_format", "torch.export.load"),
        (b"PK\x03\x04" + b"\0" * 26 + b"bert.onnx", "a zip archive; unpack it"),
        (b"\x80\x02}q\x00.", "a Python pickle"),
        (b"\x1c\0\0\0TFL3\x14\0", "a TensorFlow Lite model"),
        (b"\x1c\0\0\0ORTM\x14\0", "an ONNX Runtime .ort model"),
        (b"\x40\0\0\0\0\0\0\0" + b'{"w":{"dtype":"F32"}}', "a safetensors file"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"\x89HDF\r\n\x1a\n\0", "an HDF5 file"),
        (b"\x1f\x8b\x08\0\0", "a gzip file; unpack it"),
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
        (b"<?xml version='1.0'?><net/>", "an XML file"),
        (json.dumps({"model_type": "bert"}).encode(), "a transformers configuration"),
        (b'{"irVersion": "8"}', "a JSON file"),
        (b'\xef\xbb\xbf  {"a": 1}', "a JSON file"),
        (b'<ir_version: 8, opset_import: ["" : 18]>\ng (x) => (y) {}', "ONNX in its text form"),
        (b"ir_version: 8\ngraph {\n}\n", "ONNX as protobuf text"),
        (b"hello, this is no model\n", "a text file"),
        ("h\u00e9llo ".encode() * 900, "a text file"),
        ("hello".encode("utf-16"), "a text file"),
        (b"\x08\x01\x12\x9a\x01serve", "a TensorFlow SavedModel"),
        (numpy_helper.from_array(np.ones(3, np.float32), "w").SerializeToString(), "ONNX model"),
    ],
)
def test_other_files_are_named(tmp_path: Path, data: bytes, message: str) -> None:
    text = refusal(written(tmp_path, data))
    assert message in text
    assert "\n" not in text


def test_a_directory_lists_its_models(tmp_path: Path) -> None:
    assert "there is none in it" in refusal(tmp_path)
    written(tmp_path, b"")
    assert "a directory; name the .onnx file in it, perhaps model.onnx" in refusal(tmp_path)


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    written(tmp_path, b"")
    assert "no such file; did you mean model.onnx?" in refusal(tmp_path / "modle.onnx")
    assert "no such file; check the path" in refusal(tmp_path / "q")
    assert "there is no folder" in refusal(tmp_path / "none" / "model.onnx")


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.onnx"
    os.mkfifo(pipe)
    assert "a named pipe" in refusal(pipe)  # opening it would wait for ever
    assert "a device" in refusal(os.devnull)


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    loop = tmp_path / "loop.onnx"
    loop.symlink_to(loop)
    for path in (loop, "a\0b", "x" * 5000):
        assert "cannot be read" in refusal(path)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    path = written(tmp_path, GRAPH + OPSET)
    monkeypatch.setattr(wire.os, "open", deny)  # chmod would not stop root
    assert "you may not read this file" in refusal(path)


def test_control_characters_of_a_path_are_escaped(tmp_path: Path) -> None:
    assert "a\\x1b[31mb" in refusal(tmp_path / "a\x1b[31mb")


def test_nesting(tmp_path: Path) -> None:
    read, _ = wire.read_model(written(tmp_path, model_of(nested(30)).SerializeToString()))
    assert read.graph.node[0].op_type == "If"
    deep = nested(0).SerializeToString()
    for _ in range(2000):  # far deeper than Python can recurse, and than protobuf can write
        graph = proto.delimited(1, deep)
        attribute = proto.delimited(6, graph)
        deep = proto.delimited(5, attribute)
    data = proto.delimited(7, proto.delimited(1, deep)) + OPSET
    assert "nested deeper than 100 messages" in refusal(written(tmp_path, data))


def test_nesting_in_small_messages(tmp_path: Path) -> None:
    node = proto.delimited(4, b"If")
    for _ in range(60):  # under 1 KiB: only protobuf's parser sees it
        node = proto.delimited(5, proto.delimited(6, proto.delimited(1, node)))
    data = proto.delimited(7, proto.delimited(1, node)) + OPSET
    assert len(data) < 1024
    assert "nested deeper than 100 messages" in refusal(written(tmp_path, data))


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, model_of(nested(1), initializers=(tensor(),)).SerializeToString())
    with monkeypatch.context() as patch:
        patch.setattr(proto, "MAX_FIELDS", 5)
        assert "more than 5 fields" in refusal(path)
    with monkeypatch.context() as patch:
        patch.setattr(rewrite, "MAX_GRAPH_BYTES", 64)
        assert "of graph, weights not counted" in refusal(path)
    wire.read_model(path)


def test_tiny_messages_by_the_million(tmp_path: Path) -> None:
    # 30 bytes of 2-byte attributes in each node: 1.3 GB once parsed, from 13 MB
    node = proto.delimited(1, b"\x22\x04Relu" + b"\x2a\x00" * 15)
    data = proto.delimited(7, node * 350_000) + OPSET
    assert "tiny fields; no real model is cut so fine" in refusal(written(tmp_path, data))


def test_two_tensors_in_one_attribute_do_not_merge(tmp_path: Path) -> None:
    # protobuf would merge them into one that is external with the first one's file name.
    named = tensor("named")
    entry = named.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    outside = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    pieces = [proto.delimited(5, t.SerializeToString()) for t in (named, outside)]
    attribute = proto.delimited(1, b"value") + b"".join(pieces)
    graph = body(helper.make_node("Constant", [], ["c"])).SerializeToString()
    graph += proto.delimited(1, proto.delimited(5, attribute))
    data = proto.delimited(7, graph) + OPSET
    assert "a second tensor where only one may be" in refusal(written(tmp_path, data))
