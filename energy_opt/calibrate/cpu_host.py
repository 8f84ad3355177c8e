"""What a model takes beyond its operators timed one by one: the host's work between them, in seconds per operator.

Networks so small that little else counts are run as they are and operator by operator; the difference is the host's.
"""
# ruff: noqa: TID253  (this file is imported to time primitives)

from __future__ import annotations

import importlib.util
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from energy_opt.calibrate.from_model import primitives_of
from energy_opt.calibrate.primitives import Primitive
from energy_opt.estimators.runtime import HostCost
from energy_opt.frontend import load

_ROUNDS = 12
_FEWEST = 3
_LONGEST_S = 20.0
"""No round but the fewest begins later: on a machine whose processors are shared they would take the whole budget."""
_RUNS = 3


class _Block(nn.Module):  # type: ignore[misc]
    """A transformer's layer, as libraries write it."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.act, self.drop = nn.GELU(), nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, s, d = x.shape
        split = (b, s, self.heads, d // self.heads)
        h = self.before(x)
        q = self.query(h).view(split).transpose(1, 2)
        k = self.key(h).view(split).transpose(1, 2)
        v = self.value(h).view(split).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.drop(self.out(mixed.transpose(1, 2).reshape(b, s, d)))
        return x + self.drop(self.down(self.act(self.up(self.after(x)))))


class _Residual(nn.Module):  # type: ignore[misc]
    """A convolutional network's block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act(self.norms[0](self.first(x)))
        h = self.norms[1](self.second(h))
        return self.act(h + x)


def host_cost(alone: Callable[[Primitive], float], seed: int = 0) -> HostCost:
    """What Python and modules spend per operator, and per view, where `alone` are the seconds of one operator.

    Operators are visited in shuffled rounds, and networks run between the rounds, so that both meet the same moods of
    the machine and neither finds its operands where it left them.
    """
    networks = [_Network(module, inputs) for module, inputs in _networks()]
    primitives = {key: p for network in networks for key, p in network.primitives.items()}
    times: dict[str, list[float]] = {key: [] for key in primitives}
    order = np.random.default_rng(seed)
    for _ in range(_ROUNDS):
        for key in order.permutation(list(primitives)):
            times[key].append(alone(primitives[key]))
        for network in networks:
            network.run()
    own = {key: statistics.median(found) for key, found in times.items()}
    gap_s = min(max(0.0, statistics.mean(network.gap_s(own) for network in networks)), MOST_S)
    views = [own[key] for key, primitive in primitives.items() if not primitive.row.kernels]
    return HostCost(launch_s=gap_s, view_s=gap_s + statistics.median(views), overlaps=False)


MOST_S = 2e-5
"""More than this between two operators is somebody else's work."""


class _Network:
    """A network with its operators, how often it calls each, and what it took."""

    def __init__(self, module: nn.Module, inputs: Mapping[str, torch.Tensor]) -> None:
        self._module, self._inputs = module.eval(), dict(inputs)
        self._counts: Counter[str] = Counter()
        self._times: list[float] = []
        self.primitives: dict[str, Primitive] = {}
        graph = load(module, self._inputs, dynamic=False)
        for primitive in primitives_of(graph, [{}], distinct=False).primitives:
            self._counts[primitive.key] += 1
            self.primitives[primitive.key] = primitive

    def run(self) -> None:
        """Run it, once to be under way and then for the clock."""
        self._module(**self._inputs)
        for _ in range(_RUNS):
            start = time.perf_counter()
            self._module(**self._inputs)
            self._times.append(time.perf_counter() - start)

    def gap_s(self, own: Mapping[str, float]) -> float:
        """Seconds per operator that it takes and its operators do not."""
        whole = statistics.median(self._times)
        parts = sum(own[key] * count for key, count in self._counts.items())
        return (whole - parts) / self._counts.total()


def _networks() -> list[tuple[nn.Module, dict[str, torch.Tensor]]]:
    """Networks of plain modules, and one as transformers writes them where that is installed."""
    found: list[tuple[nn.Module, dict[str, torch.Tensor]]] = [
        (nn.Sequential(*(_Block(32) for _ in range(4))), {"input": torch.randn(1, 8, 32)}),
        (nn.Sequential(*(_Residual(8) for _ in range(6))), {"input": torch.randn(1, 8, 7, 7)}),
    ]
    if importlib.util.find_spec("transformers") is not None:
        import transformers

        config = transformers.BertConfig(
            num_hidden_layers=4,
            hidden_size=32,
            num_attention_heads=2,
            intermediate_size=64,
            vocab_size=99,
        )
        found.append(
            (transformers.BertModel(config), {"input_ids": torch.zeros(1, 8, dtype=torch.long)})
        )
    return found
