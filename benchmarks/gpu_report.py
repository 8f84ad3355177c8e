"""Cells of models as measured on a GPU, beside what its calibrated profile predicts, and what its datasheet would."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu_cells as gc
import numpy as np

from energy_opt.calibrate import checkpoint
from energy_opt.calibrate.base import base_of
from energy_opt.estimators.device import Device

QUANTITIES = ("latency", "power", "energy")


@dataclass(frozen=True)
class Beside:
    """One quantity of one cell: measured, predicted with its interval, and by the profile before calibration."""

    cell: str
    precision: str
    mode: str
    quantity: str
    measured: float
    predicted: float
    low: float
    high: float
    before: float

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1.0

    @property
    def inside(self) -> bool | None:
        """Whether the interval holds what was measured; None where there is no interval."""
        return None if math.isnan(self.low) else self.low <= self.measured <= self.high


def compared(
    profile: Device, before: Device, lines: Sequence[dict[str, Any]], *, tiny: bool
) -> list[Beside]:
    """Every measured quantity beside its prediction."""
    known = {cell.key: cell for cell in gc.cells(tiny=tiny)}
    found = []
    for line in lines:
        cell = known.get(line["cell"])
        if cell is None or "failed" in line:
            continue
        ours = gc.predicted(cell, line["mode"], profile)
        sheet = gc.predicted(cell, line["mode"], before)
        ranges = {
            "latency": ours.latency_s_interval,
            "energy": ours.energy_j_interval,
            "power": (float("nan"), float("nan")),
        }
        for quantity, name in (
            ("latency", "latency_s"),
            ("power", "power_w"),
            ("energy", "energy_j"),
        ):
            if line.get(name) is None:
                continue
            low, high = (float(value) for value in ranges[quantity])
            found.append(
                Beside(
                    cell.key, cell.precision, line["mode"], quantity, float(line[name]), float(getattr(ours, name)),
                    low, high, float(getattr(sheet, name)),
                )
            )  # fmt: skip
    return found


def report(profile: Path, cells: Path, *, tiny: bool = False) -> list[dict[str, Any]]:
    """Print every cell and the errors per quantity, mode and precision; the rows of a JSON file."""
    device = Device.load(profile)
    header, lines = checkpoint.read(cells)
    before = (
        Device.load(device.name)
        if device.name in Device.names()
        else base_of(str(header.get("target", "")), {"device": device.label, "kind": "gpu"}, [])
    )
    found = compared(device, before, lines, tiny=tiny)
    print(
        f"{'cell':44}{'mode':7}{'quantity':10}{'measured':>11}{'predicted':>11}{'error':>8}  90 % interval"
    )
    for b in found:
        print(
            f"{b.cell:44}{b.mode:7}{b.quantity:10}{b.measured:11.4g}{b.predicted:11.4g}{b.error:8.1%}"
            + (
                ""
                if b.inside is None
                else f"  {b.low:.3g} to {b.high:.3g}{'' if b.inside else '  OUTSIDE'}"
            )
        )
    for line in lines:
        if "failed" in line:
            print(f"{line['cell']:44}{line['mode']:7}not run: {line['failed']}")
    return _summary(found, device.name)


def _summary(found: Sequence[Beside], device: str) -> list[dict[str, Any]]:
    """Print the errors of every mode, precision and quantity; the rows of a JSON file."""
    rows = []
    header = f"\n{'mode':7}{'precision':10}{'quantity':10}{'n':>4}"
    print(header + "".join(f"{name:>9}" for name in ("ours", "P90", "bias", "inside", "shipped")))
    for mode, precision, quantity in itertools.product(
        gc.MODES, (*gc.PRECISIONS, "all"), QUANTITIES
    ):
        part = [
            b
            for b in found
            if (b.mode, b.quantity) == (mode, quantity) and precision in (b.precision, "all")
        ]
        if not part:
            continue
        values = _errors(part)
        cells = "".join("        -" if math.isnan(v) else f"{v:8.1f}%" for v in values.values())
        print(f"{mode:7}{precision:10}{quantity:10}{len(part):4}{cells}")
        rows += [
            {
                "benchmark": "gpu", "table": "held-out models", "device": device, "method": method,
                "setting": f"static/{mode}/{precision}", "level": "model", "quantity": quantity,
                "metric": metric, "value": value, "n": len(part),
            }
            for (method, metric), value in values.items()
            if not math.isnan(value)
        ]  # fmt: skip
    return rows


def _errors(part: Sequence[Beside]) -> dict[tuple[str, str], float]:
    """Percent, by method and metric; NaN where there is no interval."""
    errors = np.array([b.error for b in part])
    before = np.array([b.before / b.measured - 1.0 for b in part])
    inside = [b.inside for b in part]
    return {
        ("ours", "mape"): 100 * float(np.mean(np.abs(errors))),
        ("ours", "p90"): 100 * float(np.quantile(np.abs(errors), 0.9)),
        ("ours", "bias"): 100 * float(np.mean(errors)),
        ("ours", "coverage90"): math.nan if None in inside else 100 * float(np.mean(inside)),  # type: ignore[arg-type]
        ("shipped profile", "mape"): 100 * float(np.mean(np.abs(before))),
    }
