"""Meters of energy: one protocol over NVML, RAPL, models, logs, replayed traces and other packages.

    with open_meter("nvml") as meter:
        with meter.window(sync=torch.cuda.synchronize) as w:
            ...
        w.energy_j, w.seconds, w.boundary, w.quality.relative_error

`energy_j` is None, never 0, where nothing was measured, and `reason` says why. See docs/meters.md.
"""

from __future__ import annotations

from energy_opt.measure.meters.catalogue import Availability, available, open_meter
from energy_opt.measure.meters.logs import read_log
from energy_opt.measure.meters.meter import Boundary, Meter, NullMeter, Provenance, Quality, Window
from energy_opt.measure.meters.several import SeveralMeters, SeveralWindow, several
from energy_opt.measure.meters.trace import Trace

__all__ = [
    "Availability",
    "Boundary",
    "Meter",
    "NullMeter",
    "Provenance",
    "Quality",
    "SeveralMeters",
    "SeveralWindow",
    "Trace",
    "Window",
    "available",
    "open_meter",
    "read_log",
    "several",
]
