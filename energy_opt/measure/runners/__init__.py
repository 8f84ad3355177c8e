"""Runners: a model made ready to run on a target, by PyTorch or ONNX Runtime, one inference at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["Runner"]


class Runner(Protocol):
    """A model on a device with its inputs: everything but the timing."""

    name: str
    """What runs it: `eager` or `onnxruntime`, the name of the runtime in predictions."""
    target: str
    """Where it runs: `cpu` or `cuda:N`."""
    queued: bool
    """Whether `run` returns before the work is done, as on a GPU."""
    notes: list[str]
    """What a reader of the figures has to know of how the model was made."""

    def run(self) -> Any:
        """One inference. Raises ModelError where the model fails."""
        ...

    def wait(self) -> None:
        """Return when everything that was run is done."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """Versions, threads and settings that the speed depends on."""
        ...

    def close(self) -> None:
        """Free what the runner holds, and leave the user's model as it was."""
        ...
