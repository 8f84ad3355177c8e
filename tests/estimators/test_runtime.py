from __future__ import annotations

import pytest

from energy_opt.errors import UsageError
from energy_opt.estimators.runtime import Runtime


@pytest.mark.parametrize("name", Runtime.names())
def test_every_runtime_is_valid(name: str) -> None:
    runtime = Runtime.load(name)
    assert runtime.name == name
    assert set(runtime.host) == {"gpu", "cpu"}
    assert not runtime.host["cpu"].overlaps  # the host is the device


def test_there_are_three_and_a_captured_graph_launches_cheapest() -> None:
    assert Runtime.names() == ["eager", "graph", "onnxruntime"]
    launch = {name: Runtime.load(name).host["gpu"].launch_s for name in Runtime.names()}
    assert launch["graph"] < launch["onnxruntime"] < launch["eager"]


def test_onnx_runtime_refuses_a_torch_graph_with_a_reason() -> None:
    with pytest.raises(UsageError, match=r"aten.*export.*eager or graph"):
        Runtime.load("onnxruntime").check("aten")
    Runtime.load("onnxruntime").check("onnx")
    Runtime.load("eager").check("aten")
    Runtime.load("eager").check("onnx")


def test_an_unknown_runtime_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="eager, graph, onnxruntime"):
        Runtime.load("tensorrt")
