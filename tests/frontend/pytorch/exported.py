"""Small modules made of a function, and their exported recordings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from energy_opt.frontend.pytorch.export import export_module
from energy_opt.frontend.pytorch.inputs import Inputs
from energy_opt.frontend.pytorch.recording import Recording


class Module(nn.Module):
    """A module whose forward is the function given to it; `self.linear` is there for it to use."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def exported(function: Callable[..., Any], *shape: int, free: bool = True) -> Recording:
    module = Module(function)
    dynamic = {"x": {0: "batch"}} if free else False
    return export_module(module, Inputs(module, torch.zeros(shape or (6, 4)), dynamic))


def names(recording: Recording) -> list[str]:
    return [call.target.name for call in recording.calls]
