"""Runtimes as data: which graphs they run, which fusions they make, what a launch costs on the host."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from energy_opt.errors import DeviceError, UsageError
from energy_opt.estimators.data import NonNegative, Record

_RUNTIMES = Path(__file__).parent / "runtimes"


class HostCost(Record):
    """What the host spends on one kind of device, in seconds.

    `launch_s` per kernel, `view_s` per op that launches none (views, shape arithmetic), `run_s` once per inference.
    With `overlaps` the host runs ahead of the device, so only the longer of the two counts.
    """

    launch_s: NonNegative
    view_s: NonNegative
    run_s: NonNegative = 0.0
    overlaps: bool


class Runtime(Record):
    """A runtime: what executes the graph, as data.

    `frames` says that it holds a module's inputs until the module returns, which costs memory.
    """

    name: str
    label: str
    vocabularies: tuple[Literal["onnx", "aten"], ...]
    refusal: str = ""
    fusions: tuple[str, ...] = ()
    frames: bool = False
    host: dict[Literal["gpu", "cpu"], HostCost]
    spread: NonNegative
    sources: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()

    @staticmethod
    def load(name: str) -> Runtime:
        """The runtime of that name. Raises UsageError, with the names there are."""
        wanted = name.strip().lower()
        if wanted in ("ort", "onnx-runtime", "onnxrt"):
            wanted = "onnxruntime"
        if wanted not in Runtime.names():
            raise UsageError(
                f"runtime {name!r} is not known; there are {', '.join(Runtime.names())}"
            )
        return _shipped(wanted)

    @staticmethod
    def names() -> list[str]:
        """Names of the runtimes, sorted."""
        return sorted(path.stem for path in _RUNTIMES.glob("*.json"))

    def check(self, vocabulary: str) -> None:
        """Raises UsageError where this runtime cannot run graphs of that vocabulary."""
        if vocabulary not in self.vocabularies:
            raise UsageError(
                f"runtime {self.name} cannot run a graph of the {vocabulary} vocabulary: {self.refusal}; "
                f"use {' or '.join(name for name in self.names() if name != self.name)}"
            )


@functools.cache
def _shipped(name: str) -> Runtime:
    path = _RUNTIMES / f"{name}.json"
    data: Any = json.loads(path.read_text(encoding="utf-8"))
    try:
        return Runtime.model_validate(data)
    except ValidationError as error:
        raise DeviceError(f"{path}: not a valid runtime: {error}") from error
