from __future__ import annotations

from pathlib import Path

import pytest

from energy_opt.errors import DeviceError, UsageError
from energy_opt.measure.runners import target
from energy_opt.measure.runners.target import Target
from energy_opt.studies.detect import profile_of

CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8488C
stepping\t: 8
flags\t\t: fpu amx_tile avx512_fp16

processor\t: 1
model\t\t: 7
"""


def test_the_first_processor_of_a_host_is_read(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    (tmp_path / "meminfo").write_text(
        "MemTotal:       16 kB\nMemAvailable:    8 kB\nHugePages_Total:   0\n"
    )
    found = target._cpu(tmp_path)
    assert (found.vendor, found.family, found.model, found.stepping) == ("GenuineIntel", 6, 143, 8)
    assert found.label == "Intel(R) Xeon(R) Platinum 8488C"
    assert (found.total_bytes, found.free_bytes) == (16 * 1024, 8 * 1024)
    assert "amx_tile" in found.features


def test_a_host_without_such_files_is_still_a_cpu(tmp_path: Path) -> None:
    found = target._cpu(tmp_path)
    assert (found.name, found.free_bytes, found.model) == ("cpu", None, None)


def test_others_that_run_are_counted_without_ourselves(tmp_path: Path) -> None:
    host = Target("cpu", "cpu", "?")
    assert host.running_others(tmp_path) == 0
    (tmp_path / "loadavg").write_text("5.00 4.00 3.00 1/300 4242")  # what was, is over
    assert host.running_others(tmp_path) == 0
    (tmp_path / "loadavg").write_text("0.10 0.10 0.10 3/300 4242")
    assert host.running_others(tmp_path) == 2


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cuda:-1", ""])
def test_what_is_no_target_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"cpu and cuda:N"):
        target.find(name)


def test_a_gpu_that_is_not_there_is_refused_with_the_reason() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    with pytest.raises(UsageError, match=r"target cuda:0: .*--target cpu"):
        target.find("gpu")


def cpu(vendor: str, family: int, model: int, stepping: int = 0, *features: str) -> Target:
    return Target(
        "cpu", "cpu", "?", 2, None, None, family, model, stepping, vendor, frozenset(features)
    )


# Families and models as in the vendors' documents; Cascade Lake is Skylake's model from stepping 5 on.
@pytest.mark.parametrize(
    ("given", "name"),
    [
        (cpu("GenuineIntel", 6, 143), "xeon-sapphire-rapids@2"),
        (cpu("GenuineIntel", 6, 85, 4), "xeon-skylake@2"),
        (cpu("GenuineIntel", 6, 85, 7), "xeon-cascade-lake@2"),
        (cpu("AuthenticAMD", 25, 1), "epyc-milan@2"),
        (cpu("arm", 8, 0xD40), "graviton3@2"),
        (Target("cuda:0", "gpu", "Tesla T4"), "t4"),
        (Target("cuda:0", "gpu", "NVIDIA A100-SXM4-40GB"), "a100-sxm4-40gb"),
        (Target("cuda:0", "gpu", "NVIDIA H100 80GB HBM3"), "h100-sxm"),
        (Target("cuda:0", "gpu", "NVIDIA H200"), "h200-sxm"),
        (Target("cuda:0", "gpu", "NVIDIA L40S"), "l40s"),
        (Target("cuda:0", "gpu", "NVIDIA GeForce RTX 4090"), "rtx-4090"),
        (Target("cuda:0", "gpu", "Tesla V100-SXM2-32GB"), "v100-sxm2-32gb"),
    ],
)
def test_a_machine_is_known_by_what_it_calls_itself(given: Target, name: str) -> None:
    device, said = profile_of(given)
    assert (device.name, said) == (name, "")


def test_a_hidden_processor_is_told_by_its_instructions_which_is_said() -> None:
    device, said = profile_of(cpu("GenuineIntel", 6, 167, 1, "amx_tile", "avx512_fp16"))
    assert device.name == "xeon-sapphire-rapids@2"
    assert "or later" in said


@pytest.mark.parametrize(
    "given", [Target("cuda:0", "gpu", "NVIDIA T400"), cpu("GenuineIntel", 6, 1)]
)
def test_a_machine_without_a_profile_is_not_taken_for_another(given: Target) -> None:
    with pytest.raises(DeviceError, match="--device NAME"):
        profile_of(given)
