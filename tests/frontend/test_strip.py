"""Copies without weights: small, readable by others, the same model to an analysis."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from energy_opt.errors import ModelError, OutputError
from energy_opt.frontend import wire
from energy_opt.frontend.strip import Stripped, strip

SECRET = np.float32(0.73125)


def array(*shape: int) -> Any:
    return np.full(shape, SECRET, np.float32)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model with weights in every place that has them; w is 64 x 64, b 64, both float32."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(array(12)))],
        "then",
        [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [12])],
    )
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="fc", doc_string="d" * 30),
        helper.make_node("Reshape", ["h", "shape"], ["r"]),
        helper.make_node("Resize", ["r", "", "scales"], ["s"]),
        helper.make_node("If", ["t"], ["i"], then_branch=inner, else_branch=inner),
        helper.make_node("Constant", [], ["k"], value_floats=[float(SECRET)] * 9),
        helper.make_node("Add", ["s", "two"], ["y"]),
    ]
    metadata = {
        "namespace": "n" * 900,
        "pkg.torch.onnx.name_scopes": "['fc']",
        "pkg.torch.onnx.stack_trace": "File /home/me/secret.py" * 10,
        "short": "note",
    }
    for key, value in metadata.items():
        entry = nodes[0].metadata_props.add()
        entry.key, entry.value = key, value
    initializers = [
        numpy_helper.from_array(array(64, 64), "w"),
        numpy_helper.from_array(array(64), "b"),
        numpy_helper.from_array(np.array([-1, 4, 4, 4]), "shape"),
        numpy_helper.from_array(np.array([1, 1, 2, 2.5], np.float32), "scales"),
        numpy_helper.from_array(np.array(2, np.float32), "two"),
        numpy_helper.from_array(np.array(True), "t"),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], initializers, doc_string="prose")
    model = helper.make_model(graph, doc_string="prose")
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    return path


def test_values_go_and_shapes_stay(source: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.onnx"
    result = strip(source, small)
    # w, b, and the constant of both branches
    assert result == Stripped(4, source.stat().st_size, small.stat().st_size)
    assert SECRET.tobytes() not in small.read_bytes()
    before = onnx.load(source)
    after = onnx.load(small, load_external_data=False)
    for old, new in zip(before.graph.initializer, after.graph.initializer, strict=True):
        assert (old.name, old.dims, old.data_type) == (new.name, new.dims, new.data_type)
        if old.name in ("w", "b"):
            entries = {entry.key: entry.value for entry in new.external_data}
            assert entries == {
                "location": "stripped-by-energy-opt",
                "length": {"w": "16384", "b": "256"}[old.name],  # 64 x 64 x 4 and 64 x 4 bytes
            }
        else:
            assert old == new
    assert [node.op_type for node in after.graph.node] == [n.op_type for n in before.graph.node]
    assert list(after.graph.node[4].attribute[0].floats) == [0.0] * 9
    inferred = onnx.shape_inference.infer_shapes(after).graph.value_info
    (resized,) = [v.type.tensor_type.shape.dim for v in inferred if v.name == "s"]
    assert [dim.dim_value for dim in resized[1:]] == [4, 8, 10]  # [-1, 4, 4, 4] x [1, 1, 2, 2.5]


def test_prose_and_traces_go_and_scopes_stay(source: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.onnx"
    strip(source, small)
    assert b"prose" not in small.read_bytes()
    assert b"secret.py" not in small.read_bytes()
    node = onnx.load(small, load_external_data=False).graph.node[0]
    assert [entry.key for entry in node.metadata_props] == [
        "namespace",
        "pkg.torch.onnx.name_scopes",
        "short",
    ]
    assert node.name == "fc"
    assert not node.doc_string


def test_a_stripped_file_reads_like_its_source(source: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.onnx"
    strip(source, small)
    read, places = wire.read_model(small)
    assert [(place.field, place.length) for place in places.values()] == [
        ("stripped", 48),  # 12 floats, in each branch
        ("stripped", 48),
        ("stripped", 16384),
        ("stripped", 256),
    ]
    assert wire.is_omitted(read.graph.initializer[0])


def test_stripping_twice_changes_nothing(source: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "1.onnx", tmp_path / "2.onnx"
    strip(source, one)
    strip(one, two)
    assert one.read_bytes() == two.read_bytes()


def test_compiled_blobs_go(tmp_path: Path) -> None:
    node = helper.make_node("EPContext", ["x"], ["y"], ep_cache_context=b"\x00engine" * 200_000)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [])), tmp_path / "a.onnx")
    strip(tmp_path / "a.onnx", tmp_path / "b.onnx")
    (after,) = onnx.load(tmp_path / "b.onnx").graph.node
    assert after.attribute[0].s == b"stripped-by-energy-opt"


def test_external_weights_are_not_opened(source: Path, tmp_path: Path) -> None:
    model = onnx.load(source)
    onnx.save(model, tmp_path / "e.onnx", save_as_external_data=True, location="w.data")
    (tmp_path / "w.data").unlink()
    strip(tmp_path / "e.onnx", tmp_path / "small.onnx")
    assert b"w.data" not in (tmp_path / "small.onnx").read_bytes()


@pytest.mark.parametrize("name", ["model.onnx", "./model.onnx", "link.onnx", "hard.onnx"])
def test_the_source_is_not_overwritten(source: Path, name: str) -> None:
    before = source.read_bytes()
    (source.parent / "link.onnx").symlink_to(source)
    os.link(source, source.parent / "hard.onnx")
    with pytest.raises(OutputError, match="is the source itself; write the copy to another file"):
        strip(source, os.path.join(source.parent, name))
    assert source.read_bytes() == before


def test_targets_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for target, message in [
        (tmp_path, "a directory; name a file in it"),
        (pipe, "not a regular file"),
        (tmp_path / "none" / "small.onnx", "make the folder first"),
        (source / "small.onnx", "cannot be written"),
        ("a\0b", "cannot be written"),
    ]:
        with pytest.raises(OutputError, match=message):
            strip(source, target)


def test_a_failed_write_leaves_what_was_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "small.onnx"
    target.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    files = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match="no space left on device"):
        strip(source, target)
    assert target.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == files


def test_a_source_that_is_no_model_leaves_no_target(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"hello")
    with pytest.raises(ModelError, match="a text file"):
        strip(tmp_path / "bad.onnx", tmp_path / "small.onnx")
    assert not (tmp_path / "small.onnx").exists()


def test_the_result_has_ordinary_permissions(source: Path, tmp_path: Path) -> None:
    strip(source, tmp_path / "small.onnx")
    (tmp_path / "plain").touch()
    assert (tmp_path / "small.onnx").stat().st_mode == (tmp_path / "plain").stat().st_mode
