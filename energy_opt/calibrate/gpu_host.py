"""What the host spends to keep a GPU busy: per launch, per view, per run of a captured graph."""
# ruff: noqa: TID253  (this file is imported where a GPU is calibrated)

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from energy_opt.calibrate.accelerator import Accelerator
from energy_opt.estimators.runtime import HostCost
from energy_opt.estimators.work import RowWork

BLOCKS = 24
_ROUNDS, _STEPS = 7, 4


class _Block(nn.Module):  # type: ignore[misc]
    """Six launches and three views on a tensor so small that the device is done before the host: a layer of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.wide, self.act, self.narrow = (
            nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.narrow(self.act(self.wide(self.norm(x))))
        return y * 0.5


_LAUNCHES = 6


class _Views(nn.Module):  # type: ignore[misc]
    """Views and one launch per block."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(4):
            x = x.view(4, 2, 32).transpose(0, 1).unsqueeze(0).squeeze(0).transpose(0, 1).view(8, 32)
        return x * 0.5


_VIEWS = 4 * 6


def host_costs(on: Accelerator) -> dict[str, HostCost]:
    """Seconds of the host, by runtime: PyTorch's modules called op by op, and a captured graph.

    The eager cost is of modules as models call them, Python included, by medians over several rounds; the host runs
    ahead of the device. That of a graph is what its replay costs the host however much is in it.
    """
    with torch.inference_mode():
        x = torch.randn(8, 32, device=on.device)
        blocks = nn.Sequential(*(_Block() for _ in range(BLOCKS))).to(on.device).eval()
        views = nn.Sequential(*(_Views() for _ in range(BLOCKS))).eval()
        launch_s = _median(on, lambda: blocks(x), BLOCKS * _LAUNCHES) / (BLOCKS * _LAUNCHES)
        in_views_s = _median(on, lambda: views(x), BLOCKS) - BLOCKS * launch_s
        graph = on.capture(lambda: [x * 0.5], [(_SMALL, 1)])
        run_s = _median(on, graph.replay, 0)
    return {
        "eager": HostCost(launch_s=launch_s, view_s=max(0.0, in_views_s / (BLOCKS * _VIEWS)), overlaps=True),
        "graph": HostCost(launch_s=0.0, view_s=0.0, run_s=run_s, overlaps=False),
    }  # fmt: skip


_SMALL = RowWork(0.0, 256.0, 1024.0, 1024.0, 0.0, 1.0, {}, ())


def _median(on: Accelerator, call: Any, launches: int) -> float:
    return float(np.median([on.loose_s(_STEPS, call, launches) for _ in range(_ROUNDS)]))
