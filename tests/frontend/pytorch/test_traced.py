"""Graphs of torch.fx, whose operators are told apart by the modules that they were traced from."""

from __future__ import annotations

import torch
from torch import fx, nn

from energy_opt.frontend.pytorch.inputs import Inputs
from energy_opt.frontend.pytorch.modules import record
from energy_opt.frontend.pytorch.traced import scoped
from tests.frontend.pytorch.compare import differences


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor, shift: float = 1.0) -> torch.Tensor:
        return torch.relu(self.linear(x)) * self.scale + shift


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x, shift=2.0)
        return x.flatten()


def test_operators_are_in_the_modules_they_were_traced_from() -> None:
    module = Net()
    graph = fx.symbolic_trace(module)
    inputs = Inputs(module, torch.zeros(3, 4))
    plain, traced = (record(m, inputs).recording for m in (module, scoped(graph)))
    assert {call.path for call in traced.calls} == {
        "", "blocks.0", "blocks.0.linear", "blocks.1", "blocks.1.linear",
    }  # fmt: skip
    traced.modules["blocks"] = "ModuleList"  # which never runs, so that a tracer does not see it
    assert differences(plain, traced) == []


def test_the_graph_is_left_as_it_was() -> None:
    graph = fx.symbolic_trace(Net())
    before = [(path, type(child)) for path, child in graph.named_modules()]
    weights = dict(graph.named_parameters())
    x = torch.rand(3, 4)
    expected = graph(x)
    twin = scoped(graph)
    assert torch.equal(twin(x), expected)
    assert all(parameter is weights[name] for name, parameter in twin.named_parameters())
    record(twin, Inputs(twin, x))
    assert [(path, type(child)) for path, child in graph.named_modules()] == before
    assert torch.equal(graph(x), expected)


def test_a_graph_that_says_nothing_about_modules_is_itself() -> None:
    graph = fx.symbolic_trace(Net())
    for node in graph.graph.nodes:
        node.meta.clear()
    assert scoped(graph) is graph
