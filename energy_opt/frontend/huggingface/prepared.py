"""What comes out of a config or a callable, ready to be recorded: a module, inputs for it, and which sizes are free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

IN_TEXT = "seq counts the tokens that stand for the image"
"""The note of a model whose image becomes part of its text."""


@dataclass
class Prepared:
    """A module and inputs to call it with by keyword; the inputs of configs are on the meta device.

    `dynamic` names the free axes of inputs: {"input_ids": {0: "batch", 1: "seq"}}. `source` is what a person types to
    get this model, `notes` what they should know about it.
    """

    module: Any
    inputs: Any
    dynamic: Any
    source: str
    notes: list[str] = field(default_factory=list)
