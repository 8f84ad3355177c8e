"""Facts of devices that the table of make_profiles.py lacks: names, chips it does not list, and CPU families.

Each device says where its facts are from and what nobody has checked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

SLUGS = {
    "T4": "t4",
    "V100-SXM2-32GB": "v100-sxm2-32gb",
    "V100-PCIE-32GB": "v100-pcie-32gb",
    "A100-SXM4-40GB": "a100-sxm4-40gb",
    "A100-SXM4-80GB": "a100-sxm4-80gb",
    "A100-PCIE-40GB": "a100-pcie-40gb",
    "A100-PCIE-80GB": "a100-pcie-80gb",
    "A10": "a10",
    "L4": "l4",
    "L40S": "l40s",
    "RTX 4090": "rtx-4090",
    "H100-PCIe-80GB": "h100-pcie",
    "H100-SXM5-80GB": "h100-sxm",
    "H200-SXM-141GB": "h200-sxm",
    "H200-NVL": "h200-nvl",
    "B200-SXM-180/192GB": "b200-sxm",
}
LABELS = {
    "t4": "NVIDIA T4",
    "v100-sxm2-32gb": "NVIDIA V100 SXM2 32 GB",
    "v100-pcie-32gb": "NVIDIA V100 PCIe 32 GB",
    "a100-sxm4-40gb": "NVIDIA A100 SXM4 40 GB",
    "a100-sxm4-80gb": "NVIDIA A100 SXM4 80 GB",
    "a100-pcie-40gb": "NVIDIA A100 PCIe 40 GB",
    "a100-pcie-80gb": "NVIDIA A100 PCIe 80 GB",
    "a10": "NVIDIA A10",
    "l4": "NVIDIA L4",
    "l40s": "NVIDIA L40S",
    "rtx-4090": "NVIDIA GeForce RTX 4090",
    "h100-pcie": "NVIDIA H100 PCIe 80 GB",
    "h100-sxm": "NVIDIA H100 SXM5 80 GB",
    "h200-sxm": "NVIDIA H200 SXM 141 GB",
    "h200-nvl": "NVIDIA H200 NVL 141 GB",
    "b200-sxm": "NVIDIA B200 SXM",
}
FLOAT64_TFLOPS = {
    # Of the vector units; the matrix engines of A100 and later do more. Ratio to float32 by chip.
    "t4": 0.254,
    "v100-sxm2-32gb": 7.8,
    "v100-pcie-32gb": 7.0,
    "a100-sxm4-40gb": 9.7,
    "a100-sxm4-80gb": 9.7,
    "a100-pcie-40gb": 9.7,
    "a100-pcie-80gb": 9.7,
    "a10": 0.488,
    "l4": 0.473,
    "l40s": 1.43,
    "rtx-4090": 1.29,
    "h100-pcie": 25.6,
    "h100-sxm": 33.5,
    "h200-sxm": 33.5,
    "h200-nvl": 30.0,
    "b200-sxm": 40.0,
}
NO_ENERGY = {"t4", "l4", "a10", "rtx-4090"}
"""Devices of which no public measurement of power per op or per model is known."""

EXTRA: list[dict[str, Any]] = [
    {
        "name": "p100-pcie-16gb",
        "label": "NVIDIA P100 PCIe 16 GB",
        "arch": "Pascal sm60",
        "units": 56,
        "clock_hz": 1.329e9,
        "peaks": {"float64": 4.7e12, "float32": 9.3e12, "float16": 18.7e12},
        "vector_flops_per_s": 9.3e12,
        "mem_bw_bytes_per_s": 732e9,
        "l2_bytes": 4e6,
        "memory_bytes": 16e9,
        "tdp_w": 250.0,
        "idle_w": 26.0,
        "idle_context_w": 34.0,
        "sources": [
            "4.7 and 9.3 TFLOP/s, 732 GB/s: microway.com, Tesla P100 PCI-E 16GB Up Close",
            "18.7 TFLOP/s half precision, 250 W: tech4gamers.com, Tesla P100 PCIe variants",
            "56 SM, 1329 MHz, L2 4 MB, 250 W: cputronic.com, Tesla P100 PCIe 16 GB",
            "idle with a context 33-35 W: floor of the NCF runs in Zeus' power traces",
        ],
        "unverified": ["bare idle 26 W from memory"],
    },
    {
        "name": "a40",
        "label": "NVIDIA A40",
        "arch": "Ampere sm86",
        "units": 84,
        "clock_hz": 1.74e9,
        "peaks": {
            "float64": 0.59e12,
            "float32": 37.42e12,
            "tf32": 74.83e12,
            "float16": 149.67e12,
            "bfloat16": 149.67e12,
            "int8": 299.34e12,
            "int4": 598.67e12,
        },
        "vector_flops_per_s": 37.42e12,
        "mem_bw_bytes_per_s": 696e9,
        "l2_bytes": 6e6,
        "memory_bytes": 48e9,
        "tdp_w": 300.0,
        "idle_w": 30.0,
        "idle_context_w": 82.0,
        "sources": [
            "peaks: hmc-tech.com, A100 against A40",
            "84 SM, 1740 MHz, L2 6 MB, 695.8 GB/s, 300 W: gpu.spicedreamphone.com, A40 PCIe",
            "idle with a context 82-91 W: floor of the NCF runs in Zeus' power traces",
        ],
        "unverified": ["bare idle 30 W from memory", "sources are copies of NVIDIA's datasheet"],
    },
    {
        "name": "gb200",
        "label": "NVIDIA GB200 (one GPU)",
        "arch": "Blackwell sm100",
        "units": 148,
        "clock_hz": 1.965e9,
        "peaks": {
            "float64": 45e12,
            "float32": 90e12,
            "tf32": 1250e12,
            "float16": 2500e12,
            "bfloat16": 2500e12,
            "float8": 5000e12,
            "int8": 5000e12,
            "float4": 10000e12,
        },
        "vector_flops_per_s": 90e12,
        "mem_bw_bytes_per_s": 8000e9,
        "l2_bytes": 126e6,
        "memory_bytes": 186e9,
        "tdp_w": 1200.0,
        "idle_w": 150.0,
        "idle_context_w": 211.0,
        "sources": [
            "peaks, 8 TB/s at 1200 W: glennklockwood.com/garden/processors/B200, GB200 variant",
            "power limit 1200 W, base with a context 211 W: readings in aiconfigurator's collections",
        ],
        "unverified": [
            "SM count and clock are the B200's; L2, memory 186 GB and bare idle from memory",
            "int8: as listed for the GB200; some sources give less",
            "the board's Grace CPU is not included",
        ],
    },
]


class Cpu(NamedTuple):
    """What a CPU family's vCPUs share: cores, arithmetic per cycle, clock under wide vectors, memory."""

    slug: str
    label: str
    vcpus_per_core: int
    cores: int
    float32_flops_per_cycle: int
    ghz: float
    socket_gbs: float
    core_gbs: float
    memory: str
    multiples: dict[str, float]


_AMX = {"int8": 32.0, "bfloat16": 16.0}
INTEL, AMD = "Intel Xeon Scalable", "AMD EPYC"
CPUS = {
    "Xeon Skylake": Cpu(
        "xeon-skylake", f"{INTEL} (Skylake)", 2, 24, 64, 2.4, 128, 12, "6 x DDR4-2666", {}
    ),
    "Xeon Cascade Lake": Cpu(
        "xeon-cascade-lake",
        f"{INTEL} 2nd gen (Cascade Lake)",
        2,
        24,
        64,
        2.6,
        141,
        12,
        "6 x DDR4-2933",
        {"int8": 4},
    ),
    "Xeon Ice Lake": Cpu(
        "xeon-ice-lake",
        f"{INTEL} 3rd gen (Ice Lake)",
        2,
        32,
        64,
        2.8,
        205,
        13,
        "8 x DDR4-3200",
        {"int8": 4},
    ),
    "Xeon Sapphire Rapids": Cpu(
        "xeon-sapphire-rapids",
        f"{INTEL} 4th gen (Sapphire Rapids)",
        2,
        48,
        64,
        2.7,
        307,
        13,
        "8 x DDR5-4800",
        {**_AMX, "float16": 2},
    ),
    "Xeon Emerald Rapids": Cpu(
        "xeon-emerald-rapids",
        f"{INTEL} 5th gen (Emerald Rapids)",
        2,
        48,
        64,
        2.8,
        358,
        13,
        "8 x DDR5-5600",
        {**_AMX, "float16": 2},
    ),
    "Xeon Granite Rapids": Cpu(
        "xeon-granite-rapids",
        "Intel Xeon 6 (Granite Rapids)",
        2,
        96,
        64,
        2.9,
        614,
        15,
        "12 x DDR5-6400",
        {**_AMX, "float16": 16},
    ),
    "EPYC 2nd Gen (Rome)": Cpu(
        "epyc-rome",
        f"{AMD} 2nd gen (Rome)",
        2,
        64,
        32,
        3.0,
        205,
        12,
        "8 x DDR4-3200",
        {},
    ),
    "EPYC 3rd Gen (Milan)": Cpu(
        "epyc-milan",
        f"{AMD} 3rd gen (Milan)",
        2,
        64,
        32,
        3.3,
        205,
        14,
        "8 x DDR4-3200",
        {},
    ),
    "EPYC 4th Gen (Genoa)": Cpu(
        "epyc-genoa",
        f"{AMD} 4th gen (Genoa)",
        2,
        96,
        32,
        3.5,
        461,
        16,
        "12 x DDR5-4800",
        {"int8": 4, "bfloat16": 2},
    ),
    "EPYC 5th Gen (Turin)": Cpu(
        "epyc-turin",
        f"{AMD} 5th gen (Turin)",
        1,
        128,
        64,
        3.6,
        576,
        18,
        "12 x DDR5-6000",
        {"int8": 4, "bfloat16": 2},
    ),
}
GRAVITONS = (
    Cpu(
        "graviton2",
        "AWS Graviton2",
        1,
        64,
        16,
        2.5,
        205,
        12,
        "8 x DDR4-3200",
        {"int8": 4, "float16": 2},
    ),
    Cpu(
        "graviton3",
        "AWS Graviton3",
        1,
        64,
        32,
        2.6,
        307,
        14,
        "8 x DDR5-4800",
        {"int8": 8, "float16": 2, "bfloat16": 4},
    ),
    Cpu(
        "graviton4",
        "AWS Graviton4",
        1,
        96,
        32,
        2.8,
        537,
        15,
        "12 x DDR5-5600",
        {"int8": 8, "float16": 2, "bfloat16": 4},
    ),
)
