"""Modules timed in place and replayed alone: which are called with what, and what cannot be replayed."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from energy_opt.measure import modules  # noqa: E402
from energy_opt.measure.runners.pytorch import TorchRunner  # noqa: E402
from energy_opt.measure.runners.target import Target  # noqa: E402

CPU = Target("cpu", "cpu", "a CPU")


class Block(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.fc(x))


class Adds(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.add_(1.0)


class DynamicCache:
    pass


class Cached(nn.Module):
    def forward(self, x: torch.Tensor, cache: Any) -> torch.Tensor:
        return x * 2


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.shared = nn.Linear(8, 8)
        self.two_sizes = nn.Tanh()
        self.adds = Adds()
        self.cached = Cached()
        self.unused = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        x = self.shared(self.shared(x))
        x = self.two_sizes(x) + self.two_sizes(x[:1])
        return self.cached(self.adds(x), DynamicCache())


@pytest.fixture
def runner() -> TorchRunner:
    torch.manual_seed(0)
    return TorchRunner(Net(), (torch.randn(4, 8),), {}, CPU)


def replayed(runner: TorchRunner, **options: Any) -> dict[str, modules.ModuleCost]:
    return {cost.path: cost for cost in modules.replay(runner, None, 0.001, **options)}


def test_what_is_called_is_timed_and_what_is_not_is_not(runner: TorchRunner) -> None:
    timed = modules.in_place(runner, runs=2)
    assert {"", "blocks.0", "blocks.0.fc", "blocks.1.act", "shared", "cached"} <= timed.keys()
    assert not {"blocks", "unused"} & timed.keys()
    # A parent takes at least as long as what it calls.
    assert timed["blocks.0"] >= timed["blocks.0.fc"]
    assert timed[""] >= timed["blocks.0"] + timed["blocks.1"]
    assert modules.in_place(runner, depth=1, runs=1).keys() == {
        "",
        "shared",
        "two_sizes",
        "adds",
        "cached",
    }


def test_no_hook_is_left_behind(runner: TorchRunner) -> None:
    modules.in_place(runner, runs=1)
    replayed(runner)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in runner.module.modules())


def test_every_called_module_is_replayed_or_says_why_not(runner: TorchRunner) -> None:
    found = replayed(runner)
    assert found.keys() == modules.in_place(runner, runs=1).keys()
    assert {path for path, cost in found.items() if cost.failed} == {"two_sizes", "adds", "cached"}
    assert "2 different shapes" in found["two_sizes"].failed
    assert "writes into its inputs" in found["adds"].failed
    assert "DynamicCache" in found["cached"].failed
    assert found["adds"].latency_s is None


def test_a_module_that_is_called_twice_costs_twice(runner: TorchRunner) -> None:
    shared = replayed(runner)["shared"]
    assert shared.calls == 2
    assert shared.steady is not None
    assert shared.latency_s == pytest.approx(2 * shared.steady.latency_s)


def test_equal_layers_on_equal_shapes_are_replayed_once(runner: TorchRunner) -> None:
    found = replayed(runner)
    assert (found["blocks.0"].like, found["blocks.1"].like) == ("", "blocks.0")
    assert found["blocks.1"].latency_s == found["blocks.0"].latency_s
    assert found["blocks.1.fc"].like == "blocks.0.fc"
    # The same class on the same shapes, but another computation.
    assert found["shared"].like == "blocks.0.fc"


def test_layers_of_other_sizes_stand_for_themselves() -> None:
    net = nn.Sequential(
        nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(4, 8), nn.Dropout(0.1), nn.Dropout(0.2)
    )
    found = replayed(TorchRunner(net, (torch.randn(4, 8),), {}, CPU))
    assert all(not cost.like for cost in found.values())


def test_a_relu_in_place_is_replayed(runner: TorchRunner) -> None:
    # It gets what it left behind, which it does not change.
    assert replayed(runner)["blocks.0.act"].failed == ""


def test_replays_can_be_chosen_and_come_one_by_one(runner: TorchRunner) -> None:
    assert replayed(runner, only=["shared", "unused"]).keys() == {"shared"}
    first = next(iter(modules.replay(runner, None, 0.001)))
    assert first.path == ""
