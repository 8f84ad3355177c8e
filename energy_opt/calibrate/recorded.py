"""The samples that a profile was fitted to: beside it, or in a file that the user names."""

from __future__ import annotations

from pathlib import Path

from energy_opt.calibrate.samples import Samples
from energy_opt.errors import CalibrationError
from energy_opt.estimators.device import Device


def beside(device: Device, name_or_path: str | Path) -> Path:
    """The file of the profile's samples in the folder of the profile.

    Raises:
        CalibrationError: the profile names none, or it is not there.
    """
    path = Path(name_or_path)
    named = device.calibration.samples if device.calibration is not None else None
    if not device.fits:
        raise CalibrationError(
            f"{device.name}: nothing in this profile was fitted, so there is nothing measured to draw"
        )
    if path.suffix.lower() != ".json" or not path.exists():
        raise CalibrationError(
            f"{device.name}: shipped profiles come without their samples; give them with --samples FILE"
        )
    # A name in a profile is another's text: only a file beside it is meant.
    there = path.parent / Path(named).name if named else None
    if there is None or not there.is_file():
        said = (
            f"its samples, {Path(named).name}, are not beside it"
            if named
            else "it does not name its samples"
        )
        raise CalibrationError(f"{path}: {said}; give them with --samples FILE")
    return there


def recorded(path: str | Path) -> list[Samples]:
    """The samples in a table (`.csv`, `.csv.gz`) or in the log of a calibration (`.jsonl`).

    Raises:
        TableError: it is no table; CalibrationError: it is no log.
    """
    path = Path(path)
    if path.name.endswith(".jsonl"):
        from energy_opt.calibrate import checkpoint
        from energy_opt.calibrate.collect import collect

        header, lines = checkpoint.read(path)
        return list(collect(lines, str(header.get("runtime", ""))).samples)
    from energy_opt.calibrate.table import read

    return read(path)
