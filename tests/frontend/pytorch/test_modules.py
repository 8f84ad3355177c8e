"""Modules as graphs: at every size the graph with free dims is that of the module run at that size."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from energy_opt.errors import DimError, ModelError, UsageError
from energy_opt.frontend.pytorch.inputs import Inputs
from energy_opt.frontend.pytorch.modules import load_module
from energy_opt.ir.dims import Dim, evaluate
from energy_opt.ir.graph import PATH, Graph
from energy_opt.ir.workload import workload
from energy_opt.passes.registry import PASSES

X = torch.empty(2, 6, 8)
SEQ = {"x": {0: "batch", 1: "seq"}}
IMAGE = {"x": {0: "batch", 2: "height", 3: "width"}}
Does = Callable[[Any, torch.Tensor], Any]


class Block(nn.Module):
    """What `does` does, with modules at hand."""

    def __init__(self, does: Does, **modules: nn.Module) -> None:
        super().__init__()
        self.does = does
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x: torch.Tensor) -> Any:
        return self.does(self, x)


def facts(graph: Graph, sizes: dict[str, int]) -> tuple[list[Any], dict[str, float]]:
    """Every node with its operands and shapes, and the totals of work, at these sizes."""
    graph = graph.at(sizes)
    sizes = graph.bind(sizes)

    def size(dim: Any) -> int:
        return int(evaluate(dim if isinstance(dim, int) else dim._expr, sizes))

    places: dict[Any, Any] = {value: value.name for value in graph.model.graph.inputs}
    places.update((value, value.name) for value in graph.model.graph.initializers.values())
    rows: list[Any] = []
    for node in graph.nodes():
        shapes = [(tuple(map(size, value.shape)), str(value.dtype)) for value in node.outputs]
        whole = node.op_type in ("slice", "alias") and len(node.outputs) == 1
        if whole and tuple(map(size, node.inputs[0].shape)) == shapes[0][0]:
            places[node.outputs[0]] = places[node.inputs[0]]  # torch.export writes some, a run none
            continue
        places.update((value, (len(rows), i)) for i, value in enumerate(node.outputs))
        reads = [places.get(value) for value in node.inputs]
        seen = [name in node.attributes for name in ("is_view", "in_place")]
        rows.append((node.op_type, node.metadata_props[PATH], reads, shapes, seen))
    rows.append([places[value] for value in graph.model.graph.outputs])
    found = workload(graph)
    totals: dict[str, Dim] = {**found.formulas, "weights": found.weight_bytes}
    return rows, {name: float(evaluate(dim, sizes)) for name, dim in totals.items()}


def assert_same_at(module: nn.Module, x: torch.Tensor, dynamic: Any, *at: dict[str, int]) -> Graph:
    """The graph of the module, checked to be at these sizes that of the module at these alone."""
    graph = load_module(module, x, dynamic=dynamic)
    inputs = Inputs(module, x, dynamic)
    defaults = {name: int(info.default) for name, info in inputs.dims.items()}
    assert set(graph.dims) == set(defaults)
    for given in ({}, *at):
        sizes = {**defaults, **given}
        alone = load_module(module, inputs.at(sizes)[0], dynamic=False)
        assert facts(graph, sizes) == facts(alone, {}), sizes
    return graph


def self_attention(heads: int) -> Does:
    def does(block: Any, x: torch.Tensor) -> torch.Tensor:
        parts = (
            p.view(*x.shape[:2], heads, -1).transpose(1, 2) for p in block.lin3(x).chunk(3, -1)
        )
        y = functional.scaled_dot_product_attention(*parts, is_causal=True)
        return y.transpose(1, 2).reshape(x.shape)

    return does


def rows_of_rnn(block: Any, x: torch.Tensor) -> torch.Tensor:
    state = torch.zeros(x.shape[0], 8)
    for t in range(x.shape[1]):
        state = block.cell(x[:, t], state)
    return state


ON_SEQ: dict[str, Does] = {
    "linear": lambda b, x: b.lin(x),
    "attention": self_attention(2),
    "one head": self_attention(1),
    "lstm": lambda b, x: b.lstm(x)[0],
    "mha": lambda b, x: b.mha(x, x, x)[0],
    "concat": lambda b, x: torch.cat([b.lin(x), x], 1),
    "split": lambda b, x: torch.cat(x.split([3, 5], -1)[::-1], -1),
    "tokens": lambda b, x: b.lin(x.reshape(-1, 8)).reshape(x.shape),
    "turned": lambda b, x: b.lin(x.transpose(0, 1).flatten(0, 1)).view(x.shape[1], -1, 8).transpose(0, 1),
    "topk": lambda b, x: x.topk(4, -1)[0].repeat(1, 1, 2),
    "einsum": lambda b, x: torch.einsum("bsd,btd->bst", x, b.lin(x)).softmax(-1) @ x,
    "pad": lambda b, x: functional.pad(x, (0, 0, 3, 0)),
    "strided": lambda b, x: b.conv(x.transpose(1, 2)).transpose(1, 2),
    "grown": lambda b, x: b.up(x.transpose(1, 2)).transpose(1, 2),
    "pooled": lambda b, x: functional.avg_pool1d(x.transpose(1, 2), 2, 2, ceil_mode=True).transpose(1, 2),
    "every third": lambda b, x: x[:, ::3] * 2,
    "half": lambda b, x: x[:, : x.shape[1] // 2 + 1] * 2,
    "shifted": lambda b, x: torch.cat([x[:, 1:], x[:, :1]], 1),
    "positions": lambda b, x: x + b.emb(torch.arange(x.shape[1])),
    "mask": lambda b, x: torch.ones(x.shape[1], x.shape[1]).tril() @ x,
    "gather": lambda b, x: x.gather(1, x.argsort(1)),
    "windows": lambda b, x: functional.pad(x, (0, 0, 1, 1)).unfold(1, 3, 1).mean(-1),
    "in place": lambda b, x: (x * 1).add_(1).relu_(),
    "stacked": lambda b, x: torch.stack([x, b.lin(x)], 2).flatten(1, 2),
    "outer": lambda b, x: (x[:, :, None] * x[:, None]).mean(2),
    "contiguous": lambda b, x: x.transpose(1, 2).contiguous().transpose(1, 2),
}  # fmt: skip
ON_IMAGES: dict[str, Callable[[], nn.Module]] = {
    "7 by 2": lambda: nn.Conv2d(8, 8, 7, 2, 3),
    "patches": lambda: nn.Conv2d(8, 8, 4, 4),
    "same": lambda: nn.Conv2d(8, 8, 3, padding="same"),
    "dilated": lambda: nn.Conv2d(8, 8, 3, 2, 2, 2),
    "max": lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "mean": lambda: nn.AvgPool2d(2, 3, ceil_mode=True),
    "up": lambda: nn.Upsample(scale_factor=2),
    "transposed": lambda: nn.ConvTranspose2d(8, 8, 3, 2, 1),
    "to the size of": lambda: Block(
        lambda b, x: functional.interpolate(functional.avg_pool2d(x, 2), size=x.shape[-2:]) + x
    ),
    "shuffle": lambda: nn.Sequential(nn.Conv2d(8, 32, 1), nn.PixelShuffle(2)),
    "tokens": lambda: Block(
        lambda b, x: b.lin(x.flatten(2).transpose(1, 2)).transpose(1, 2).view(x.shape),
        lin=nn.Linear(8, 8),
    ),
    "crop": lambda: Block(lambda b, x: x[:, :, 1:, :-1] * 2),
    "gate": lambda: Block(lambda b, x: x * b.gap(x), gap=nn.AdaptiveAvgPool2d(1)),
    "norm": lambda: nn.Sequential(nn.BatchNorm2d(8), nn.GELU()),
}


def on_seq(name: str) -> nn.Module:
    modules = {
        "lin": nn.Linear(8, 8),
        "lin3": nn.Linear(8, 24),
        "lstm": nn.LSTM(8, 8, batch_first=True),
        "mha": nn.MultiheadAttention(8, 2, batch_first=True),
        "conv": nn.Conv1d(8, 8, 5, 2, 2),
        "up": nn.ConvTranspose1d(8, 8, 3, 2),
        "emb": nn.Embedding(9999, 8),
    }
    return Block(ON_SEQ[name], **modules)


class Chain(nn.Module):
    """Blocks one after the other."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x


@pytest.mark.parametrize("name", ON_SEQ)
def test_on_sequences(name: str) -> None:
    at = ({"batch": 1}, {"seq": 1}, {"batch": 1, "seq": 1}, {"batch": 6, "seq": 23})
    assert_same_at(on_seq(name), X, SEQ, *at)


@pytest.mark.parametrize("name", ON_IMAGES)
def test_on_images(name: str) -> None:
    at = ({"height": 33, "width": 60}, {"batch": 1, "height": 95, "width": 41})
    module = Chain(ON_IMAGES[name]())
    assert_same_at(module, torch.empty(2, 8, 32, 32), IMAGE, *at)


@pytest.mark.parametrize("seed", range(12))
def test_at_random(seed: int) -> None:
    """Blocks chosen at random, some of them repeated, at sizes chosen at random."""
    draw = random.Random(seed)
    if seed % 3 == 2:
        blocks = [ON_IMAGES[name]() for name in draw.sample(list(ON_IMAGES), 3)]
        x = torch.empty(2, 8, draw.choice([32, 48]), draw.choice([32, 56]))
        sides = [(draw.randint(30, 130), draw.randint(30, 130)) for _ in range(2)]
        at = [{"batch": draw.choice([1, 3]), "height": h, "width": w} for h, w in sides]
        assert_same_at(Chain(*blocks), x, IMAGE, *at)
        return
    plain = [
        name for name in ON_SEQ if name not in ("half", "every third")
    ]  # some are exported: slow
    repeated = draw.sample(plain, 2)
    layers = [Chain(*map(on_seq, repeated)) for _ in range(3)]
    blocks = [*map(on_seq, draw.sample(plain, 2)), *layers]
    x = torch.empty(draw.choice([1, 2]), draw.choice([6, 40]), 8)
    at = [
        {"batch": draw.choice([1, 9]), "seq": draw.choice([1, draw.randint(2, 300)])}
        for _ in range(3)
    ]
    assert_same_at(Chain(*blocks), x, SEQ, *at)


@pytest.mark.parametrize(
    ("does", "sizes"),
    [
        (rows_of_rnn, ({"seq": 1}, {"seq": 4}, {"seq": 9, "batch": 5})),
        (lambda b, x: b.lin(x) if x.shape[1] % 2 else x * 2, ({"seq": 5}, {"seq": 8, "batch": 3})),
        (lambda b, x: b.lin(x[:, :20]), ({"seq": 20}, {"seq": 33}, {"seq": 19})),
        (lambda b, x: b.lin(x) if x.shape[0] < x.shape[1] else x * 2, ({"batch": 7}, {"seq": 2}, {"seq": 1})),
        (lambda b, x: torch.cat([b.lin(c) for c in x.split(2, 1)], 1), ({"seq": 7}, {"seq": 2})),
        (lambda b, x: x.new_zeros(int(x.shape[1] ** 0.5), 8) + b.lin(x[0, 0]), ({"seq": 9}, {"seq": 30})),
    ],
)  # fmt: skip
def test_sizes_that_decide_what_runs(does: Does, sizes: Any) -> None:
    assert_same_at(
        Block(does, lin=nn.Linear(8, 8), cell=nn.GRUCell(8, 8)), torch.empty(2, 6, 8), SEQ, *sizes
    )


def test_arrays_of_sizes_that_decide_what_runs() -> None:
    loop = load_module(Block(rows_of_rnn, cell=nn.GRUCell(8, 8)), X, dynamic=SEQ)
    with pytest.raises(DimError, match="depend on the size of 'seq': give one size at a time"):
        loop.at({"seq": np.array([3, 4])})
    assert loop.at({"batch": np.array([1, 4])}) is loop.at({})
    assert loop.at({"seq": 9}) is loop.at({"seq": 9})
    assert [graph.dims["seq"].default for graph in (loop, loop.at({"seq": 9}))] == [6, 9]


def test_arrays_over_a_special_size_say_so() -> None:
    graph = load_module(on_seq("mha"), X, dynamic=SEQ)  # at seq = 1 a copy is a view
    assert graph.at({"seq": np.array([2, 7])}).notes == []
    [note] = graph.at({"seq": np.array([1, 7])}).notes
    assert "seq = 1" in note


def test_passes_follow_to_other_sizes() -> None:
    module = Block(lambda b, x: functional.gelu(rows_of_rnn(b, x)) * 2, cell=nn.GRUCell(8, 8))
    graph = load_module(module, X, dynamic=SEQ)
    for name, run in PASSES.items():
        made, alone = run(graph).at({"seq": 3}), run(graph.at({"seq": 3}))
        assert len(made) == len(alone), name
        assert sorted(made.fused.values()) == sorted(alone.fused.values()), name


@pytest.mark.parametrize(
    "wrap",
    [
        lambda module: torch.compile(module, backend="eager"),
        nn.DataParallel,
        lambda module: nn.Sequential(torch.compile(module, backend="eager"))[0],
    ],
)
def test_wrapped_modules_are_themselves(wrap: Any) -> None:
    module = Chain(on_seq("linear"))
    graph = load_module(wrap(module), X, dynamic=SEQ)
    assert facts(graph, {}) == facts(load_module(module, X, dynamic=SEQ), {})


@pytest.mark.parametrize(
    ("module", "inputs", "error", "says"),
    [
        (on_seq("linear"), torch.empty(2, 6, 7), ModelError, "same reduction dim"),
        (Block(lambda b, x: x if x.sum() > 0 else -x), torch.empty(2, 6), ModelError, "values of tensors"),
        (Block(lambda b, x: 1 / 0), torch.empty(2, 6), ModelError, "ZeroDivisionError"),
        (on_seq("linear"), (torch.empty(2), 3), UsageError, "too many positional arguments"),
        (3, torch.empty(2), UsageError, "no nn.Module"),
    ],
)  # fmt: skip
def test_refused(module: Any, inputs: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as refusal:
        load_module(module, inputs)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (lambda b, x: b.lin(x) * x.sum().item(), "item"),
        (lambda b, x: torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y * 2, (b.lin(x),)), "control flow"),
        (lambda b, x: x.new_zeros(x.shape[1] * (x.shape[1] - 1) // 2, 8) + b.lin(x[0, 0]), "a size is"),
    ],
)  # fmt: skip
def test_what_recording_cannot_follow_is_exported_and_said(does: Does, says: str) -> None:
    graph = load_module(Block(does, lin=nn.Linear(8, 8)), X, dynamic=SEQ)
    [note, *_] = [note for note in graph.notes if note.startswith("exported")]
    assert says in note
    assert set(graph.dims) >= {"batch", "seq"}
