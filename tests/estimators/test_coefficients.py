from __future__ import annotations

from typing import Any

import pytest

from energy_opt.estimators.device import Device
from energy_opt.estimators.estimate import estimate
from energy_opt.estimators.prior import Facts, priors
from energy_opt.estimators.runtime import Runtime
from tests.estimators.rows import FakeWorkload, gemm


def _facts(**changes: Any) -> Facts:
    values: dict[str, Any] = {
        "arch": "Unheard of",
        "peaks": {"float32": 1e12, "float16": 4e12},
        "vector_flops_per_s": 1e12,
        "mem_bw_bytes_per_s": 1e11,
        "tdp_w": 100.0,
        "idle_w": 5.0,
    }
    return Facts(**{**values, **changes})


@pytest.mark.parametrize("kind", ["gpu", "cpu"])
def test_an_unknown_generation_gets_energies_from_its_power_limit(kind: str) -> None:
    prior = priors(kind)
    model = prior.energy_for(_facts())
    # Arithmetic at the peak draws its fraction of 100 W, whatever the type.
    assert model.flop_j["float32"] * 1e12 == pytest.approx(100 * prior.energy.flop)
    assert model.flop_j["float16"] * 4e12 == pytest.approx(100 * prior.energy.flop)
    assert model.byte_j * 1e11 == pytest.approx(100 * prior.energy.byte)
    assert model.base_w == pytest.approx(100 * prior.energy.base)


def test_a_device_that_idles_higher_than_the_prior_keeps_its_own_base() -> None:
    assert priors("gpu").energy_for(_facts(idle_w=40.0)).base_w == 40.0


def test_narrow_types_cost_less_per_flop_but_not_in_proportion() -> None:
    energy = Device.load("h100-sxm").coefficients().energy.flop_j
    assert energy["float8"] < energy["float16"] < energy["float32"]
    # Blackwell's readings: 8 bits save 35-40 % per FLOP, not half.
    assert 0.5 < energy["float8"] / energy["float16"] < 0.7


def test_packed_half_precision_without_a_matrix_engine_costs_in_proportion() -> None:
    # P100: 18.7 against 9.3 TFLOP/s on the same units
    energy = Device.load("p100-pcie-16gb").coefficients().energy.flop_j
    assert energy["float16"] == pytest.approx(energy["float32"] * 9.3 / 18.7)


def test_a_board_with_little_power_does_not_reach_its_peak() -> None:
    """T4 has V100's process and more than half of its peak at a quarter of its power: it runs at its limit."""
    shares, powers = {}, {}
    for name in ("t4", "v100-pcie-32gb"):
        device = Device.load(name).model_copy(update={"fits": ()})
        work = FakeWorkload([gemm(1, 8192, 8192, 8192)])
        est = estimate(work, device, Runtime.load("graph"), {})  # type: ignore[arg-type]
        shares[name] = 2 * 8192**3 / est.latency_s / device.peak("float32")
        powers[name] = est.power_w / device.tdp_w
    assert powers["t4"] == pytest.approx(1.0, abs=0.01)
    assert powers["v100-pcie-32gb"] < 0.95
    assert shares["t4"] < 0.7 * shares["v100-pcie-32gb"]
