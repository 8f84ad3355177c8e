"""Profiles with fits: which fit serves which row, what its prices rest on, and intervals from its draws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from energy_opt.estimators.device import Device
from energy_opt.estimators.estimate import Estimate, estimate
from energy_opt.estimators.fitted import family
from energy_opt.estimators.lookup import serving
from energy_opt.estimators.runtime import Runtime
from energy_opt.ir.row import Row
from tests.estimators.rows import FakeWorkload, gemm, row

ERRORS = {"mape": 0.05, "p90": 0.1, "bias": 0.0, "log_sd": 0.0, "points": 100, "groups": 50}
BASE = Device.load("v100-sxm2-32gb").model_dump(by_alias=True)


def linear(
    kind: str, *, byte_s: float = 0.0, flop_s: float = 0.0, dtype: str = "float32", log_sd: float = 0.0, **more: Any
) -> dict[str, Any]:  # fmt: skip
    at = {"start_s": 1e-5, "flop_s": flop_s, "vector_flop_s": 0.0, "byte_s": byte_s}
    time = {
        "form": "linear", "at": at, "errors": {**ERRORS, "log_sd": log_sd}, "basis": "fitted", "source": "a test",
        "draws": more.pop("draws", {}),
    }  # fmt: skip
    return {"kind": kind, "dtype": dtype, "time": time, **more}


def profile(*fits: dict[str, Any], **more: Any) -> Device:
    free = {"launch_s": 0.0, "view_s": 0.0, "run_s": 0.0, "overlaps": True}
    return Device.model_validate(BASE | {"fits": fits, "host": {"graph": free}} | more)


def priced(rows: list[Row], device: Device, runtime: str = "graph") -> Estimate:
    return estimate(FakeWorkload(rows), device, Runtime.load(runtime), {})  # type: ignore[arg-type]


SLOW = {"flop_s": 1e-12}  # 1 TFLOP/s, a fourteenth of the card's peak


def test_a_fit_prices_its_kind_and_the_priors_the_rest() -> None:
    device = profile(linear("matmul", **SLOW))
    # 2 * 1024^3 FLOPs at 1 TFLOP/s are 2.147 ms, and 10 us to start.
    assert priced([gemm(1, 1024, 1024, 1024)], device).latency_s == pytest.approx(
        2.1575e-3, rel=1e-4
    )
    half = gemm(1, 4096, 4096, 4096, "float16")
    without = profile()
    assert priced([half], device).latency_s == priced([half], without).latency_s
    both = priced([gemm(1, 1024, 1024, 1024), half], device)
    assert {op["dtype"]: op["provenance"] for op in both.ops()} == {
        "float32": "fitted",
        "float16": "datasheet",
    }
    assert sum(both.bases()["latency_s"].values()) == pytest.approx(1)
    # The weakest that matters is what the whole claims to be.
    assert both.to_dict()["device"]["provenance"] == "datasheet"
    assert priced([gemm(1, 1024, 1024, 1024)], device).to_dict()["device"]["provenance"] == "fitted"


def test_no_fit_is_faster_than_the_datasheet() -> None:
    device = profile(linear("matmul", flop_s=1e-30))
    est = priced([gemm(1, 4096, 4096, 4096)], device)
    assert est.latency_s == est.bound_s > 1e-3


@pytest.mark.parametrize(
    ("fits", "op", "expected"),
    [
        ([("elementwise", ""), ("elementwise", "gelu")], "aten::gelu", "gelu"),
        ([("elementwise", ""), ("elementwise", "gelu")], "Gelu", "gelu"),
        ([("elementwise", ""), ("elementwise", "gelu")], "Add", ""),
        ([("elementwise", "gelu")], "Add", None),
        ([("other", "")], "Add", ""),
    ],
)
def test_the_most_specific_fit_serves(
    fits: list[tuple[str, str]], op: str, expected: str | None
) -> None:
    device = profile(*(linear(kind, byte_s=1e-12, op=name) for kind, name in fits))
    found = serving(
        device,
        Row("elementwise", op, "float32", 0, 8, 8, 8, 0, (), 1, True, 1, ()),
        "eager",
        "time",
    )
    assert [f.op for f in found] == ([] if expected is None else [expected])


def test_a_runtime_prefers_its_own_fits() -> None:
    device = profile(
        linear("matmul", flop_s=1e-12, runtime="eager"),
        linear("matmul", flop_s=2e-12, runtime="onnxruntime"),
    )
    work = [gemm(1, 1024, 1024, 1024)]
    eager, other = (
        serving(device, work[0], name, "time")[0].runtime for name in ("eager", "onnxruntime")
    )
    assert (eager, other) == ("eager", "onnxruntime")
    # Nobody timed kernels under graph: another runtime's serve.
    assert len(serving(device, work[0], "graph", "time")) == 1
    notes = priced(work, device).to_dict()["notes"]
    assert any("timed under eager, not under graph" in note for note in notes)
    assert priced(work, device, "eager").borrowed == []


def test_regimes_are_chosen_by_the_sizes_of_each_execution() -> None:
    device = profile(
        linear("attention", byte_s=1e-9, regime="decode"),
        linear("attention", byte_s=2e-9, regime="prefill"),
    )
    step = row("attention", read=1e6, sizes={"b": 8, "q": 1, "kv": 128, "d": 64})
    whole = row("attention", read=1e6, sizes={"b": 8, "q": 128, "kv": 128, "d": 64})
    assert priced([step], device).latency_s == pytest.approx(1e-5 + 1e-3)
    assert priced([whole], device).latency_s == pytest.approx(1e-5 + 2e-3)


def test_draws_of_a_fit_carry_their_correlation() -> None:
    """Compute and memory that err together leave their ratio sure."""
    factors = np.exp(np.linspace(-0.3, 0.3, 64))
    draws = {"flop_s": list(1e-12 * factors), "byte_s": list(1e-9 * factors), "start_s": [0.0] * 64}
    fit = linear("matmul", flop_s=1e-12, byte_s=1e-9, draws=draws)
    fit["time"]["basis"] = "measured"
    est = priced([gemm(1, 4096, 4096, 4096)], profile(fit))
    low, high = est.latency_s_interval
    # 90 % of draws even in the logarithm over 0.6 span 0.54; a board's own drift adds a little.
    assert math.log(high / low) == pytest.approx(0.54, abs=0.03)


def test_rows_outside_the_box_are_less_sure_and_said_to_be() -> None:
    box = {"flops": (1e6, 1e9)}
    inside, outside = gemm(1, 512, 512, 512), gemm(1, 8192, 8192, 8192)
    device = profile(linear("matmul", **SLOW, log_sd=0.05, box=box))
    first, second = priced([inside], device), priced([outside], device)
    assert (first.extrapolated, second.extrapolated) == (0, 1)
    width = [math.log(e.latency_s_interval[1] / e.latency_s_interval[0]) for e in (first, second)]
    assert width[1] > 2 * width[0]
    assert any("beyond" in note for note in second.to_dict()["notes"])


def test_a_fitted_energy_needs_no_fitted_time() -> None:
    energy = {
        "at": {"base_w": 40.0, "cap_w": 300.0, "flop_j": 1e-11, "vector_flop_j": 0.0, "byte_j": 0.0, "start_j": 0.0},
        "errors": ERRORS, "basis": "measured", "source": "a test",
    }  # fmt: skip
    fit = {"kind": "matmul", "dtype": "float32", "energy": energy}
    est = priced([gemm(1, 1024, 1024, 1024)], profile(fit))
    joules = 40 * est.latency_s + 2 * 1024**3 * 1e-11
    assert est.energy_j == pytest.approx(joules)
    assert est.ops()[0]["energy_provenance"] == "measured"
    # Its own cap holds.
    energy["at"]["flop_j"] = 1e-9  # type: ignore[index]
    assert priced([gemm(1, 1024, 1024, 1024)], profile(fit)).power_w == pytest.approx(300)


def test_a_measured_host_replaces_the_runtimes_own() -> None:
    host = {"eager": {"launch_s": 1e-3, "view_s": 0.0, "run_s": 0.0, "overlaps": False}}
    est = priced([gemm(1, 8, 8, 8)] * 3, profile(host=host), "eager")
    assert est.latency_s == pytest.approx(3e-3, rel=0.05)


@pytest.mark.parametrize(
    ("op", "name"), [("aten::gelu_", "gelu"), ("Gelu", "gelu"), ("layer_norm", "layernorm")]
)
def test_operators_of_both_vocabularies_meet(op: str, name: str) -> None:
    assert family(op) == name
