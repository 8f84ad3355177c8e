"""What a target's name stands for: a backend, the points that are timed there, and its anchors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from energy_opt.calibrate.backend import Backend
from energy_opt.calibrate.schedule import Point
from energy_opt.errors import UsageError


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
        UsageError: there is no such target, or `replay` without `samples`.
        CalibrationError: it cannot be calibrated, with the reason.
    """
    if target == "replay":
        from energy_opt.calibrate.replay import replay

        if samples is None:
            raise UsageError("target replay: the log of a calibration is needed to play (samples)")
        return replay(samples)
    if target == "cpu":
        from energy_opt.calibrate.cpu import open_target as open_cpu

        return open_cpu(
            models=models, dtypes=dtypes, runtime=runtime, meter=meter, seed=seed, force=force
        )
    name, _, index = target.partition(":")
    if name == "cuda" and (not index or index.isdigit()):
        from energy_opt.calibrate.gpu import open_target as open_gpu

        return open_gpu(
            int(index or 0), models=models, dtypes=dtypes, runtime=runtime, meter=meter, seed=seed, force=force
        )  # fmt: skip
    raise UsageError(f"target {target!r} is not known; there are cpu, cuda:N and replay")
