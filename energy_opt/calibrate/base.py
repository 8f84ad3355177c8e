"""The profile that a calibration starts from: the part that this machine seems to be, or its facts where none is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from energy_opt.calibrate.profile import at_least
from energy_opt.calibrate.samples import Samples
from energy_opt.errors import DeviceError
from energy_opt.estimators.device import Device

_GPUS = (
    (r"\bH200 NVL", "h200-nvl"), (r"\bH200\b", "h200-sxm"), (r"\bH100 PCIE", "h100-pcie"),
    (r"\bH100 (80GB|SXM)", "h100-sxm"), (r"\bGB200\b", "gb200"), (r"\bB200\b", "b200-sxm"),
    (r"A100-SXM4-40GB", "a100-sxm4-40gb"), (r"A100-SXM4-80GB", "a100-sxm4-80gb"),
    (r"A100 80GB PCIE|A100-PCIE-80GB", "a100-pcie-80gb"), (r"A100-PCIE-40GB", "a100-pcie-40gb"),
    (r"\bA10\b", "a10"), (r"\bA40\b", "a40"), (r"\bL4\b", "l4"), (r"\bL40S\b", "l40s"), (r"\bT4\b", "t4"),
    (r"RTX 4090(?! D| LAPTOP)", "rtx-4090"), (r"V100-SXM2-32GB", "v100-sxm2-32gb"),
    (r"V100-PCIE-32GB", "v100-pcie-32gb"), (r"P100-PCIE-16GB", "p100-pcie-16gb"),
)  # fmt: skip
"""Names as NVIDIA's driver gives them, and our profiles. A plain "NVIDIA H200" is the SXM part."""

_INTEL = {85: "xeon-skylake", 106: "xeon-ice-lake", 143: "xeon-sapphire-rapids", 167: "xeon-sapphire-rapids",
          207: "xeon-emerald-rapids", 173: "xeon-granite-rapids"}  # fmt: skip
_AMD = {(23, 49): "epyc-rome", (25, 1): "epyc-milan", (25, 17): "epyc-genoa", (26, 2): "epyc-turin"}
_ARM = {0xD0C: "graviton2", 0xD40: "graviton3", 0xD4F: "graviton4"}
"""CPU families by the numbers that processors report.

Source: Linux, arch/x86/include/asm/intel-family.h and arch/arm64/include/asm/cputype.h; AMD's by model range.
"""

_CPU = "xeon-sapphire-rapids"


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
    for pattern, slug in _GPUS:
        if re.search(pattern, name.upper()):
            return Device.load(slug)
    found = seen(samples)
    peaks = {"float32": 1e12, **found["peaks"]}
    assumed = "peaks, bandwidth: the best rates seen while calibrating"
    return Device.model_validate(
        {
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
    family = _family(_cpuinfo())
    cores = int(facts.get("units") or _cores())
    base = Device.load(family or _CPU)
    most = base.scaling.max_vcpus if base.scaling is not None else cores
    try:
        device = Device.load(f"{base.name}@{min(cores, most)}")
    except DeviceError:  # a profile that does not scale stays as it is
        device = base
    assumed = [] if family else [f"this processor is not known: facts of {base.label} are assumed"]
    assumed.append("idle_w, tdp_w: a share of the family's, not measured here")
    label = str(facts.get("device") or device.label)
    return Device.model_validate(
        device.model_dump(by_alias=True)
        | {
            "label": f"{label}, {cores} threads",
            "unverified": list(dict.fromkeys([*device.unverified, *assumed])),
        }
    )


def _family(info: Mapping[str, str]) -> str | None:
    """The profile of the processor family that /proc/cpuinfo describes; None where it is another."""

    def number(name: str) -> int:
        try:
            return int(info.get(name, ""), 0)
        except ValueError:
            return -1

    vendor, family, model = info.get("vendor_id", ""), number("cpu family"), number("model")
    if vendor == "GenuineIntel" and family == 6:
        # Cascade Lake is Skylake's model from stepping 5 on.
        later = model == 85 and number("stepping") >= 5
        return "xeon-cascade-lake" if later else _INTEL.get(model)
    if vendor == "AuthenticAMD":
        at_most = [m for f, m in _AMD if f == family and m <= max(model, 0)]
        return _AMD[family, max(at_most)] if at_most else None
    return _ARM.get(number("CPU part"))


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1
