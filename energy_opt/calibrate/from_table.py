"""A device profile from a table of measurements: fits per kind, type and operator, on the facts of a device."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from energy_opt.calibrate import table
from energy_opt.calibrate.fit import THIN
from energy_opt.calibrate.fit_all import fit_all
from energy_opt.calibrate.profile import assemble
from energy_opt.calibrate.samples import Samples
from energy_opt.errors import CalibrationError
from energy_opt.estimators.device import Calibration, Device

MOST = 400
"""Rows of one operator and type that are fitted; of more, as many at random. A form has a handful of parameters, which
a few hundred shapes settle, and its draws take a fit each."""

_MATRIX = ("matmul", "conv", "attention")
_MEMORY = ("elementwise", "softmax", "norm", "reduction", "gather", "copy")


@dataclass(frozen=True)
class FromTable:
    """The profile, and what a user should know that is not in it: rows left out, work that the table did not cover."""

    device: Device
    remarks: tuple[str, ...]


def from_table(
    path: str | Path,
    spec: str | Path,
    *,
    source: str | None = None,
    seed: int = 0,
    draws: int = 64,
    progress: Callable[[str, int, int], None] | None = None,
) -> FromTable:
    """The profile of the device `spec` with fits of the table's rows; `source` says whose measurements they are.

    Raises:
        TableError: the table cannot be read; the message has line, column and value.
        DeviceError: there is no such device.
        CalibrationError: there is nothing in the table that can be fitted, or a type that the device has no peak for.
    """
    base = Device.load(spec)
    samples = table.read(path)
    _type_is_known(samples, base)
    used = [part.sample(MOST, seed) for part in samples]
    found = fit_all(
        used, base, source=source or f"table {Path(path).name}", basis="fitted", seed=seed, draws=draws,
        progress=progress,
    )  # fmt: skip
    if not found.fits:
        reasons = "; ".join(f"{what}: {why}" for what, why in found.left_out.items())
        raise CalibrationError(f"{path}: nothing could be fitted: {reasons}"[:600])
    thin = _thin(used)
    device = assemble(
        base, found.fits,
        calibration=Calibration(
            date=datetime.datetime.now(datetime.UTC).date().isoformat(), tool=_tool(), seed=seed,
            points=sum(len(part) for part in used), thin=tuple(thin), samples=Path(path).name,
        ),
    )  # fmt: skip
    return FromTable(device, (*_remarks(samples, found.left_out, thin), *uncovered(device)))


def uncovered(device: Device) -> list[str]:
    """What the fits of a profile say nothing of, a sentence each: kinds, types, energy."""
    timed: dict[str, set[str]] = defaultdict(set)
    metered = {fitted.dtype for fitted in device.fits if fitted.energy is not None}
    for fitted in device.fits:
        # Sums of indices and masks are timed too, but no model is computed in them.
        if fitted.time is not None and fitted.dtype in device.peaks:
            timed[fitted.dtype].add(fitted.kind)
    said = []
    for dtype, kinds in sorted(timed.items()):
        pool = (
            ", which the fit of all others that only move memory serves" if "other" in kinds else ""
        )
        for names, how in ((_MATRIX, ""), (_MEMORY, pool)) if pool else ((_MATRIX + _MEMORY, ""),):
            missing = [name for name in names if name not in kinds]
            if missing:
                said.append(
                    f"{dtype}: not measured: {', '.join(missing)}{how or ', which the datasheet prices'}"
                )
    others = [str(dtype) for dtype in device.peaks if dtype not in timed]
    if others:
        said.append(f"types without measurements, which the datasheet prices: {', '.join(others)}")
    unmetered = [dtype for dtype in sorted(timed) if dtype not in metered]
    if unmetered:
        truth = (
            "a model of its power"
            if device.energy_ground_truth
            else "a model of its power without ground truth"
        )
        said.append(f"energy in {', '.join(unmetered)} was not measured: it comes from {truth}")
    return said


def _type_is_known(samples: Sequence[Samples], device: Device) -> None:
    for part in samples:
        if part.dtype not in device.peaks and np.any(part.work.matmul_flops > 0):
            raise CalibrationError(
                f"the table has {part.kind} in {part.dtype}, and {device.name} has no peak for that type, only for "
                f"{', '.join(map(str, device.peaks))}; name another device, or a profile of your own with that peak"
            )


def _thin(samples: Sequence[Samples]) -> list[str]:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for part in samples:
        counts[part.kind, part.dtype] += len(part)
    return [f"{kind} {dtype}" for (kind, dtype), count in counts.items() if count < THIN]


def _remarks(samples: Sequence[Samples], left_out: Any, thin: Sequence[str]) -> list[str]:
    remarks = [
        f"{part.op or part.kind} {part.dtype}: {MOST} of {len(part)} rows are used, at random"
        for part in samples
        if len(part) > MOST
    ]
    if thin:
        remarks.append(
            f"under {THIN} points, so a line through start, FLOPs and bytes (non-negative least squares): "
            + ", ".join(thin)
        )
    return remarks + [f"not fitted: {what}: {why}" for what, why in left_out.items()]


def _tool() -> str:
    from energy_opt import __version__

    return f"energy-opt {__version__}"
