"""What the host spends per operator beside the operator's own call: modules, Python, and views, in seconds.

Networks so small that nothing else counts are run as they are and operator by operator; the difference is the host's.
"""
# ruff: noqa: TID253  (this file is imported to time primitives)

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from energy_opt.calibrate.from_model import primitives_of
from energy_opt.calibrate.primitives import Primitive
from energy_opt.estimators.runtime import HostCost
from energy_opt.frontend import load

if TYPE_CHECKING:
    from energy_opt.calibrate.cpu import CpuBackend

_REPEATS = 60


class _Block(nn.Module):  # type: ignore[misc]
    """A transformer's layer, as libraries write it."""

    def __init__(self, width: int = 32, heads: int = 2) -> None:
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

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act(self.norms[0](self.first(x)))
        h = self.norms[1](self.second(h))
        return self.act(h + x)


def host_cost(backend: CpuBackend) -> HostCost:
    """Seconds per operator that launches a kernel, beyond its own, and per view."""
    networks: list[tuple[nn.Module, torch.Tensor]] = [
        (nn.Sequential(*(_Block() for _ in range(4))), torch.randn(1, 8, 32)),
        (nn.Sequential(*(_Residual() for _ in range(6))), torch.randn(1, 8, 7, 7)),
    ]
    gaps, views = [], []
    for module, x in networks:
        module.eval()
        gap, view = _gap(backend, module, x)
        gaps.append(gap)
        views += view
    launch_s = max(0.0, statistics.mean(gaps))
    return HostCost(
        launch_s=launch_s,
        view_s=launch_s + (statistics.median(views) if views else 0.0),
        run_s=0.0,
        overlaps=False,
    )


def _gap(backend: CpuBackend, module: nn.Module, x: torch.Tensor) -> tuple[float, list[float]]:
    """Seconds per operator that the module takes and its operators do not, and what its views take by themselves."""
    graph = load(module, (x,), dynamic=False)
    counts: dict[str, int] = {}
    primitives: dict[str, Primitive] = {}
    for primitive in primitives_of(graph, [{}], distinct=False).primitives:
        counts[primitive.key] = counts.get(primitive.key, 0) + 1
        primitives[primitive.key] = primitive
    whole = _loop(module, x)
    own = {key: _alone(backend, primitive) for key, primitive in primitives.items()}
    total = sum(own[key] * count for key, count in counts.items())
    gap = (whole - total) / max(sum(counts.values()), 1)
    return gap, [own[key] for key, p in primitives.items() if not p.row.kernels]


def _loop(module: Any, x: torch.Tensor) -> float:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        module(x)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _alone(backend: CpuBackend, primitive: Primitive) -> float:
    prepared = backend.prepare(primitive, 0)
    found = statistics.median(backend.time(prepared).latency_s for _ in range(_REPEATS // 3))
    prepared.close()
    return found
