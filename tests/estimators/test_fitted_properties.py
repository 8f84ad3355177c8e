"""What holds whatever a fitted profile says: limits of physics, parts and wholes, arrays and single sizes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_opt.calibrate.profile import text
from energy_opt.estimators.device import Device
from energy_opt.estimators.estimate import Estimate, estimate
from energy_opt.estimators.runtime import HostCost, Runtime
from energy_opt.ir.row import Row
from tests.estimators.random_fits import CAP_W, cases
from tests.estimators.rows import FakeWorkload

Case = tuple[list[Row], Device]
FREE = HostCost(launch_s=0.0, view_s=0.0, overlaps=True)
ROUNDING = 1 + 1e-9


def priced(some: list[Row], device: Device, runtime: str, **dims: Any) -> Estimate:
    return estimate(FakeWorkload(some), device, Runtime.load(runtime), dims)  # type: ignore[arg-type]


@settings(max_examples=120, deadline=None)
@given(
    case=cases(),
    runtime=st.sampled_from(Runtime.names()),
    batch=st.sampled_from((1, 17)),
)
def test_limits_and_sums(case: Case, runtime: str, batch: int) -> None:
    some, device = case
    est = priced(some, device, runtime, batch=batch)
    # Never faster than the datasheet allows, never above the power limit, in any draw.
    assert 0 <= est.bound_s <= est.latency_s * ROUNDING < math.inf
    assert 0 <= est.energy_j <= CAP_W * est.latency_s * ROUNDING
    seconds, joules = est._drawn_totals
    assert np.all(np.isfinite(seconds))
    assert np.all(seconds * ROUNDING >= est.bound_s)
    assert np.all((joules >= 0) & (joules <= CAP_W * seconds * ROUNDING))
    low, high = est.latency_s_interval
    assert est.bound_s <= low * ROUNDING
    assert low <= est.latency_s <= high < math.inf
    low, high = est.energy_j_interval
    assert 0 <= low <= est.energy_j <= high < math.inf
    ops, modules, kinds = est.ops(), est.modules(), est.kinds()
    for name in ("latency_s", "energy_j"):
        whole = pytest.approx(getattr(est, name), rel=1e-9)
        assert sum(op[name] for op in ops) == whole
        assert sum(kind[name] for kind in kinds) == whole
        assert modules[0][name] == whole
    for part in (*ops, *modules, *kinds):
        assert 0 <= part["energy_j"] <= CAP_W * part["latency_s"] * ROUNDING
        for name in ("latency_s", "energy_j"):
            assert part[f"{name}_interval"][0] <= part[name] <= part[f"{name}_interval"][1]
    for name, shares in est.bases().items():
        assert sum(shares.values()) == pytest.approx(float(getattr(est, name) > 0))


@settings(max_examples=50, deadline=None)
@given(case=cases(most=3), runtime=st.sampled_from(Runtime.names()))
def test_an_array_of_sizes_is_as_many_single_ones(case: Case, runtime: str) -> None:
    some, device = case
    sizes = np.array([1, 2, 16, 300])
    many = priced(some, device, runtime, batch=sizes)
    for index, size in enumerate(sizes):
        one = priced(some, device, runtime, batch=int(size))
        for name in ("latency_s", "energy_j", "bound_s"):
            assert getattr(many, name)[index] == pytest.approx(getattr(one, name), rel=1e-9)
        for name in ("latency_s_interval", "energy_j_interval"):
            for end in (0, 1):
                found = getattr(many, name)[end][index]
                assert found == pytest.approx(getattr(one, name)[end], rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(case=cases())
def test_a_profile_reads_back_as_it_was_written(
    case: Case, tmp_path_factory: pytest.TempPathFactory
) -> None:
    some, device = case
    path = tmp_path_factory.mktemp("profile") / "mine.json"
    path.write_text(text(device))
    again = Device.load(path)
    assert again == device
    assert priced(some, again, "eager").energy_j == priced(some, device, "eager").energy_j


@settings(max_examples=30, deadline=None)
@given(case=cases())
def test_what_two_models_share_cancels(case: Case) -> None:
    some, device = case
    device = device.model_copy(update={"host": {"graph": FREE}})
    whole, part, rest = (priced(r, device, "graph") for r in (some, some[:-1], some[-1:]))
    same = whole.minus(whole)
    assert same["latency_s"] == same["energy_j"] == 0
    assert same["latency_s_interval"] == same["energy_j_interval"] == (0, 0)
    # With a graph rows add up: the difference is as unsure as what only one of them holds.
    found, scale = whole.minus(part), 1e-9 * whole.latency_s_interval[1]
    for index, name in enumerate(("latency_s", "energy_j")):
        drawn = rest._drawn_totals[index] + 0
        assert whole._drawn_totals[index] - part._drawn_totals[index] == pytest.approx(
            drawn, rel=1e-6, abs=scale * CAP_W
        )
        assert found[name] == pytest.approx(getattr(rest, name), rel=1e-6, abs=scale * CAP_W)
