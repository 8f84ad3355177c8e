"""Which shipped profile is that of the machine at hand."""

from __future__ import annotations

import re

from energy_opt.errors import DeviceError
from energy_opt.estimators.device import Device
from energy_opt.measure.runners.target import Target

# Family, model and the least stepping of server processors. Source: Intel's and AMD's CPUID documentation as collected
# in the Linux kernel, arch/x86/include/asm/intel-family.h and arch/x86/kernel/cpu/amd.c; Arm's part numbers are in
# arch/arm64/include/asm/cputype.h.
_X86 = {
    ("GenuineIntel", 6, 85): "xeon-skylake",
    ("GenuineIntel", 6, 106): "xeon-ice-lake",
    ("GenuineIntel", 6, 143): "xeon-sapphire-rapids",
    ("GenuineIntel", 6, 173): "xeon-granite-rapids",
    ("GenuineIntel", 6, 207): "xeon-emerald-rapids",
    ("AuthenticAMD", 23, 49): "epyc-rome",
    ("AuthenticAMD", 25, 1): "epyc-milan",
    ("AuthenticAMD", 25, 17): "epyc-genoa",
    ("AuthenticAMD", 26, 2): "epyc-turin",
    ("AuthenticAMD", 26, 17): "epyc-turin",
}
_ARM = {0xD0C: "graviton2", 0xD40: "graviton3", 0xD4F: "graviton4"}
_CASCADE_LAKE_STEPPING = 5
# A hypervisor may give a model number of its own; instructions tell at least the oldest part that has them.
_FEATURES = (
    ({"amx_fp16"}, "xeon-granite-rapids"),
    ({"amx_tile", "avx512_fp16"}, "xeon-sapphire-rapids"),
)
# Names of the driver that are not our slugs with other separators.
_GPUS = {
    "nvidia h100 80gb hbm3": "h100-sxm",
    "nvidia h100 pcie": "h100-pcie",
    "nvidia h200": "h200-sxm",
    "nvidia h200 nvl": "h200-nvl",
    "nvidia b200": "b200-sxm",
    "nvidia gb200": "gb200",
    "nvidia a100 80gb pcie": "a100-pcie-80gb",
}


def profile_of(target: Target) -> tuple[Device, str]:
    """The profile of a target, and what to say of the choice; "" where it is sure.

    Raises:
        DeviceError: no shipped profile is that of this machine; it says what the machine calls itself.
    """
    name, said = _gpu(target) if target.kind == "gpu" else _cpu(target)
    if name is None:
        raise DeviceError(
            f"no shipped profile is that of this {target.kind.upper()} ({target.label}); give one with --device NAME, "
            "or make one with `energy-opt calibrate`"
        )
    device = Device.load(name)
    if device.scaling is not None and target.processors:
        device = device.scaled(min(target.processors, device.scaling.max_vcpus))
    return device, said


def _gpu(target: Target) -> tuple[str | None, str]:
    label = " ".join(target.label.lower().split())
    if label in _GPUS:
        return _GPUS[label], ""
    squeezed = re.sub(r"[^a-z0-9]", "", re.sub(r"^(nvidia|tesla|geforce|quadro)\b", "", label))
    squeezed = re.sub(r"^(tesla|geforce)", "", squeezed)
    known = {re.sub(r"[^a-z0-9]", "", name): name for name in Device.names()}
    return known.get(squeezed), ""


def _cpu(target: Target) -> tuple[str | None, str]:
    if target.vendor == "arm":
        return _ARM.get(target.model or -1), ""
    found = _X86.get((target.vendor, target.family or -1, target.model or -1))
    if found == "xeon-skylake" and (target.stepping or 0) >= _CASCADE_LAKE_STEPPING:
        found = "xeon-cascade-lake"
    if found is not None:
        return found, ""
    for features, name in _FEATURES:
        if target.vendor == "GenuineIntel" and features <= target.features:
            said = (
                f"the host does not say which processor it is (model {target.model}); its instructions are those of "
                f"{name} or later"
            )
            return name, said
    return None, ""
