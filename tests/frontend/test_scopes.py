"""Module paths of nodes: from metadata, from names, from neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

import energy_opt as eo
from tests.frontend.written import text_model


def test_scopes_from_the_dynamo_exporters_metadata() -> None:
    proto = text_model("g (float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }")
    for key, value in (
        ("pkg.torch.onnx.name_scopes", "['', 'encoder', 'encoder.layer.0', 'relu']"),
        (
            "pkg.torch.onnx.class_hierarchy",
            "['m.Bert', 'm.Encoder', 'm.BertLayer', 'aten.relu.default']",
        ),
    ):
        entry = proto.graph.node[0].metadata_props.add()
        entry.key, entry.value = key, value
    graph = eo.load(proto)
    assert eo.workload(graph)[0].uses[0].path == "encoder.layer.0"
    assert graph.modules == {"": "Bert", "encoder": "Encoder", "encoder.layer.0": "BertLayer"}


def test_scopes_from_node_names() -> None:
    proto = text_model("g (float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }")
    proto.graph.node[0].name = "/encoder/layer.0/attention/self/query/Relu"
    use = eo.workload(eo.load(proto))[0].uses[0]
    assert use.path == "encoder.layer.0.attention.self.query"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/features/features.0/features.0.1/Conv", "features.0.1"),
        ("/layer1/layer10/Conv", "layer1.layer10"),
        ("/Conv", ""),
    ],
)
def test_children_of_a_sequential_are_not_named_twice(name: str, path: str) -> None:
    proto = text_model("g (float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }")
    proto.graph.node[0].name = name
    assert eo.workload(eo.load(proto))[0].uses[0].path == path


def test_nodes_without_a_name_belong_where_their_weight_or_their_neighbours_do() -> None:
    proto = text_model(
        """g (float[N, 4] x) => (float[N, 4] y)
        { a = MatMul(x, q)  b = Relu(a)  c = MatMul(b, p)  d = MatMul(c, s)  y = MatMul(d, s) }"""
    )
    for node, name in zip(proto.graph.node, ("", "fused", "", "/h/0/out/MatMul", "x"), strict=True):
        node.name = name
    for index, name in ((0, "h.0.fc.weight_Q4"), (2, "h.0.proj.weight"), (3, "h.9.tied")):
        weight = numpy_helper.from_array(np.zeros((4, 4), np.float32), name)
        proto.graph.initializer.append(weight)
        proto.graph.node[index].input[1] = name
    proto.graph.node[4].input[1] = "h.9.tied"
    paths = [node.metadata_props["energy_opt.path"] for node in eo.load(proto).nodes()]
    # Relu stands between h.0.fc and h.0.proj; the tied weight tells nothing of the last, which only h.0.out feeds
    assert paths == ["h.0.fc", "h.0", "h.0.proj", "h.0.out", "h.0.out"]


def test_a_convolution_with_a_folded_batch_norm_is_the_convolution(examples: Path) -> None:
    work = eo.workload(eo.load(examples / "resnet50.onnx"))
    paths = {use.path for row in work if row.kind == "conv" for use in row.uses}
    assert len(paths) == 53
    assert all(path.endswith(".convolution") for path in paths)
