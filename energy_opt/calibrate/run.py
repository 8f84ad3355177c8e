"""`calibrate`: time a machine's primitives within a budget, fit what was timed, assemble its profile and write it."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energy_opt.calibrate import checkpoint, profile
from energy_opt.calibrate.backend import Backend
from energy_opt.calibrate.base import base_of
from energy_opt.calibrate.checkpoint import Checkpoint, Line
from energy_opt.calibrate.collect import Collected, collect
from energy_opt.calibrate.schedule import Point, schedule
from energy_opt.calibrate.visits import (
    Progress,
    Report,
    Stop,
    header_of,
    log_path,
    measure,
    silent,
    thin,
)
from energy_opt.errors import CalibrationError, UsageError
from energy_opt.estimators.device import Calibration, Device

if TYPE_CHECKING:
    from energy_opt.calibrate.fit_all import Fits

FITS_S = 25.0
"""At most this much of a budget is kept for the fits, and at most a seventh of it."""


def calibrate_device(
    target: str = "cpu",
    *,
    output: str | Path,
    budget_s: float | None = None,
    models: Sequence[Any] = (),
    dtypes: Sequence[str] | None = None,
    runtime: str | None = None,
    meter: Any = None,
    spec: str | None = None,
    samples: str | Path | None = None,
    seed: int = 0,
    force: bool = False,
    resume: bool = True,
    progress: Report | None = None,
    backend: Backend | None = None,
    points: Sequence[Point] | None = None,
    anchors: Sequence[Point] = (),
) -> Device:
    """The calibrated profile of `target` (`cpu`, `cuda:0`, or `replay` of a log `samples`), also written to `output`.

    Every visit is logged beside the output, so that a killed run goes on where it was; `resume=False` starts afresh.
    With `models` the primitives of these graphs are timed too. `budget_s` is wall time, fits included. Ctrl-C ends the
    timing early: the profile is then made of what there is and says so (`calibration.partial`). `meter` is an open
    meter or the name of one. `backend`, `points` and `anchors` replace what the target gives.

    Raises:
        UsageError: the target or `spec` is not one, or the output is a file that this calibration did not make.
        CalibrationError: the machine cannot be calibrated, it is loaded (unless `force`), or nothing could be timed.
        OutputError: the profile or its log cannot be written.
    """
    output = Path(output)
    _not_foreign(output, resume)
    _not_unknown(spec)
    report = progress or silent
    report(Progress("preparing", "primitives", 0, 0, 0.0))
    if backend is None:
        from energy_opt.calibrate.targets import open_target

        backend, points, anchors = open_target(
            target, models=models, dtypes=dtypes, runtime=runtime, meter=meter, samples=samples, seed=seed, force=force
        )  # fmt: skip
    try:
        if not points:
            raise CalibrationError("nothing to calibrate: there is no primitive to time")
        plan = schedule(points, passes=backend.passes, anchors=anchors, seed=seed)
        header = header_of(backend, plan, seed, [str(model) for model in models])
        with Checkpoint.open(log_path(output), header, fresh=not resume) as log:
            for_timing = None if budget_s is None else budget_s - min(FITS_S, budget_s / 7)
            stop = measure(backend, plan, log, budget_s=for_timing, progress=report)
            head, lines = log.header, list(log.lines)
    finally:
        backend.close()
    device = profile_of(
        head,
        lines,
        stop=stop,
        spec=spec,
        budget_s=budget_s,
        samples=log_path(output).name,
        progress=report,
    )
    profile.write(device, output)
    return device


def refit(path: str | Path, *, spec: str | None = None, progress: Report | None = None) -> Device:
    """The profile that the log of a calibration gives, fitted anew on any machine.

    Raises:
        CalibrationError: it is no such log, or nothing in it was timed.
    """
    header, lines = checkpoint.read(path)
    done = sum("visit" in line for line in lines)
    stop: Stop = "complete" if done >= header.get("visits", 0) else "budget"
    return profile_of(
        header, lines, stop=stop, spec=spec, samples=Path(path).name, progress=progress or silent
    )


def profile_of(
    header: Mapping[str, Any],
    lines: Sequence[Line],
    *,
    stop: Stop = "complete",
    spec: str | None = None,
    budget_s: float | None = None,
    samples: str | None = None,
    progress: Report = silent,
) -> Device:
    """The profile that a log's lines give. Raises CalibrationError where nothing was timed."""
    # What fits loads scipy and statsmodels: timing begins without them.
    from energy_opt.calibrate.fit_all import fit_all

    runtime = str(header.get("runtime", ""))
    facts = header.get("facts", {})
    found = collect(lines, runtime)
    if not found.samples:
        reasons = (
            "; ".join(dict.fromkeys(found.failed.values()))
            or f"it was {stop} before the first point"
        )
        raise CalibrationError(
            f"calibration of {header.get('target')}: nothing was timed: {reasons}"[:400]
        )
    base = base_of(str(header.get("target", "")), facts, found.samples, spec)
    began_s = time.monotonic()

    def report(what: str, done: int, total: int) -> None:
        progress(Progress("fitting", what, done, total, time.monotonic() - began_s))

    fits = fit_all(
        found.samples,
        base,
        source=f"calibrated on {facts.get('device') or header.get('target')}, {str(header.get('date', ''))[:10]}",
        seed=int(header.get("seed", 0)),
        lend=base.kind == "gpu",
        progress=report,
    )
    short, missing = thin(header, found)
    spent_s = max((line.get("spent_s", 0.0) for line in lines), default=0.0)
    return profile.assemble(
        base,
        fits.fits,
        host=found.host,
        calibration=Calibration(
            date=str(header.get("date", "")) or None,
            tool=f"energy-opt {_version()}",
            driver=facts.get("driver"),
            libraries=dict(header.get("versions", {})),
            host=facts.get("host") or socket.gethostname(),
            clocks_hz=found.clocks_hz,
            power_limit_w=facts.get("power_limit_w"),
            meter=facts.get("meter"),
            seed=int(header.get("seed", 0)),
            budget_s=budget_s,
            took_s=spent_s or None,
            points=found.points,
            models=tuple(header.get("models", ())),
            partial=stop == "interrupted" or missing,
            thin=short,
            samples=samples,
        ),
        notes=_notes(stop, found, fits),
        idle_context_w=found.idle.context_w,
    )


def _notes(stop: Stop, found: Collected, fits: Fits) -> list[str]:
    """What a reader of the profile must know about how it was made."""
    notes = []
    if stop == "interrupted":
        notes.append("interrupted: made from what had been timed until then; run it again to go on")
    if found.drift > 0.02:
        notes.append(f"anchors drifted by up to {found.drift:.0%}; times are corrected for it")
    if found.marked:
        notes.append(f"{found.marked} visits are left out: the machine had drifted too far")
    if found.throttled:
        told = ", ".join(f"{reason} ({count})" for reason, count in sorted(found.throttled.items()))
        notes.append(f"visits during which the device held itself back: {told}")
    if found.failed:
        reasons = list(dict.fromkeys(found.failed.values()))
        notes.append(f"{len(found.failed)} points could not be run: {'; '.join(reasons[:3])}"[:400])
    if fits.left_out:
        notes.append(f"not fitted, for want of points: {', '.join(fits.left_out)}"[:400])
    if found.idle.bare_w is not None:
        notes.append(f"idle without a context: {found.idle.bare_w:.1f} W")
    return notes


def _not_foreign(output: Path, resume: bool) -> None:
    """Raises UsageError where the output is a file that no calibration with this log made."""
    if resume and output.exists() and not log_path(output).exists():
        raise UsageError(
            f"{output} exists, and there is no log {log_path(output).name} beside it that could be resumed; "
            "choose another output, or replace it with --fresh"
        )


def _not_unknown(spec: str | None) -> None:
    """Raises DeviceError where `spec` is no profile: before minutes are spent, not after."""
    if spec is not None:
        Device.load(spec)


def _version() -> str:
    from energy_opt import __version__

    return __version__


__all__ = ["Progress", "calibrate_device", "log_path", "profile_of", "refit"]
