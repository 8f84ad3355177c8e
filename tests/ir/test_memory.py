"""Peak activation memory of PyTorch graphs: what shares storage, and how long eager PyTorch holds what it made."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

import energy_opt as eo

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs PyTorch", allow_module_level=True)

import torch
from torch import nn

ROW = 4 * 8 * 4  # x[4, 8] of float32


class Twice(nn.Module):
    """Calls one module twice, with another between."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Dropout()
        self.wide = nn.Linear(8, 80)
        self.narrow = nn.Linear(80, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.twice(x.exp()).neg()
        return self.twice(self.narrow(self.wide(x)))


class Does(nn.Module):
    """A function as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


def peak(module: nn.Module, *, frames: bool = True) -> float:
    work = eo.workload(eo.load(module, torch.zeros(4, 8)))
    return float(work.peak_activation_bytes(work.bind({}), frames=frames))


def test_a_module_that_is_called_twice_returns_twice() -> None:
    # exp is held until the first `twice` returns, not the second. Widest: neg, held by the frame of `wide`, and ten
    # rows; or those ten, held by `narrow`, and one row.
    assert peak(Twice()) == 11 * ROW


@pytest.mark.parametrize(
    ("function", "rows"),
    [
        (lambda x: x.exp().neg(), 2),  # one dies when the next is there
        (lambda x: x.exp().neg_(), 1),  # in the memory of exp
        (lambda x: x.exp().view(-1).unsqueeze(0).t(), 1),  # views
        (lambda x: x.exp().t().reshape(32), 2),  # a copy
        (lambda x: torch.stack(x.exp().chunk(2, 1)), 2),  # both halves live in exp
        (lambda x: x.view(-1).relu_().unsqueeze(0), 0),  # in the caller's own tensor
        (lambda x: (x.exp(), x.neg()), 2),  # outputs live to the end
        (lambda x: torch.nn.functional.dropout(x.exp(), training=False), 1),
    ],
)
def test_what_shares_storage_is_counted_once(function: Any, rows: float) -> None:
    assert peak(Does(function)) == rows * ROW


def test_a_parameter_without_axes_counts_and_a_buffer_does_not() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(()))
            self.shift = nn.Buffer(torch.zeros(8))
            self.unused = nn.Parameter(torch.zeros(8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale + self.shift

    work = eo.workload(eo.load(Scaled(), torch.zeros(4, 8)))
    assert (work.parameters, work.weight_bytes) == (1, 4 + 8 * 4)
