"""The profile that a calibration starts from: the part that this machine seems to be, or its facts where none is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from energy_opt.calibrate.profile import at_least
from energy_opt.calibrate.samples import Samples
from energy_opt.estimators.device import Device
from energy_opt.estimators.identify import cpu_profile, gpu_profile
from energy_opt.measure.runners.target import find

_CPU = "xeon-sapphire-rapids"
"""Whose facts are assumed of a processor that is not known."""


def base_of(
    target: str, facts: Mapping[str, Any], samples: Sequence[Samples], spec: str | None = None
) -> Device:
    """The profile whose facts the calibrated one keeps: `spec`, or what the machine says it is, or what was seen on it.

    No peak is below the best rate that was seen, since it bounds times from below; what is assumed is listed as
    unverified. On a CPU that rate holds traffic that stays in caches, as most of a model's does.

    Raises:
        DeviceError: `spec` is no profile.
    """
    if spec is not None:
        base = Device.load(spec)
    elif facts.get("kind", "cpu" if target == "cpu" else "gpu") == "cpu":
        base = _cpu(facts)
    else:
        base = _gpu(facts, samples)
    beyond = 2 * (base.l2_bytes or 0.0) if base.kind == "gpu" else 0.0
    return at_least(base, **seen(samples, beyond))


def seen(samples: Sequence[Samples], beyond_bytes: float = 0.0) -> dict[str, Any]:
    """The best rates among the samples: of products by type, of other arithmetic, of traffic beyond so many bytes."""
    peaks: dict[str, float] = {}
    vector = traffic = 0.0
    for part in samples:
        if not len(part):
            continue
        best = float(np.max(part.work.matmul_flops / part.latency_s))
        if best > 0:
            peaks[part.dtype] = max(best, peaks.get(part.dtype, 0.0))
        else:
            vector = max(vector, float(np.max(part.work.other_flops / part.latency_s)))
        large = part.work.bytes > beyond_bytes
        if np.any(large) and part.kernels:
            traffic = max(traffic, float(np.max((part.work.bytes / part.latency_s)[large])))
    return {"peaks": peaks, "vector_flops_per_s": vector, "bytes_per_s": traffic}


def _gpu(facts: Mapping[str, Any], samples: Sequence[Samples]) -> Device:
    name = str(facts.get("device", "GPU"))
    known = gpu_profile(name)
    if known is not None:
        return Device.load(known)
    found = seen(samples)
    peaks = {"float32": 1e12, **found["peaks"]}
    assumed = "peaks, bandwidth: the best rates seen while calibrating"
    return Device.model_validate(
        {
            "schema": "energy-opt/device/1",
            "name": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "gpu",
            "label": name,
            "kind": "gpu",
            "units": int(facts.get("units") or 1),
            "peaks": peaks,
            "vector_flops_per_s": max(found["vector_flops_per_s"], peaks["float32"]),
            "mem_bw_bytes_per_s": max(found["bytes_per_s"], 1e9),
            "l2_bytes": facts.get("l2_bytes"),
            "memory_bytes": facts.get("memory_bytes"),
            "tdp_w": facts.get("power_limit_w") or 300.0,
            "unverified": [assumed] if facts.get("power_limit_w") else [assumed, "tdp_w: assumed"],
        }
    )


def _cpu(facts: Mapping[str, Any]) -> Device:
    here = find("cpu")
    known, said = cpu_profile(here.vendor, here.family, here.model, here.stepping, here.features)
    cores = int(facts.get("units") or here.processors or 1)
    base = Device.load(known or _CPU)
    if base.scaling is not None:
        base = base.scaled(min(cores, base.scaling.max_vcpus))
    assumed = [] if known else [f"this processor is not known: facts of {base.label} are assumed"]
    if said:
        assumed.append(said)
    assumed.append("idle_w, tdp_w: a share of the family's, not measured here")
    label = str(facts.get("device") or base.label)
    return Device.model_validate(
        base.model_dump(by_alias=True)
        | {
            "label": f"{label}, {cores} threads",
            "unverified": list(dict.fromkeys([*base.unverified, *assumed])),
        }
    )
