"""Loading modules: what is free, what is left as it was, which sizes are graphs of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import energy_opt as eo
from energy_opt.errors import DimError, ModelError
from energy_opt.frontend.pytorch.recorder import Recorder
from energy_opt.frontend.pytorch.replay import Replay
from energy_opt.ir.dims import evaluate
from energy_opt.ir.symbolic import dim_of


class Block(nn.Module):
    def __init__(self, number: int, width: int = 8) -> None:
        super().__init__()
        self.layer_idx = number
        self.first, self.second = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Any) -> Any:
        return x + self.second(self.first(x).relu())


class Stack(nn.Module):
    def __init__(self, depth: int, block: type[nn.Module] = Block) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(block(number) for number in range(depth))

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return x


class EveryThird(Block):
    """A layer that is not like the others, and tells so by its number only."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) if self.layer_idx % 3 else x.relu()


class Steps(nn.Module):
    """A Python loop over the sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        state = x[:, 0]
        for step in range(x.shape[1]):
            state = self.cell(state) + x[:, step]
        return state


class Scalar(nn.Module):
    """Another way for one sample."""

    def forward(self, x: Any) -> Any:
        return x.relu() if x.shape[0] == 1 else x.exp().tanh()


class Broken(nn.Module):
    def forward(self, x: Any) -> Any:
        raise ValueError("no such thing")


def ops(graph: eo.Graph) -> list[str]:
    return [node.op_type for node in graph.nodes()]


def test_a_module_is_left_as_it_was() -> None:
    model = Stack(3).train()
    model.blocks[1].eval()
    parameters = dict(model.named_parameters())
    values = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    eo.load(model, torch.zeros(2, 5, 8))
    assert all(parameters[name] is parameter for name, parameter in model.named_parameters())
    assert all(torch.equal(values[name], parameters[name]) for name in values)
    assert [module.training for module in model.modules()][:2] == [True, True]
    assert not model.blocks[1].training
    assert before == {name: set(vars(module)) for name, module in model.named_modules()}
    assert not torch.compiler.is_exporting()


def test_a_module_that_fails_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Broken()).train()
    weight = model[0].weight
    with pytest.raises(ModelError, match="no such thing"):
        eo.load(model, torch.zeros(2, 4))
    assert model[0].weight is weight
    assert not weight.is_meta
    assert model.training
    assert "forward" not in vars(model[0])


def test_repeated_layers_run_once_and_are_all_there() -> None:
    model = Stack(12)
    with Recorder(model) as recorder:
        for _ in range(2):
            run = recorder.run((torch.empty(2, 5, 8, device="meta"),), {})
    assert sum(isinstance(step, Replay) for step in run.steps) == 11
    graph = eo.load(model, torch.zeros(2, 5, 8))
    assert ops(graph) == ["linear", "relu", "linear", "add"] * 12
    work = eo.workload(graph)
    assert work.parameters == 12 * (8 * 16 + 16 + 16 * 8 + 8)
    assert {node.metadata_props["energy_opt.path"] for node in graph.nodes()} == {
        f"blocks.{number}{part}" for number in range(12) for part in ("", ".first", ".second")
    }


def test_layers_that_only_look_alike_are_all_run() -> None:
    graph = eo.load(Stack(12, EveryThird), torch.zeros(2, 5, 8))
    assert ops(graph).count("linear") == 2 * 8  # of every three layers, two are blocks
    assert len(ops(graph)) == 4 + 8 * 4


@pytest.mark.parametrize(
    ("dynamic", "dims"),
    [
        (None, {"batch": 6}),
        (False, {}),
        ({"x": {0: "n", 1: "length"}}, {"n": 6, "length": 40}),
        ({"x": {1: torch.export.Dim("length")}}, {"length": 40}),
        (({0: "n"},), {"n": 6}),
    ],
)
def test_free_dims_stand_at_the_size_of_the_example(dynamic: Any, dims: dict[str, int]) -> None:
    graph = eo.load(Stack(2), torch.zeros(6, 40, 8), dynamic=dynamic)
    assert {name: info.default for name, info in graph.dims.items()} == dims


def test_a_loop_over_a_dim_is_a_graph_for_each_size() -> None:
    graph = eo.load(Steps(), torch.zeros(2, 5, 4), dynamic={"x": {0: "batch", 1: "seq"}})
    assert ops(graph).count("linear") == 5
    assert ops(graph.at({"seq": 9})).count("linear") == 9
    one, other = (eo.analyze(graph, device="t4", batch=3, seq=seq) for seq in (5, 9))
    # a product of [batch, 4] by [4, 4] per step
    assert (float(one.macs), float(other.macs)) == (5 * 3 * 16, 9 * 3 * 16)
    with pytest.raises(DimError, match="one size at a time"):
        eo.analyze(graph, device="t4", seq=np.array([5, 9]))


def test_another_way_at_one_is_a_graph_of_its_own() -> None:
    graph = eo.load(Scalar(), torch.zeros(4, 8))
    assert ops(graph) == ["exp", "tanh"]
    assert ops(graph.at({"batch": 1})) == ["relu"]
    assert ops(graph.at({"batch": 2})) == ["exp", "tanh"]
    array = graph.at({"batch": np.array([1, 2])})
    assert ops(array) == ["exp", "tanh"]
    assert "batch = 1" in array.notes[-1]


def test_passes_follow_to_other_sizes() -> None:
    half = eo.passes.cast_fp16(eo.load(Scalar(), torch.zeros(4, 8)))
    rows = eo.workload(half.at({"batch": 1}))
    assert [(row.op, row.dtype) for row in rows] == [("relu", "float16")]


@pytest.mark.parametrize("length", [64, 65, 99, 1001])
def test_sizes_that_are_rounded_down_are_exact(length: int) -> None:
    model = nn.Sequential(
        nn.Conv1d(3, 4, 5, stride=3), nn.MaxPool1d(2), nn.Conv1d(4, 8, 3, stride=2, padding=1)
    )
    graph = eo.load(model, torch.zeros(2, 3, 200), dynamic={"input": {0: "batch", 2: "length"}})
    assert not graph.notes
    made = model(torch.zeros(2, 3, length)).shape
    (output,) = graph.model.graph.outputs
    sizes = [evaluate(d, {"batch": 2, "length": length}) for d in _dims(output)]
    assert sizes == list(made)


def _dims(value: Any) -> list[Any]:

    return [dim_of(dim) for dim in value.shape.dims]


def test_branches_of_cond_count_once() -> None:
    class Choice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: Any) -> Any:
            return torch.cond(x.sum() > 0, self.one, lambda x: self.two(self.one(x)), (x,))

    graph = eo.load(Choice(), torch.zeros(4, 6))
    assert any("torch.export" in note for note in graph.notes)
    assert any("the larger one" in note for note in graph.notes)
    assert float(eo.analyze(graph, device="t4", batch=16).macs) == 2 * 16 * 6 * 6
