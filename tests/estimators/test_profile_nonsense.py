"""A fitted profile edited into nonsense is refused, with the reason in one sentence."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from energy_opt.calibrate.from_table import from_table
from energy_opt.calibrate.profile import text
from energy_opt.errors import DeviceError
from energy_opt.estimators.device import Device

Edit = Callable[[Any], object]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A profile with fitted times and energies, as a calibration writes it."""
    random = np.random.default_rng(0)
    rows = ["kind,op,dtype,latency_s,power_w,m,n,k"]
    for _ in range(60):
        m, n, k = (int(2 ** random.uniform(6, 12)) for _ in range(3))
        seconds = 5e-6 + 2 * m * n * k / 10e12 + 4 * (m * n + n * k + m * k) / 700e9
        watts = min(250.0, 60 + 1e-11 * 2 * m * n * k / seconds)
        rows.append(
            f"matmul,linear,float32,{seconds * random.lognormal(0, 0.03)},{watts},{m},{n},{k}"
        )
    path = tmp_path_factory.mktemp("table") / "kernels.csv"
    path.write_text("\n".join(rows))
    return text(from_table(path, "v100-sxm2-32gb", draws=8).device)


def load(path: Path, content: str) -> Device:
    path.write_text(content)
    return Device.load(path)


def at(*keys: Any) -> Callable[[Any], Edit]:
    """An edit that sets what lies at those keys, `...` for the first there is, to a value."""

    def to(value: Any) -> Edit:
        def edit(profile: Any) -> None:
            for key in keys[:-1]:
                profile = profile[next(iter(profile)) if key is ... else key]
            profile[next(iter(profile)) if keys[-1] is ... else keys[-1]] = value

        return edit

    return to


def without(*keys: Any) -> Edit:
    """An edit that takes away what lies at those keys."""

    def edit(profile: Any) -> None:
        for key in keys[:-1]:
            profile = profile[next(iter(profile)) if key is ... else key]
        del profile[next(iter(profile)) if keys[-1] is ... else keys[-1]]

    return edit


TIME, ENERGY = ("fits", 0, "time"), ("fits", 0, "energy")
# What is done to the profile, and what the sentence must name.
NONSENSE: dict[str, tuple[Edit, list[str]]] = {
    "a negative coefficient": (at(*TIME, "at", "start_s")(-1e-6), ["fits.0.time.at.start_s", "-1e-06"]),
    "a negative energy": (at(*ENERGY, "at", "flop_j")(-1e-12), ["fits.0.energy.at.flop_j", "-1e-12"]),
    "a coefficient that is missing": (without(*TIME, "at", "start_s"), ["start_s is missing"]),
    "a coefficient that no form has": (at(*TIME, "at", "warp_s")(1.0), ["warp_s"]),
    "a coefficient without its unit in the name": (
        lambda p: p["fits"][0]["energy"]["at"].update(base=p["fits"][0]["energy"]["at"].pop("base_w")), ["base"],
    ),
    "a unit in the value": (at(*TIME, "at", "start_s")("5 us"), ["start_s", "'5 us'"]),
    "NaN": (at(*TIME, "at", "start_s")(math.nan), ["start_s", "finite"]),
    "infinity": (at(*ENERGY, "at", "base_w")(math.inf), ["base_w", "finite"]),
    "no number": (at(*TIME, "at", "start_s")([1.0]), ["start_s"]),
    "null": (at(*TIME, "at", "start_s")(None), ["start_s"]),
    "a coefficient out of all bounds": (at(*ENERGY, "at", "flop_j")(5.0), ["flop_j", "5"]),
    "draws of unequal length": (at(*TIME, "draws", "start_s")([1e-6, 2e-6]), ["draws"]),
    "a negative draw": (at(*TIME, "draws", "start_s")([-1e-6] * 8), ["draws", "start_s"]),
    "draws of nothing": (at(*TIME, "draws", "warp_s")([1.0] * 8), ["warp_s"]),
    "a base above the cap": (at(*ENERGY, "at", "base_w")(900.0), ["base_w", "900", "cap_w"]),
    "a form that there is not": (at(*TIME, "form")("crystal-ball"), ["crystal-ball", "roofline"]),
    "no errors": (without(*TIME, "errors"), ["fits.0.time.errors"]),
    "a negative error": (at(*TIME, "errors", "mape")(-0.1), ["mape", "-0.1"]),
    "an error without points": (at(*TIME, "errors", "points")(0), ["points", "0"]),
    "no source": (without(*TIME, "source"), ["fits.0.time.source"]),
    "a provenance that there is not": (at(*TIME, "basis")("guessed"), ["basis", "'guessed'", "measured"]),
    "a fit of nothing": (lambda p: (p["fits"][0].pop("time"), p["fits"][0].pop("energy")), ["fits.0", "neither"]),
    "a fit without a kind": (without("fits", 0, "kind"), ["fits.0.kind"]),
    "the same fit twice": (lambda p: p["fits"].append(p["fits"][0]), ["matmul/float32", "more than once"]),
    "fits that are no list": (at("fits")("none"), ["fits"]),
    "a box upside down": (at("fits", 0, "box", "flops")([5.0, 1.0]), ["box", "flops"]),
    "a misspelt field": (at("fits", 0, "boxes")({}), ["boxes"]),
    "another schema": (at("schema")("energy-opt/device/9"), ["schema", "energy-opt/device/9", "energy-opt/device/1"]),
    "a quantity in another unit": (
        lambda p: p.update(mem_bw_gb_per_s=p.pop("mem_bw_bytes_per_s") / 1e9), ["mem_bw_bytes_per_s"],
    ),
    "no power cap": (without("tdp_w"), ["tdp_w"]),
    "a peak of nothing": (at("peaks", "float32")(0), ["peaks.float32"]),
    "a host that gains time": (
        at("host")({"eager": {"launch_s": -1e-6, "view_s": 0, "overlaps": True}}), ["launch_s"],
    ),
    "points that are no number": (at("calibration", "points")("many"), ["calibration.points", "'many'"]),
}  # fmt: skip


def test_the_profile_itself_is_fine(fitted: str, tmp_path: Path) -> None:
    device = load(tmp_path / "fine.json", fitted)
    assert device.fits[0].time is not None
    assert device.fits[0].energy is not None
    assert text(device) == fitted


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused_with_the_reason(fitted: str, tmp_path: Path, name: str) -> None:
    edit, named = NONSENSE[name]
    profile = json.loads(fitted)
    before = copy.deepcopy(profile)
    edit(profile)
    assert json.dumps(profile) != json.dumps(before)
    _refused(tmp_path / "edited.json", json.dumps(profile), named)


def test_a_fraction_over_one_is_refused(fitted: str, tmp_path: Path) -> None:
    profile = json.loads(fitted)
    profile["fits"][0]["time"] |= {
        "form": "roofline",
        "at": {"start_s": 1e-6, "compute": 0.7, "vector": 0.3, "memory": 1.2, "norm": 4.0},
        "draws": {},
    }
    _refused(tmp_path / "edited.json", json.dumps(profile), ["memory", "1.2"])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(fitted: str, tmp_path: Path, share: float) -> None:
    _refused(tmp_path / "cut.json", fitted[: int(share * len(fitted))], ["not JSON"])


@pytest.mark.parametrize("content", ["[]", "3", "null", '"t4"', "{}"])
def test_json_that_is_no_profile_is_refused(tmp_path: Path, content: str) -> None:
    _refused(tmp_path / "other.json", content, ["not a valid device profile"])


def test_a_directory_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder.json"
    folder.mkdir()
    with pytest.raises(DeviceError, match=r"folder\.json"):
        Device.load(folder)
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(10**9)  # holes: no disk is filled
    with pytest.raises(DeviceError, match="too large"):
        Device.load(huge)


def _refused(path: Path, content: str, named: list[str]) -> None:
    with pytest.raises(DeviceError) as caught:
        load(path, content)
    said = str(caught.value)
    assert path.name in said
    for part in named:
        assert part in said
    assert "\n" not in said
    assert len(said) < 400 + len(str(path))
