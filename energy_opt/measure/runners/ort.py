"""An .onnx file that ONNX Runtime runs, with inputs drawn from the shapes, and its time node by node."""
# ruff: noqa: TID253  (this file is imported for ONNX models that are run only)

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from energy_opt.errors import ModelError, UsageError, one_line
from energy_opt.measure.runners.target import Target
from energy_opt.measure.runners.weights import runnable

_SEED = 20250101
_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class InputSpec:
    """An input: its shape, its numpy type, and for whole numbers how many values are valid (None: not known)."""

    shape: tuple[int, ...]
    dtype: str
    values: int | None = None


@dataclass(frozen=True)
class NodeTime:
    """Seconds of one node per inference, as ONNX Runtime's own profile has them."""

    name: str
    op: str
    latency_s: float
    provider: str


class OrtRunner:
    """An .onnx file in ONNX Runtime; see `Runner`.

    Raises:
        ModelError: ONNX Runtime cannot load it.
        UsageError: a GPU is asked for and this ONNX Runtime has no provider for it.
    """

    name = "onnxruntime"

    def __init__(self, path: Path, feeds: Mapping[str, Any], target: Target) -> None:
        self.source, self.target, self.queued = path, target.name, False
        self.feeds = dict(feeds)
        self.notes: list[str] = []
        self._providers = _providers(target)
        self._folder = tempfile.TemporaryDirectory(prefix="energy-opt-")
        try:
            made = runnable(path, Path(self._folder.name))
            self._path = made.path
            if made.random:
                self.notes.append(
                    f"{made.random} weights whose data the file lacks are random "
                    f"({made.random_bytes / 1e6:.1f} MB)"
                )
            self._session = self._open(onnxruntime.SessionOptions())
            self._check_feeds()
            self._binding = self._bound() if target.kind == "gpu" else None
        except BaseException:
            self._folder.cleanup()
            raise

    def run(self) -> Any:
        """One inference. Raises ModelError where ONNX Runtime fails."""
        try:
            if self._binding is not None:
                self._session.run_with_iobinding(self._binding)
                return None
            return self._session.run(None, self.feeds)
        except Exception as error:
            # ONNX Runtime's errors share no base class but Exception.
            raise ModelError(f"{self.source}: ONNX Runtime failed: {one_line(error)}") from error

    def wait(self) -> None:
        """Return at once: a run of a session has ended when it returns."""

    def facts(self) -> dict[str, Any]:
        """Version, providers and threads."""
        return {
            "onnxruntime": onnxruntime.__version__,
            "providers": list(self._session.get_providers()),
            "threads": self._session.get_session_options().intra_op_num_threads or os.cpu_count(),
        }

    def nodes(self, runs: int) -> tuple[list[NodeTime], Path]:
        """Seconds per inference of every node of the optimised graph, and that graph's file.

        The profile is of `runs` inferences of a session of its own, after one that is not counted. The file lives as
        long as the runner.
        """
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(self._folder.name, "profile")
        optimised = Path(self._folder.name) / "optimised.onnx"
        options.optimized_model_filepath = str(optimised)
        options.log_severity_level = 4  # it warns that such a file is of this machine alone
        session = self._open(options)
        for _ in range(runs + 1):
            session.run(None, self.feeds)
        with open(session.end_profiling(), encoding="utf-8") as file:
            return node_times(json.load(file), runs + 1), optimised

    def close(self) -> None:
        """Free the session and the temporary files."""
        del self._session
        self._binding = None
        self._folder.cleanup()

    def _open(self, options: Any) -> Any:
        if options.log_severity_level < 3:
            options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(str(self._path), options, providers=self._providers)
        except Exception as error:
            # See `run`.
            raise ModelError(
                f"{self.source}: ONNX Runtime {onnxruntime.__version__} cannot load it: {one_line(error)}"
            ) from error

    def _check_feeds(self) -> None:
        wanted = [value.name for value in self._session.get_inputs()]
        for name in wanted:
            if name not in self.feeds:
                raise UsageError(
                    f"{self.source}: no input {name!r} was given; it takes {', '.join(wanted)}"
                )
        for name in self.feeds:
            if name not in wanted:
                raise UsageError(
                    f"{self.source}: it takes no input {name!r}; it takes {', '.join(wanted)}"
                )

    def _bound(self) -> Any:
        """Inputs and outputs that stay on the GPU, so that copies are not part of the time."""
        binding = self._session.io_binding()
        index = int(self.target.partition(":")[2] or 0)
        for name, value in self.feeds.items():
            binding.bind_ortvalue_input(
                name, onnxruntime.OrtValue.ortvalue_from_numpy(value, "cuda", index)
            )
        for output in self._session.get_outputs():
            binding.bind_output(output.name, "cuda", index)
        return binding


def draw(specs: Mapping[str, InputSpec]) -> dict[str, Any]:
    """Arrays of these shapes: floats from N(0, 1), whole numbers among the valid ones, masks of ones.

    Where nothing says which whole numbers are valid, they are 0 and 1.
    """
    random = np.random.default_rng(_SEED)
    made: dict[str, Any] = {}
    for name, spec in specs.items():
        dtype = np.dtype(spec.dtype)
        if "mask" in name.lower() or dtype == np.bool_:
            made[name] = np.ones(spec.shape, dtype)
        elif "position" in name.lower() and spec.shape:
            made[name] = np.broadcast_to(np.arange(spec.shape[-1]), spec.shape).astype(dtype)
        elif np.issubdtype(dtype, np.integer):
            made[name] = random.integers(0, max(1, spec.values or 2), spec.shape).astype(dtype)
        else:
            made[name] = random.standard_normal(spec.shape, np.float32).astype(dtype)
    return made


def node_times(events: Sequence[Mapping[str, Any]], runs: int) -> list[NodeTime]:
    """Seconds per inference by node, from the events of a profile of `runs` inferences; the first is not counted."""
    totals: dict[tuple[str, str, str], list[float]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith(_SUFFIX):
            continue
        given = event.get("args") or {}
        key = (
            name.removesuffix(_SUFFIX),
            str(given.get("op_name", "")),
            str(given.get("provider", "")),
        )
        totals.setdefault(key, []).append(float(event.get("dur", 0)) * 1e-6)
    found = []
    for (name, op, provider), seconds in totals.items():
        # Nodes in a loop run many times per inference, all of them as often in each.
        even = runs > 1 and len(seconds) % runs == 0
        later = seconds[len(seconds) // runs :] if even else seconds
        found.append(NodeTime(name, op, sum(later) / (runs - 1 if even else runs), provider))
    return found


def _providers(target: Target) -> list[Any]:
    if target.kind == "cpu":
        return ["CPUExecutionProvider"]
    known = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" not in known:
        raise UsageError(
            f"target {target.name}: this ONNX Runtime has {', '.join(known)} and not CUDA; "
            "pip uninstall onnxruntime && pip install onnxruntime-gpu"
        )
    return [("CUDAExecutionProvider", {"device_id": target.index}), "CPUExecutionProvider"]
