"""Replaying repeated layers gives what running each of them gives, however they behave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from energy_opt.frontend.pytorch import layers, recorder
from energy_opt.frontend.pytorch.inputs import Inputs
from energy_opt.frontend.pytorch.probing import record
from energy_opt.frontend.pytorch.recorder import Recorder
from energy_opt.frontend.pytorch.recording import Recording
from energy_opt.frontend.pytorch.replay import Replay

LAYERS = 6
X = torch.empty(2, 5, 8)
Step = Callable[[nn.Module, torch.Tensor, int], Any]


class Layer(nn.Module):
    """A layer that does what it is told; `layer_idx` is its number."""

    def __init__(self, step: Step, number: int) -> None:
        super().__init__()
        self.step, self.layer_idx = step, number
        self.lin = nn.Sequential(nn.Linear(8, 8))
        self.register_buffer("count", torch.zeros(8))
        self.calls = 0
        self.kept: Any = None

    def forward(self, x: torch.Tensor, *more: Any) -> Any:
        return self.step(self, x, *more)


class Stack(nn.Module):
    """Layers, and what calls them."""

    def __init__(self, step: Step, run: Callable[[Stack, torch.Tensor], Any] | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(step, i) for i in range(LAYERS))
        self.run = run

    def forward(self, x: torch.Tensor) -> Any:
        if self.run is not None:
            return self.run(self, x)
        for layer in self.layers:
            x = layer(x)
        return x


@dataclasses.dataclass
class Result:
    x: torch.Tensor


COUNTED = [0]
KEPT: list[torch.Tensor] = []


def counted(layer: Any, x: torch.Tensor) -> torch.Tensor:
    COUNTED[0] += 1
    return layer.lin(x).exp() if COUNTED[0] % LAYERS == 4 else layer.lin(x)


def kept(layer: Any, x: torch.Tensor) -> torch.Tensor:
    KEPT.append(layer.lin(x))
    return KEPT[-1]


def cat_kept(stack: Any, x: torch.Tensor) -> torch.Tensor:
    KEPT.clear()
    for layer in stack.layers:
        x = layer(x)
    return torch.cat(KEPT)


def on_self(layer: Any, x: torch.Tensor) -> torch.Tensor:
    layer.kept = layer.lin(x)
    return x + layer.kept


def counted_on_self(layer: Any, x: torch.Tensor) -> torch.Tensor:
    layer.calls += 1
    return layer.lin(x) if layer.calls == 1 else layer.lin(x).exp()


def on_self_changed(layer: Any, x: torch.Tensor) -> torch.Tensor:
    layer.count = layer.count + 1
    return layer.lin(x) + layer.count


def in_place_on_buffer(layer: Any, x: torch.Tensor) -> torch.Tensor:
    layer.count.add_(1)
    return layer.lin(x) + layer.count


def in_place_on_input(layer: Any, x: torch.Tensor) -> None:
    x.add_(layer.lin(x))


def chain(
    unpack: Callable[[Any, torch.Tensor], torch.Tensor],
) -> Callable[[Any, torch.Tensor], Any]:
    def run(stack: Any, x: torch.Tensor) -> torch.Tensor:
        x = x * 1
        for layer in stack.layers:
            x = unpack(layer(x), x)
        return x * 2

    return run


def twice(stack: Any, x: torch.Tensor) -> torch.Tensor:
    for layer in [*stack.layers, *stack.layers]:
        x = layer(x)
    return x


def with_lists(stack: Any, x: torch.Tensor) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    for layer in stack.layers:
        x = layer(x, seen)
    return torch.cat(seen)


def captured(stack: Any, x: torch.Tensor) -> torch.Tensor:
    first = x + 1
    for i, layer in enumerate(stack.layers):
        KEPT[:] = [x * 2 if i in (2, 3) else first]
        x = layer(x)
    return x


def appended(layer: Any, x: torch.Tensor, seen: list[torch.Tensor]) -> torch.Tensor:
    seen.append(layer.lin(x))
    return seen[-1]


CASES: dict[str, tuple[Any, Any]] = {
    "plain": (lambda layer, x: layer.lin(x).relu(), None),
    "one by its number": (lambda m, x: m.lin(x).exp() if m.layer_idx == 3 else m.lin(x), None),
    "every second": (lambda m, x: m.lin(x).exp() if m.layer_idx % 2 else m.lin(x), None),
    "every third": (lambda m, x: m.lin(x).exp() if m.layer_idx % 3 == 2 else m.lin(x), None),
    "counts its calls outside": (counted, None),
    "keeps its result outside": (kept, cat_kept),
    "keeps its result on itself": (on_self, lambda s, x: twice(s, x) + s.layers[-1].kept),
    "counts its calls on itself": (counted_on_self, twice),
    "reassigns a buffer": (on_self_changed, twice),
    "changes a buffer in place": (in_place_on_buffer, twice),
    "changes its input, returns nothing": (in_place_on_input, chain(lambda _, x: x)),
    "returns its input": (lambda layer, x: x, None),
    "runs for nothing": (lambda layer, x: (layer.lin(x), x)[1], None),
    "returns its weight": (lambda m, x: (m.lin(x), m.lin[0].weight), chain(lambda r, _: r[0] @ r[1])),
    "returns one thing twice": (lambda m, x: [m.lin(x)] * 2, chain(lambda r, _: r[0] + r[1])),
    "returns views": (lambda m, x: m.lin(x).chunk(2, -1), chain(lambda r, _: torch.cat(r[::-1], -1))),
    "returns a view of its input": (
        lambda m, x: (m.lin(x), x[..., :4]),
        chain(lambda r, _: torch.cat([r[1].add_(1), r[0][..., 4:]], -1)),
    ),
    "returns a dictionary": (lambda m, x: {"y": m.lin(x), "n": 3, "z": None}, chain(lambda r, _: r["y"])),
    "returns a dataclass": (lambda m, x: Result(m.lin(x)), chain(lambda r, _: r.x)),
    "called twice": (lambda m, x: m.lin(x), twice),
    "appends to a list": (appended, with_lists),
    "looks at what it was not given": (lambda m, x: m.lin(x) + KEPT[0], captured),
}  # fmt: skip


def described(recording: Recording) -> list[Any]:
    """The recording with its tensors numbered in the order in which they appear."""
    numbers: dict[int, Any] = {n: weight.name for n, weight in recording.weights.items()}
    numbers.update((number, name) for name, number in recording.inputs)
    rows: list[Any] = []
    for call in recording.calls:
        reads = [numbers.get(i) if i is not None else None for i in call.inputs]
        for place, number in enumerate(call.outputs):
            numbers[number] = (len(rows), place)
        target = call.target
        kinds = [recording.types[number] for number in call.outputs]
        rows.append((target.name, target.attributes, target.reuses, call.path, reads, kinds))
    return [*rows, [numbers[number] for number in recording.outputs]]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_replayed_is_run(name: str, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether every layer is compared, or the code is of a known library and only two are."""
    if known and name == "counts its calls outside":
        return  # which no known library does, and only comparing every layer would show
    monkeypatch.setattr(layers, "_KNOWN", {"torch", "tests"} if known else {"torch"})
    module = Stack(*CASES[name])
    dynamic = {"x": {0: "batch", 1: "seq"}}
    COUNTED[0] = 0
    replayed = described(record(module, Inputs(module, X, dynamic)).recording)
    monkeypatch.setattr(recorder, "repeated", lambda paths: {})
    COUNTED[0] = 0
    run = described(record(module, Inputs(module, X, dynamic)).recording)
    assert len(run) > (0 if name == "returns its input" else LAYERS)
    assert replayed == run


@pytest.mark.parametrize(
    ("name", "replayed"),
    [
        ("plain", True),
        ("called twice", True),
        ("one by its number", False),
        ("returns a dataclass", False),
    ],
)
def test_what_is_replayed(name: str, replayed: bool) -> None:
    module = Stack(*CASES[name])
    with Recorder(module) as recorder_:
        run = recorder_.run((torch.empty(2, 5, 8, device="meta"),), {})
    assert any(isinstance(step, Replay) for step in run.steps) == replayed


def test_equal_layers_in_layers() -> None:
    inner = [
        nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(3)))
        for _ in range(4)
    ]
    recording = record(nn.Sequential(*inner), Inputs(nn.Sequential(*inner), X)).recording
    linear = [call for call in recording.calls if call.target.name == "linear"]
    assert [call.path for call in linear] == [f"{i}.{j}.0" for i in range(4) for j in range(3)]
    assert len({call.inputs[1] for call in linear}) == 12
    for before, after in zip(recording.calls, recording.calls[1:], strict=False):
        assert after.inputs[0] == before.outputs[0]


def test_a_weight_that_an_operator_gives_back_stays_a_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`to` returns the weight itself. The second layer is run, compared and forgotten; then its weight is used."""
    monkeypatch.setattr(layers, "_KNOWN", {"torch", "tests"})
    module = Stack(
        lambda m, x: x @ m.lin[0].weight.to(x.dtype),
        lambda stack, x: twice(stack, x) @ stack.layers[1].lin[0].weight,
    )
    weights = record(module, Inputs(module, X)).recording.weights.values()
    held = [*module.named_parameters(), *module.named_buffers()]
    assert {weight.name for weight in weights} == {name for name, _ in held}


def test_weights_that_layers_share_stay_shared() -> None:
    layers = [nn.Sequential(nn.Linear(8, 8)) for _ in range(5)]
    layers[3][0].weight = layers[0][0].weight
    module = nn.Sequential(*layers)
    recording = record(module, Inputs(module, X)).recording
    names = [recording.weights[call.inputs[1]].name for call in recording.calls]
    assert names == ["0.0.weight", "1.0.weight", "2.0.weight", "0.0.weight", "4.0.weight"]
