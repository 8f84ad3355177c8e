from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_opt.errors import DimError, UsageError
from energy_opt.estimators.device import Device
from energy_opt.estimators.estimate import Estimate, estimate
from energy_opt.estimators.runtime import Runtime
from energy_opt.ir.row import Row
from tests.estimators.rows import BATCH, FakeWorkload, gemm, row

KINDS = ("matmul", "conv", "attention", "softmax", "norm", "elementwise", "gather", "pool", "other")
DTYPES = ("float32", "float16", "bfloat16", "int8", "float8e4m3fn", "float64", "int64", "bool")
PATHS = ("", "a", "a.b", "a.b.c", "d.e")


def _estimate(
    rows: list[Row], device: str | Device = "t4", runtime: str = "eager", **dims: Any
) -> Estimate:
    loaded = device if isinstance(device, Device) else Device.load(device)
    return estimate(FakeWorkload(rows), loaded, Runtime.load(runtime), dims)  # type: ignore[arg-type]


TRANSFORMER = [
    gemm(1, 128 * BATCH, 768, 768, paths=("a.q", "a.k", "a.v")),
    gemm(1, 128 * BATCH, 3072, 768, paths=("f.up",)),
    row(
        "softmax",
        other=5_000_000 * BATCH,
        read=1_000_000 * BATCH,
        written=1_000_000 * BATCH,
        paths=("a",),
    ),
    row("view", kernels=0, paths=("a", "a")),
    row(
        "norm",
        other=800_000 * BATCH,
        read=400_000 * BATCH,
        written=400_000 * BATCH,
        paths=("", "f"),
    ),
]


@st.composite
def rows(draw: st.DrawFn) -> Row:
    quantity = st.integers(0, 10**13)
    paths = tuple(draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=4)))
    kind, dtype = draw(st.sampled_from(KINDS)), draw(st.sampled_from(DTYPES))
    if kind == "matmul":
        size = st.integers(1, 10**4)
        return gemm(
            draw(st.integers(1, 64)), draw(size), draw(size), draw(size), dtype, paths=paths
        )
    return row(
        kind,
        dtype=dtype,
        flops=draw(quantity) if kind in ("conv", "attention") else 0,
        other=draw(st.integers(0, 10**11)),
        read=draw(st.integers(0, 10**10)),
        written=draw(st.integers(0, 10**10)),
        kernels=draw(st.integers(0, 3)),
        times=draw(st.integers(1, 5)),
        paths=paths,
    )


@settings(max_examples=60, deadline=None)
@given(
    some=st.lists(rows(), min_size=1, max_size=5),
    device=st.sampled_from(Device.names()),
    runtime=st.sampled_from(Runtime.names()),
)
def test_properties_that_always_hold(some: list[Row], device: str, runtime: str) -> None:
    est = _estimate(some, device, runtime)
    profile = est.device
    # never below the datasheet's bound, never above the power limit
    bound = sum(
        r.count
        * max(
            r.matmul_flops / profile.peak(r.dtype),
            (r.bytes_read + r.bytes_written) / profile.mem_bw_bytes_per_s,
        )
        for r in some
    )
    assert est.latency_s >= bound * (1 - 1e-9)
    assert est.energy_j <= profile.tdp_w * est.latency_s * (1 + 1e-9)
    # intervals hold their value and respect the bound
    low, high = est.latency_s_interval
    assert bound * (1 - 1e-9) <= low <= est.latency_s <= high < math.inf
    low, high = est.energy_j_interval
    assert 0 <= low <= est.energy_j <= high < math.inf
    # parts sum to the whole, and no part is below zero or above the limit
    ops, modules, kinds = est.ops(), est.modules(), est.kinds()
    for name in ("latency_s", "energy_j", "matmul_flops", "bytes_read", "bytes_written"):
        whole = getattr(est, name)
        assert sum(op[name] for op in ops) == pytest.approx(whole, rel=1e-9)
        assert sum(kind[name] for kind in kinds) == pytest.approx(whole, rel=1e-9)
        assert modules[0][name] == pytest.approx(whole, rel=1e-9)
    for part in (*ops, *modules, *kinds):
        assert part["latency_s"] >= 0
        assert 0 <= part["energy_j"] <= profile.tdp_w * part["latency_s"] * (1 + 1e-9)
        assert part["latency_s_interval"][0] <= part["latency_s"] <= part["latency_s_interval"][1]
        assert part["energy_j_interval"][0] <= part["energy_j"] <= part["energy_j_interval"][1]


@settings(max_examples=30, deadline=None)
@given(device=st.sampled_from(Device.names()), runtime=st.sampled_from(Runtime.names()))
def test_arrays_equal_scalars(device: str, runtime: str) -> None:
    sizes = np.array([1, 3, 40, 512])
    many = _estimate(TRANSFORMER, device, runtime, batch=sizes)
    for index, size in enumerate(sizes):
        one = _estimate(TRANSFORMER, device, runtime, batch=int(size))
        for name in ("latency_s", "energy_j", "power_w", "macs", "bytes_read", "bound_s"):
            assert getattr(many, name)[index] == pytest.approx(getattr(one, name), rel=1e-12)
        for name in ("latency_s_interval", "energy_j_interval"):
            for end in (0, 1):
                assert getattr(many, name)[end][index] == pytest.approx(
                    getattr(one, name)[end], rel=1e-9
                )


@settings(max_examples=40, deadline=None)
@given(
    device=st.sampled_from(Device.names()),
    runtime=st.sampled_from(Runtime.names()),
    small=st.integers(1, 500),
    more=st.integers(1, 500),
)
def test_more_work_never_costs_less(device: str, runtime: str, small: int, more: int) -> None:
    less = _estimate(TRANSFORMER, device, runtime, batch=small)
    greater = _estimate(TRANSFORMER, device, runtime, batch=small + more)
    assert greater.latency_s >= less.latency_s * (1 - 1e-12)
    assert greater.energy_j >= less.energy_j * (1 - 1e-12)


def test_running_everything_twice_costs_twice() -> None:
    # Eager on a GPU: both the device's time and the host's double.
    once = _estimate([gemm(1, 512, 512, 512, paths=("a",)), row("view", kernels=0)])
    twice = _estimate([gemm(1, 512, 512, 512, paths=("a", "b")), row("view", kernels=0, times=2)])
    assert twice.latency_s == pytest.approx(2 * once.latency_s)
    assert twice.energy_j == pytest.approx(2 * once.energy_j)


def test_many_tiny_ops_wait_for_the_host_and_say_so() -> None:
    tiny = row("elementwise", read=4, written=4, paths=("a",) * 1000)
    est = _estimate([tiny], "h100-sxm")
    # 1000 launches of 6 us each; the host runs ahead of the device, whose own time is less
    assert est.latency_s == pytest.approx(6e-3)
    assert {op["bound"] for op in est.ops()} == {"launch"}
    captured = _estimate([tiny], "h100-sxm", "graph")
    assert captured.latency_s < 0.6 * est.latency_s


def test_what_bounds_an_op() -> None:
    est = _estimate(
        [gemm(1, 4096, 4096, 4096), row("copy", read=4e9, written=4e9, op="Copy")], "a100-sxm4-40gb"
    )
    assert {op["op"]: op["bound"] for op in est.ops()} == {"MatMul": "compute", "Copy": "memory"}


def test_a_module_holds_its_children() -> None:
    est = _estimate(TRANSFORMER, batch=2)
    modules = {m["path"]: m for m in est.modules()}
    assert list(modules) == ["", "a", "a.q", "a.k", "a.v", "f", "f.up"]
    assert modules["a"]["ops"] == 6  # q, k, v, softmax, two views
    assert modules["a"]["macs"] == 3 * modules["a.q"]["macs"] == 3 * 256 * 768 * 768
    assert modules["f"]["energy_j"] > modules["f.up"]["energy_j"]
    assert [m["depth"] for m in est.modules()] == [0, 1, 2, 2, 2, 1, 2]


def test_json_has_what_was_promised_and_is_plain() -> None:
    est = _estimate(TRANSFORMER, "h100-pcie", "onnxruntime", batch=8)
    data = json.loads(json.dumps(est.to_dict(), allow_nan=False))
    assert data["schema"] == "energy-opt/analysis/1"
    assert data["device"]["boundary"] == "board"
    assert data["dims"] == {"batch": 8}
    assert data["interval_level"] == 0.9
    assert data["coverage"] == {
        "ops": 9,
        "modelled": 9,
        "unmodelled": {},
        "rests_on": {"latency_s": {"datasheet": 1.0}, "energy_j": {"modelled": 1.0}},
        "extrapolated": 0.0,
    }
    assert isinstance(data["totals"]["macs"], int)
    totals = (
        "macs matmul_flops other_flops bytes_read bytes_written parameters weight_bytes latency_s latency_s_interval "
        "energy_j energy_j_interval power_w"
    ).split()
    for part in (data["totals"], *data["modules"], *data["ops"]):
        assert set(totals) <= set(part)
    assert [o["energy_j"] for o in data["ops"]] == sorted(
        (o["energy_j"] for o in data["ops"]), reverse=True
    )


def test_a_frame_per_level() -> None:
    est = _estimate(TRANSFORMER, batch=2)
    assert len(est.to_frame()) == 9
    assert est.to_frame("module").set_index("path").loc["", "energy_j"] == pytest.approx(
        est.energy_j
    )
    assert est.to_frame("kind")["energy_j"].sum() == pytest.approx(est.energy_j)
    with pytest.raises(UsageError, match="op, module, kind"):
        est.to_frame("layer")


def test_parts_of_arrays_are_refused_with_the_dims_name() -> None:
    est = _estimate(TRANSFORMER, batch=np.arange(1, 4))
    for method in (est.ops, est.modules, est.kinds, est.to_dict):
        with pytest.raises(DimError, match="batch"):
            method()


def test_arrays_that_do_not_broadcast_are_refused() -> None:
    with pytest.raises(DimError, match="broadcast"):
        _estimate(TRANSFORMER, batch=np.ones(3), seq=np.ones(4))


def test_a_grid_keeps_its_shape_and_no_points_are_no_error() -> None:
    grid = _estimate(TRANSFORMER, batch=np.arange(1, 7).reshape(2, 3))
    assert grid.energy_j.shape == grid.latency_s_interval[0].shape == (2, 3)
    assert _estimate(TRANSFORMER, batch=np.array([], dtype=int)).energy_j.shape == (0,)


def test_the_same_model_minus_itself_is_surely_nothing() -> None:
    first, second = _estimate(TRANSFORMER, batch=4), _estimate(TRANSFORMER, batch=4)
    assert first.minus(second)["energy_j_interval"] == (0.0, 0.0)
    other = first.minus(_estimate(TRANSFORMER, "h100-sxm", batch=4))
    assert other["latency_s"] > 0
    assert other["latency_s_interval"][0] < other["latency_s"] < other["latency_s_interval"][1]


def test_a_difference_on_one_device_is_surer_than_its_terms() -> None:
    whole, part = _estimate(TRANSFORMER, batch=64), _estimate(TRANSFORMER[:-1], batch=64)
    low, high = whole.minus(part)["latency_s_interval"]
    terms = whole.latency_s_interval[1] - whole.latency_s_interval[0]
    assert low > 0
    assert high - low < 0.5 * terms


def test_an_empty_workload_costs_nothing() -> None:
    est = _estimate([])
    assert est.latency_s == est.energy_j == est.power_w == 0
    assert est.modules()[0]["energy_j"] == 0
    assert est.ops() == est.kinds() == []
    json.dumps(est.to_dict(), allow_nan=False)


def test_notes_say_what_a_reader_must_know() -> None:
    est = _estimate([gemm(1, 64, 64, 64, "bfloat16")], "t4")
    assert any("bfloat16" in note and "float32" in note for note in est.notes)
    assert any("no energy measurement" in note for note in est.notes)


def test_a_runtime_refuses_a_vocabulary_it_cannot_run() -> None:
    with pytest.raises(UsageError, match="aten"):
        estimate(
            FakeWorkload([], vocabulary="aten"),  # type: ignore[arg-type]
            Device.load("t4"),
            Runtime.load("onnxruntime"),
            {},
        )


@pytest.mark.parametrize("region", ["world", "Germany", "de", "United States"])
def test_a_footprint_is_kwh_times_grid(region: str) -> None:
    est = _estimate(TRANSFORMER, batch=4)
    print_ = est.footprint(region, requests=1e6, pue=1.2)
    assert print_["energy_kwh"] == pytest.approx(est.energy_j * 1.2 / 3.6)  # 1e6 J are 1/3.6 kWh
    assert print_["co2e_g"] == pytest.approx(print_["energy_kwh"] * print_["grid_g_per_kwh"])
    assert (
        print_["energy_kwh_interval"][0] <= print_["energy_kwh"] <= print_["energy_kwh_interval"][1]
    )
    assert print_["sources"]


@pytest.mark.parametrize(
    "arguments", [("atlantis",), ("world", -1), ("world", math.nan), ("world", 1, 0.5)]
)
def test_a_footprint_refuses_nonsense(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(UsageError):
        _estimate(TRANSFORMER).footprint(*arguments)
