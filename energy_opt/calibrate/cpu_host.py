"""What a model takes beyond its operators timed one by one: the host's work between them, and steady load.

Small and larger networks are run as they are and operator by operator; two numbers explain the difference.
"""
# ruff: noqa: TID253  (this file is imported to time primitives)

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls
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


@dataclass(frozen=True)
class InModel:
    """What a model's operators take beyond what they take one by one.

    `slower` is the factor on their own times by kind, "" for all others: clocks sink under steady work, caches are
    shared by more, and code that is not called again and again has to be fetched. `gap_s` is what Python and modules
    spend per operator, `view_s` what a view takes by itself.
    """

    slower: Mapping[str, float]
    gap_s: float
    view_s: float

    def factor(self, kind: str) -> float:
        """The factor on times of operators of that kind."""
        return self.slower.get(kind, self.slower[""])

    @property
    def cost(self) -> HostCost:
        """The host's costs; what a kernel's own call takes is part of its time."""
        return HostCost(
            launch_s=self.gap_s, view_s=self.gap_s + self.view_s, run_s=0.0, overlaps=False
        )


def in_model(alone: Callable[[Primitive], float], seed: int = 0) -> InModel:
    """What networks of several sizes take, as far as `alone`, the seconds of one operator, does not explain it.

    Operators are visited in shuffled rounds, and networks run between the rounds, so that both meet the same moods of
    the machine and neither finds its operands where it left them.
    """
    networks = [_Network(module, x) for module, x in _networks()]
    primitives = {key: p for network in networks for key, p in network.primitives.items()}
    times: dict[str, list[float]] = {key: [] for key in primitives}
    order = np.random.default_rng(seed)
    began_s = time.monotonic()
    for number in range(_ROUNDS):
        if number >= _FEWEST and time.monotonic() - began_s > _LONGEST_S:
            break
        for key in order.permutation(list(primitives)):
            times[key].append(alone(primitives[key]))
        for network in networks:
            network.run()
    own = {key: statistics.median(found) for key, found in times.items()}
    design = np.array([network.equation(own) for network in networks])
    size = np.sqrt(np.mean(design**2, axis=0))  # counts and seconds differ by orders of magnitude
    slower, conv_slower, gap_s = nnls(design / size, np.ones(len(design)))[0] / size
    factors = {"": float(np.clip(slower, *BOUNDS)), CONV: float(np.clip(conv_slower, *BOUNDS))}
    views = [own[key] for key, primitive in primitives.items() if not primitive.row.kernels]
    return InModel(factors, float(gap_s), statistics.median(views))


class _Network:
    """A network with its operators, how often it calls each, and what it took."""

    def __init__(self, module: nn.Module, x: torch.Tensor) -> None:
        self._module, self._x = module.eval(), x
        self._counts: Counter[str] = Counter()
        self._times: list[float] = []
        self.primitives: dict[str, Primitive] = {}
        graph = load(module, (x,), dynamic=False)
        for primitive in primitives_of(graph, [{}], distinct=False).primitives:
            self._counts[primitive.key] += 1
            self.primitives[primitive.key] = primitive

    def run(self) -> None:
        """Run it, once to be under way and then for the clock."""
        self._module(self._x)
        for _ in range(_RUNS):
            start = time.perf_counter()
            self._module(self._x)
            self._times.append(time.perf_counter() - start)

    def equation(self, own: Mapping[str, float]) -> tuple[float, float, float]:
        """Seconds of its operators, of those that convolve, and their number, all per second that it took."""
        whole = statistics.median(self._times)
        parts = {key: own[key] * count for key, count in self._counts.items()}
        conv = sum(parts[key] for key, p in self.primitives.items() if p.row.kind == CONV)
        return (sum(parts.values()) - conv) / whole, conv / whole, self._counts.total() / whole


CONV = "conv"
BOUNDS = (1.0, 1.2)
"""Factors beyond these are no steady state but somebody else's work."""


def _networks() -> list[tuple[nn.Module, torch.Tensor]]:
    return [
        (nn.Sequential(*(_Block(32) for _ in range(4))), torch.randn(1, 8, 32)),
        (nn.Sequential(*(_Block(384) for _ in range(4))), torch.randn(1, 100, 384)),
        (nn.Sequential(*(_Block(768) for _ in range(3))), torch.randn(2, 64, 768)),
        (nn.Sequential(*(_Residual(8) for _ in range(6))), torch.randn(1, 8, 7, 7)),
        (nn.Sequential(*(_Residual(64) for _ in range(4))), torch.randn(1, 64, 56, 56)),
        (nn.Sequential(*(_Residual(256) for _ in range(4))), torch.randn(1, 256, 14, 14)),
    ]
