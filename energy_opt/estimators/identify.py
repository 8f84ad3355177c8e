"""Which shipped profile is that of a machine, by what its driver or its processor calls itself."""

from __future__ import annotations

import re
from collections.abc import Set

from energy_opt.estimators.device import Device

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
"""Vendor, family and model of server processors.

Source: Intel's and AMD's CPUID documentation as collected in Linux, arch/x86/include/asm/intel-family.h and
arch/x86/kernel/cpu/amd.c.
"""

_CASCADE_LAKE_STEPPING = 5
"""Cascade Lake is Skylake's model from this stepping on."""

_ARM = {0xD0C: "graviton2", 0xD40: "graviton3", 0xD4F: "graviton4"}
"""Arm's part numbers. Source: Linux, arch/arm64/include/asm/cputype.h."""

_INSTRUCTIONS = (
    ({"amx_fp16"}, "xeon-granite-rapids"),
    ({"amx_tile", "avx512_fp16"}, "xeon-sapphire-rapids"),
)
"""A hypervisor may give a model number of its own; instructions tell at least the oldest part that has them."""

_GPUS = {
    "a100-sxm-80gb": "a100-sxm4-80gb",
    "a100 80gb pcie": "a100-pcie-80gb",
    "h100 80gb hbm3": "h100-sxm",
    "h200": "h200-sxm",
    "b200": "b200-sxm",
}
"""Names of NVIDIA's driver, without the maker, that are not our slugs with other separators."""


def gpu_profile(label: str) -> str | None:
    """The name of the profile of a GPU that the driver calls `label`; None where there is none.

    The whole name has to agree: a T400 is no T4, and a MIG slice is not its GPU.
    """
    plain = re.sub(r"^((nvidia|tesla|geforce|quadro)\s+)+", "", " ".join(label.lower().split()))
    if plain in _GPUS:
        return _GPUS[plain]
    slugs = {_squeezed(name): name for name in Device.names()}
    return slugs.get(_squeezed(plain))


def cpu_profile(
    vendor: str, family: int | None, model: int | None, stepping: int | None, features: Set[str]
) -> tuple[str | None, str]:
    """The name of the profile of a processor by its CPUID, None where there is none, and what to say of the choice.

    `vendor` is CPUID's, or `arm`, whose `model` is the part number. "" is said where the choice is sure.
    """
    if vendor == "arm":
        return _ARM.get(model or -1), ""
    found = _X86.get((vendor, family or -1, model or -1))
    if found == "xeon-skylake" and (stepping or 0) >= _CASCADE_LAKE_STEPPING:
        found = "xeon-cascade-lake"
    if found is not None:
        return found, ""
    for instructions, name in _INSTRUCTIONS:
        if vendor == "GenuineIntel" and instructions <= features:
            return name, (
                f"the host does not say which processor it is (model {model}); its instructions are those of {name} "
                "or later"
            )
    return None, ""


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name)
