from __future__ import annotations

import pytest

from energy_opt.estimators.device import Device
from energy_opt.estimators.identify import cpu_profile, gpu_profile


# Names as nvidia-smi prints them.
@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-32GB", "v100-sxm2-32gb"),
        ("Tesla V100-PCIE-32GB", "v100-pcie-32gb"),
        ("Tesla P100-PCIE-16GB", "p100-pcie-16gb"),
        ("NVIDIA A10", "a10"),
        ("NVIDIA A40", "a40"),
        ("NVIDIA A100-SXM4-40GB", "a100-sxm4-40gb"),
        ("A100-SXM-80GB", "a100-sxm4-80gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H200", "h200-sxm"),
        ("NVIDIA H200 NVL", "h200-nvl"),
        ("NVIDIA B200", "b200-sxm"),
        ("NVIDIA GB200", "gb200"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
    ],
)
def test_a_gpu_is_known_by_its_drivers_name(label: str, name: str) -> None:
    assert gpu_profile(label) == name
    assert name in Device.names()


@pytest.mark.parametrize(
    "label",
    [
        "NVIDIA T400", "NVIDIA L40", "NVIDIA A10G", "NVIDIA GeForce RTX 4090 D", "GPU", "",
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "NVIDIA GH200 480GB", "Tesla V100-SXM2-16GB",
    ],
)  # fmt: skip
def test_a_gpu_is_not_taken_for_one_with_a_similar_name(label: str) -> None:
    assert gpu_profile(label) is None


def test_a_desktop_part_of_a_servers_family_is_another() -> None:
    assert cpu_profile("AuthenticAMD", 25, 33, 2, set()) == (None, "")  # Ryzen, not Genoa
    assert cpu_profile("GenuineIntel", 6, 167, 1, {"avx512f"}) == (None, "")  # Rocket Lake


def test_instructions_tell_a_hidden_processor_and_it_is_said() -> None:
    name, said = cpu_profile("GenuineIntel", 6, 167, 1, {"amx_tile", "avx512_fp16", "sse"})
    assert name == "xeon-sapphire-rapids"
    assert "model 167" in said
