"""Recordings as graphs: how operators, their arguments and memory are written down (docs/conventions.md)."""

from __future__ import annotations

from typing import Any

import onnx_ir
import pytest
import torch
from torch import nn

from energy_opt.frontend.pytorch.lower import lower
from energy_opt.frontend.pytorch.recording import Call, Recording, Target, Weight
from energy_opt.ir.dims import symbol
from energy_opt.ir.graph import PATH, Graph
from energy_opt.ir.verify import verify

SEQ = symbol("seq")


def recording(**attributes: Any) -> Recording:
    """x[seq, 4] -> an operator with these attributes."""
    target = Target("aten", "op", "Tensor", attributes)
    return Recording(
        calls=[Call(target, (1, None, 0), (2,), "a.b")],
        inputs=[("x", 1)],
        outputs=[2],
        weights={0: Weight("w", True)},
        types={0: ((4,), "float32"), 1: ((SEQ, 4), "bfloat16"), 2: ((2 * SEQ, 4), "bool")},
        modules={"": "Net", "a": "A", "a.b": "B"},
        notes=["a note"],
    )


def only(graph: Graph) -> onnx_ir.Node:
    [node] = graph.nodes()
    return node


def test_a_call_is_a_node() -> None:
    graph = lower(recording(dim=1), "net")
    node = only(graph)
    assert (node.domain, node.op_type, node.overload) == ("aten", "op", "Tensor")
    assert [value.name if value else None for value in node.inputs] == ["x", None, "w"]
    assert node.metadata_props[PATH] == "a.b"
    [output] = node.outputs
    assert output.dtype == onnx_ir.DataType.BOOL
    assert [str(dim) for dim in output.shape] == ["2*seq", "4"]
    assert (graph.vocabulary, graph.source, graph.notes) == ("aten", "net", ["a note"])
    assert graph.modules == {"": "Net", "a": "A", "a.b": "B"}
    verify(graph.model, "net")


@pytest.mark.parametrize(
    ("value", "kind", "written"),
    [
        (3, "INT", 3),
        (True, "INT", 1),
        (0.5, "FLOAT", 0.5),
        ("none", "STRING", "none"),
        ((1, 2), "INTS", (1, 2)),
        ((), "INTS", ()),
        ((True, False), "INTS", (1, 0)),
        ((1, 0.5), "FLOATS", (1.0, 0.5)),
        (SEQ, "STRING", "seq"),
        ((2 * SEQ, 4), "STRINGS", ("2*seq", "4")),
    ],
)
def test_attributes(value: Any, kind: str, written: Any) -> None:
    attribute = only(lower(recording(a=value), "net")).attributes["a"]
    assert attribute.type == onnx_ir.AttributeType[kind]
    found = attribute.value
    assert (tuple(found) if isinstance(written, tuple) else found) == written


@pytest.mark.parametrize(
    ("reuses", "writes", "flags"),
    [(None, False, []), (0, False, ["is_view"]), (0, True, ["in_place"]), (None, True, ["in_place"])],
)  # fmt: skip
def test_memory(reuses: int | None, writes: bool, flags: list[str]) -> None:
    made = recording()
    made.calls = [Call(Target("aten", "op", "", {}, reuses, writes), (1,), (2,), "")]
    assert list(only(lower(made, "net")).attributes) == flags


def test_views_of_weights_are_the_weights() -> None:
    """weight.t() costs nothing, nor does a view of it; what reads the input is left."""
    view = Target("aten", "t", "", {}, 0)
    made = recording()
    made.types |= {3: ((4,), "float32"), 4: ((4,), "float32")}
    made.calls = [
        Call(view, (0,), (3,), ""),
        Call(view, (3,), (4,), ""),
        Call(Target("aten", "mul", "Tensor", {}), (1, 4), (2,), ""),
        Call(view, (1,), (5,), ""),
    ]
    made.types[5] = ((4, SEQ), "bfloat16")
    graph = lower(made, "net")
    assert [node in graph.folded for node in graph.nodes()] == [True, True, False, False]


def test_names_are_those_of_torch_export() -> None:
    made = recording()
    several = Target("aten", "split", "", {})
    made.calls = [Call(several, (1,), (2, 3), ""), Call(several, (1,), (4,), "")]
    made.types |= dict.fromkeys((3, 4), ((4,), "float32"))
    names = [[value.name for value in node.outputs] for node in lower(made, "net").nodes()]
    assert names == [["split.0", "split.1"], ["split_1"]]


def test_every_dtype_of_torch_that_holds_numbers_is_known() -> None:
    from energy_opt.frontend.pytorch.lower import _DTYPES

    unknown = {
        str(dtype).removeprefix("torch.")
        for dtype in vars(torch).values()
        if isinstance(dtype, torch.dtype)
    } - set(_DTYPES)
    # Types of whole bits that no operator takes, types of pairs, and a complex number of two halves.
    assert {name for name in unknown if not name.startswith(("int", "uint", "bits", "quint"))} <= {
        "complex32",
        "float4_e2m1fn_x2",
    }


def test_parameters_and_buffers_are_told_apart() -> None:
    """A batch norm of 4 channels: 4 scales and 4 shifts are parameters, 4 means and 4 variances are bytes only."""
    from energy_opt.frontend.pytorch.modules import load_module
    from energy_opt.ir.workload import workload

    found = workload(load_module(nn.BatchNorm1d(4), torch.empty(2, 4)))
    assert (found.parameters, found.weight_bytes) == (8, 4 * 16)
