"""An estimate as the JSON of `analyze`, which every report reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from energy_opt.estimators.breakdown import number
from energy_opt.estimators.device import Device
from energy_opt.estimators.interval import LEVEL

if TYPE_CHECKING:
    from energy_opt.estimators.estimate import Estimate
    from energy_opt.ir.workload import Workload

SCHEMA = "energy-opt/analysis/1"


def answer(estimate: Estimate) -> dict[str, Any]:
    """The JSON of an estimate at one size per dim.

    Raises:
        DimError: a dim is bound to an array.
    """
    totals, workload = estimate.totals(), estimate.workload
    defaulted = set(workload.defaulted(estimate.given))
    unmodelled = dict(workload.unmodelled)
    bases, extrapolated = estimate.bases(), estimate.extrapolated
    return {
        "schema": SCHEMA,
        "model": {
            "source": workload.source,
            "name": workload.name,
            "nodes": workload.nodes,
            "vocabulary": workload.vocabulary,
        },
        "device": {**estimate.device.to_dict(), **_provenance(bases)},
        "runtime": estimate.runtime.name,
        "precision": estimate.precision,
        "dims": {name: number(float(value)) for name, value in estimate.dims.items()},
        "dims_info": {
            name: {
                "value": number(float(estimate.dims[name])),
                "defaulted": name in defaulted,
                "aliases": list(info.aliases),
                "where": info.where,
                "origin": info.origin,
            }
            for name, info in workload.dims.items()
        },
        "interval_level": LEVEL,
        "totals": totals,
        "formulas": {name: str(dim) for name, dim in workload.formulas.items()},
        "coverage": {
            "ops": workload.nodes,
            "modelled": workload.nodes - sum(unmodelled.values()),
            "unmodelled": unmodelled,
            "rests_on": bases,
            "extrapolated": extrapolated,
        },
        "kinds": estimate.kinds(),
        "modules": estimate.modules(),
        "ops": estimate.ops(),
        "advice": [dict(step) for step in estimate.advice],
        "notes": [
            *workload.notes,
            *notes(workload, estimate.device),
            *_outside(extrapolated),
            *_borrowed(estimate),
        ],
    }


_STRENGTH = ("datasheet", "modelled", "fitted", "measured")
_MATTERS = 0.05
"""Share of a total from which on the provenance of a part is that of the whole, where it is weaker."""


def _provenance(bases: dict[str, dict[str, float]]) -> dict[str, str]:
    """The weakest provenance that matters to the latency and to the energy."""
    found = {}
    for name, key in (("latency_s", "provenance"), ("energy_j", "energy_provenance")):
        matter = [basis for basis, share in bases[name].items() if share >= _MATTERS]
        if matter:
            found[key] = min(matter, key=_STRENGTH.index)
    return found


def _borrowed(estimate: Estimate) -> list[str]:
    return [
        f"kernels were timed under {runtime}, not under {estimate.runtime.name}: those of the latter differ"
        for runtime in estimate.borrowed
    ]


def _outside(extrapolated: float) -> list[str]:
    if extrapolated < _MATTERS:
        return []
    return [
        f"{100 * extrapolated:.0f} % of the time is of sizes beyond those that the profile was fitted on: their "
        "intervals are wider"
    ]


def notes(workload: Workload, device: Device) -> list[str]:
    """What a reader of a workload's numbers on the device has to know of how they were made."""
    found = []
    used = {row.dtype for row in workload.rows if row.matmul_flops != 0}
    for dtype in sorted(used):
        instead = device.arithmetic(dtype)
        if dtype == "float64" and "float64" not in device.peaks:
            found.append(f"{device.label} has no float64 peak in its profile: float32's / 32")
        elif instead != dtype:
            found.append(
                f"{device.label} has no {dtype} peak: its matrix arithmetic is priced as {instead}"
            )
    if not device.energy_ground_truth:
        found.append(
            f"no energy measurement of {device.label} is public: joules are derived from its power limit"
        )
    weights = workload.weight_bytes
    if device.memory_bytes is not None and weights > device.memory_bytes:
        found.append(
            f"the weights ({weights / 1e9:.1f} GB) do not fit in {device.label}'s memory "
            f"({device.memory_bytes / 1e9:.0f} GB)"
        )
    return found
