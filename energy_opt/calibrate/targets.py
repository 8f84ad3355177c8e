"""What a target's name stands for: a backend, the points that are timed there, and its anchors."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from energy_opt.calibrate.backend import Backend
from energy_opt.calibrate.schedule import Point
from energy_opt.errors import CalibrationError, UsageError

RUNTIMES = ("eager", "onnxruntime")
_EXTRAS = {"torch": "torch", "onnxruntime": "cpu"}
"""Packages that calibrating needs, and the extras of energy-opt that install them."""
_SHORT = {"fp64": "float64", "fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_CPU_TYPES = ("float32", "bfloat16", "float16", "float64")


def open_target(
    target: str,
    *,
    models: Sequence[Any] = (),
    dtypes: Sequence[str] | None = None,
    runtime: str | None = None,
    meter: Any = None,
    samples: str | Path | None = None,
    seed: int = 0,
    force: bool = False,
) -> tuple[Backend, Sequence[Point], Sequence[Point]]:
    """The backend, its points and its anchors.

    Raises:
        UsageError: there is no such target, runtime or type, or `replay` without `samples`.
        CalibrationError: it cannot be calibrated, with the reason.
    """
    if target == "replay":
        from energy_opt.calibrate.replay import replay

        if samples is None:
            raise UsageError("target replay: the log of a calibration is needed to play (samples)")
        return replay(samples)
    if runtime not in (None, *RUNTIMES):
        raise UsageError(f"runtime {runtime!r} cannot be timed; there are {', '.join(RUNTIMES)}")
    if target == "cpu" and dtypes:
        dtypes = _types(dtypes)
    if target == "cpu" and runtime == "onnxruntime":
        _need(target, "onnxruntime", "torch")
        from energy_opt.calibrate.ort import open_target as open_onnxruntime

        return open_onnxruntime(models=models, dtypes=dtypes, meter=meter, seed=seed, force=force)
    if target == "cpu":
        _need(target, "torch")
        from energy_opt.calibrate.cpu import open_target as open_cpu

        return open_cpu(
            models=models, dtypes=dtypes, runtime=runtime, meter=meter, seed=seed, force=force
        )
    name, _, index = target.partition(":")
    if name == "cuda" and (not index or index.isdigit()):
        if runtime == "onnxruntime":
            raise UsageError(
                f"target {target}: ONNX Runtime is timed on CPUs only; leave out --runtime, or take --target cpu"
            )
        _need(target, "torch")
        from energy_opt.calibrate.gpu import open_target as open_gpu

        return open_gpu(
            int(index or 0), models=models, dtypes=dtypes, runtime=runtime, meter=meter, seed=seed, force=force
        )  # fmt: skip
    raise UsageError(f"target {target!r} is not known; there are cpu, cuda:N and replay")


def _types(dtypes: Sequence[str]) -> tuple[str, ...]:
    """Types by their full names. Raises UsageError where one is not timed on a CPU."""
    wanted = tuple(dict.fromkeys(_SHORT.get(dtype.lower(), dtype.lower()) for dtype in dtypes))
    for dtype in wanted:
        if dtype not in _CPU_TYPES:
            raise UsageError(
                f"type {dtype!r} is not timed on CPUs; there are {', '.join(_CPU_TYPES)}"
            )
    return wanted


def _need(target: str, *packages: str) -> None:
    """Raises CalibrationError where a package is not installed that runs the primitives."""
    for package in packages:
        if find_spec(package) is None:
            raise CalibrationError(
                f"target {target}: calibrating it needs {package}, not installed here: "
                f"pip install 'energy-opt[{_EXTRAS[package]}]'; a table of measurements (--from-table) needs nothing"
            )
