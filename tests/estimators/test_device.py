from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from energy_opt.errors import DeviceError
from energy_opt.estimators.device import Device

MINIMAL: dict[str, Any] = {
    "schema": "energy-opt/device/1",
    "name": "mine",
    "label": "Mine",
    "kind": "gpu",
    "units": 10,
    "peaks": {"float32": 1e12, "float16": 4e12},
    "vector_flops_per_s": 1e12,
    "mem_bw_bytes_per_s": 1e11,
    "tdp_w": 100.0,
}


@pytest.mark.parametrize("name", Device.names())
def test_every_shipped_profile_is_valid_and_says_where_it_is_from(name: str) -> None:
    device = Device.load(name)
    assert device.name == name
    assert device.sources
    assert device.peaks["float32"] <= max(device.peaks.values())
    model = device.coefficients().energy
    assert 0 < model.base_w < model.cap_w <= device.tdp_w
    assert device.provenance.energy in ("modelled", "fitted", "datasheet")


def test_the_promised_devices_ship() -> None:
    promised = (
        "t4 v100-sxm2-32gb v100-pcie-32gb p100-pcie-16gb a100-sxm4-40gb a100-sxm4-80gb a100-pcie-40gb a100-pcie-80gb "
        "a10 a40 l4 l40s rtx-4090 h100-sxm h100-pcie h200-sxm h200-nvl b200-sxm gb200 xeon-skylake xeon-cascade-lake "
        "xeon-ice-lake xeon-sapphire-rapids xeon-emerald-rapids xeon-granite-rapids epyc-rome epyc-milan epyc-genoa "
        "epyc-turin"
    )
    assert set(promised.split()) <= set(Device.names())


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("t4", "t4"),
        ("T4", "t4"),
        (" Tesla T4 ", "t4"),
        ("p100", "p100-pcie-16gb"),  # the one there is
        ("rtx4090", "rtx-4090"),
        ("NVIDIA H200 SXM", "h200-sxm"),
        ("a100-sxm4-40gbb", "a100-sxm4-40gb"),  # a slip
        ("sapphire", None),
    ],
)
def test_a_unique_prefix_or_a_near_miss_is_understood(given: str, name: str | None) -> None:
    if name is None:
        with pytest.raises(DeviceError, match="not known"):
            Device.load(given)
    else:
        assert Device.load(given).name == name


def test_another_number_is_another_part() -> None:
    with pytest.raises(DeviceError, match=r"did you mean .*h200-sxm"):
        Device.load("h20-sxm")


def test_an_ambiguous_name_lists_its_candidates() -> None:
    with pytest.raises(DeviceError, match=r"h100-pcie, h100-sxm"):
        Device.load("h100")


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(DeviceError, match=r"did you mean .*xeon-sapphire-rapids"):
        Device.load("saphire-rapids")


@pytest.mark.parametrize(
    "given", ["kernels.csv", "models/folder", "here.samples.jsonl", "V100.yaml"]
)
def test_a_file_that_is_no_profile_is_not_taken_for_a_name(given: str) -> None:
    with pytest.raises(DeviceError, match=r"not a profile: .*FILE\.json"):
        Device.load(given)


@pytest.mark.parametrize(
    "given",
    ["", "@8", "t4@", "t4@x", "t4@8", "xeon-ice-lake@0", "xeon-ice-lake@9999999", "../../x"],
)
def test_nonsense_is_a_device_error(given: str) -> None:
    with pytest.raises(DeviceError):
        Device.load(given)


def test_a_cpu_scales_with_its_vcpus_up_to_the_sockets_bandwidth() -> None:
    small, large = Device.load("xeon-sapphire-rapids@4"), Device.load("xeon-sapphire-rapids@96")
    assert small.name == "xeon-sapphire-rapids@4"
    # 24 times the vCPUs: 24 times the arithmetic and the power limit
    assert large.peaks["float32"] == pytest.approx(24 * small.peaks["float32"])
    assert large.tdp_w == pytest.approx(24 * small.tdp_w)
    assert large.mem_bw_bytes_per_s == 307e9  # 8 channels of DDR5-4800


def test_datasheet_facts_are_a_whole_profile(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINIMAL))
    device = Device.load(str(path))
    assert device.coefficients().energy.cap_w == 100.0
    assert device.to_dict()["provenance"] == "datasheet"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tdp_w": -1}, "tdp_w"),
        ({"tdp_w": "NaN"}, "tdp_w"),
        ({"peaks": {"float32": 0}}, "peaks.float32"),
        ({"peaks": {"float16": 1e12}}, "peaks"),
        ({"peaks": {"float32": 1e12, "fp16": 1e12}}, "peaks.fp16"),
        ({"units": 0}, "units"),
        ({"name": "My GPU"}, "name"),
        ({"kind": "tpu"}, "kind"),
        ({"schema": "energy-opt/device/2"}, "schema"),
        ({"mem_bw_bytes_per_s": float("inf")}, "mem_bw_bytes_per_s"),
        ({"bandwidth": 3}, "bandwidth"),
        ({"idle_w": 100}, "idle_w"),
        ({"time": {"norm": 3}}, "time.norm"),
        ({"fits": [{"kind": "matmul", "dtype": "float32"}]}, "neither time nor energy"),
        ({"host": {"eager": {"launch_s": -1}}}, "host.eager.launch_s"),
    ],
)
def test_an_invalid_profile_names_the_field(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**MINIMAL, **change}))
    with pytest.raises(DeviceError, match=r"mine\.json") as caught:
        Device.load(path)
    assert field in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "[" * 100_000, '{"name": 1}'])
def test_a_file_that_is_no_profile_is_a_device_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(DeviceError, match=r"bad\.json"):
        Device.load(path)


def test_a_missing_file_and_a_directory_are_device_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(DeviceError):
            Device.load(Path(path))


@pytest.mark.parametrize(
    ("device", "dtype", "instead"),
    [
        ("t4", "float32", "float32"),
        ("t4", "bfloat16", "float32"),  # Turing has no bfloat16
        ("t4", "float8", "float16"),
        ("a100-sxm4-40gb", "float8e4m3fn", "float16"),
        ("h100-sxm", "float8e4m3fn", "float8"),
        ("a100-sxm4-40gb", "uint8", "int8"),
        ("a100-sxm4-40gb", "int4", "int8"),
        ("xeon-skylake", "int8", "float32"),  # no VNNI
        ("t4", "bool", "float32"),
    ],
)
def test_a_type_without_a_peak_runs_in_the_next_wider_one(
    device: str, dtype: str, instead: str
) -> None:
    assert Device.load(device).arithmetic(dtype) == instead
