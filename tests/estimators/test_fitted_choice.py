"""Which rows a fit must not serve, and what is said of what serves them instead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from energy_opt.errors import DeviceError
from energy_opt.estimators.device import Device
from energy_opt.estimators.forms import FORMS
from energy_opt.estimators.forms.attention import performed
from energy_opt.estimators.forms.roofline import p_norm
from energy_opt.estimators.lookup import serving
from energy_opt.estimators.work import WorkTable
from energy_opt.ir.row import Row
from tests.estimators.rows import gemm, row
from tests.estimators.test_fitted import BASE, ERRORS, linear, priced, profile

IDLE_W = 45.0


def formed(kind: str, form: str, **more: Any) -> dict[str, Any]:
    """A fit of that form at its starting values."""
    at = {p.name: p.start for p in FORMS[form].parameters}
    time = {"form": form, "at": at, "errors": ERRORS, "basis": "fitted", "source": "a test"}
    return {"kind": kind, "dtype": "float32", "time": time, **more}


def joules(**at: float) -> dict[str, Any]:
    none = {
        "base_w": 0.0,
        "cap_w": 300.0,
        "flop_j": 0.0,
        "vector_flop_j": 0.0,
        "byte_j": 0.0,
        "start_j": 0.0,
    }
    return {"at": none | at, "errors": ERRORS, "basis": "measured", "source": "a test"}


@pytest.mark.parametrize(
    ("fit", "work"),
    [
        (linear("gather", byte_s=1e-9), row("gather", read=8, written=8, kernels=0)),
        (linear("other", byte_s=1e-9), row("view", kernels=0)),
        (linear("other", byte_s=1e-9), row("fft", flops=8, read=8)),
        (formed("matmul", "tiles"), row("matmul", flops=8, read=8)),
        (formed("conv", "winograd"), row("conv", flops=8, read=8)),
        (formed("attention", "flash-64"), row("attention", flops=8, read=8, sizes={"q": 4, "kv": 4})),
        (linear("matmul"), gemm(1, 8, 8, 8, "float16")),
        (linear("matmul", dtype="int8"), gemm(1, 8, 8, 8, "int32")),
    ],
    ids=["no kernel", "view", "matrix work of a kind unknown", "product without sizes", "convolution without sizes",
         "attention without sizes", "another type", "wider integers"],
)  # fmt: skip
def test_a_fit_does_not_serve(fit: dict[str, Any], work: Row) -> None:
    with_fit, without = priced([work], profile(fit)), priced([work], profile())
    assert serving(profile(fit), work, "graph", "time") == []
    assert with_fit.latency_s == without.latency_s
    assert with_fit.ops()[0]["provenance"] == "datasheet"


@pytest.mark.parametrize("dtype", ["float8e4m3fn", "float8e5m2"])
def test_types_of_eight_bits_share_a_fit(dtype: str) -> None:
    device = profile(linear("matmul", dtype="float8"))
    assert len(serving(device, gemm(1, 8, 8, 8, dtype), "graph", "time")) == 1


def test_a_fit_of_the_runtime_comes_before_one_of_any() -> None:
    device = profile(
        linear("matmul", flop_s=1e-12), linear("matmul", flop_s=2e-12, runtime="eager")
    )
    found = {
        name: serving(device, gemm(1, 8, 8, 8), name, "time")[0].runtime
        for name in ("eager", "onnxruntime")
    }
    assert found == {"eager": "eager", "onnxruntime": ""}


def test_a_fused_row_is_not_served_by_one_of_its_operators() -> None:
    device = profile(linear("elementwise", op="gelu", byte_s=1e-9))
    alone = row("elementwise", read=8, op="Gelu")
    fused = replace(alone, fused=("Gelu", "Add"))
    assert len(serving(device, alone, "graph", "time")) == 1
    assert serving(device, fused, "graph", "time") == []


def test_decoding_says_nothing_of_prefill() -> None:
    device = profile(linear("attention", byte_s=1e-9, regime="decode"))
    sizes = {"b": 8, "q": 1, "kv": 128, "d": 64}
    step = row("attention", read=1e6, sizes=sizes)
    whole = row("attention", read=1e6, sizes=sizes | {"q": 128})
    est = priced([step, whole], device)
    assert {op["provenance"] for op in est.ops()} == {"fitted", "datasheet"}
    assert priced([whole], device).latency_s == priced([whole], profile()).latency_s
    # One product of matrices is much like many.
    device = profile(formed("matmul", "tiles", regime="single"))
    assert priced([gemm(8, 64, 64, 64)], device).ops()[0]["provenance"] == "fitted"


def test_the_basis_is_that_of_the_regime_that_serves() -> None:
    first = linear("attention", byte_s=1e-9, regime="decode", box={"bytes": (1, 2e6)})
    second = linear("attention", byte_s=1e-9, regime="encoder", box={"bytes": (1, 10)})
    second["time"]["basis"] = "measured"
    whole = row("attention", read=1e6, sizes={"b": 8, "q": 128, "kv": 128, "d": 64})
    est = priced([whole], profile(first, second))
    assert est.ops()[0]["provenance"] == "measured"
    assert est.extrapolated == 1


def test_a_mask_spares_no_projection() -> None:
    """com.microsoft's Attention makes queries, keys and values itself: 2 * 64 * 96 * 32 FLOPs that all tokens need."""
    projection, scores = 2 * 64 * 96 * 32, 2 * 4 * 64 * 64 * (8 + 8)
    sizes = {"b": 4, "q": 64, "kv": 64, "d": 8, "dv": 8, "causal": 1, "m": 64, "n": 96, "k": 32}
    work = WorkTable([row("attention", flops=projection + scores, sizes=sizes)])({})[0]
    # 64 queries meet 1 + 2 + ... + 64 = 2080 of 4096 keys.
    assert performed("attention", work).matmul_flops == pytest.approx(
        projection + scores * 2080 / 4096
    )


def test_waiting_costs_what_a_measured_board_idles_at() -> None:
    host = {"eager": {"launch_s": 1e-3, "view_s": 0.0, "run_s": 0.0, "overlaps": True}}
    fit = linear("elementwise") | {"energy": joules(base_w=200.0)}
    known: dict[str, Any] = {
        "host": host,
        "idle_context_w": IDLE_W,
        "calibration": {"tool": "a test"},
    }
    work = [row("elementwise", read=8, paths=("",) * 10)]
    est = priced(work, profile(fit, **known), "eager")
    # Each runs for 10 us at 200 W, and the device waits for the other 990 us.
    assert est.energy_j == pytest.approx(10 * (10e-6 * 200 + 990e-6 * IDLE_W))
    # Of a board that nobody measured no more than the prior is known.
    guess = priced(work, profile(fit, host=host), "eager").energy_j
    assert guess > 10 * 990e-6 * IDLE_W


def test_what_takes_longer_costs_more() -> None:
    fit = linear("matmul", flop_s=1e-12, log_sd=0.3) | {"energy": joules(base_w=100.0)}
    est = priced([gemm(1, 1024, 1024, 1024)], profile(fit))
    seconds, drawn = est._drawn_totals
    short, long = seconds.argmin(), seconds.argmax()
    assert drawn[long] / drawn[short] == pytest.approx(seconds[long] / seconds[short], rel=0.2)


def test_what_is_very_long_or_short_is_a_number() -> None:
    assert float(p_norm(3e200, 4e200, 2.0)) == pytest.approx(5e200)
    assert float(p_norm(3e-200, 4e-200, 2.0)) == pytest.approx(5e-200)
    assert float(p_norm(0.0, 0.0, 8.0)) == 0


def test_another_size_of_a_processor_is_not_the_one_that_was_fitted() -> None:
    base = Device.load("xeon-ice-lake")
    energy = base.coefficients().energy.model_dump() | {"base_w": 10.0, "cap_w": 40.0}
    fitted = Device.model_validate(
        base.model_dump(by_alias=True)
        | {
            "fits": [linear("matmul", flop_s=1e-9)],
            "energy": energy,
            "calibration": {"tool": "a test"},
        }
    )
    double = fitted.scaled(2 * base.scaling.vcpus) if base.scaling else fitted
    assert double.fits == ()
    assert double.calibration is None
    assert double.energy is not None
    assert (double.energy.base_w, double.energy.cap_w) == (20.0, 80.0)
    assert any("left out" in note for note in double.notes)
    assert priced([gemm(1, 64, 64, 64)], double, "eager").ops()[0]["provenance"] == "datasheet"


@pytest.mark.parametrize(
    ("fit", "named"),
    [
        (linear("matmult"), "matmult"),
        (linear("view"), "view"),
        (linear("matmul", dtype="float8e4m3fn"), "float8e4m3fn"),
        (linear("matmul", dtype="fp16"), "fp16"),
        (linear("matmul", regime="decode"), "decode"),
        (linear("elementwise", op="aten::gelu"), "gelu"),
        (linear("matmul") | {"energy": joules(cap_w=400.0)}, "power limit"),
        (linear("matmul", draws={"start_s": [1e-6] * 5000}), "5000"),
    ],
)  # fmt: skip
def test_a_fit_that_would_serve_nothing_is_refused(fit: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        profile(fit)


def test_a_profile_names_its_schema(tmp_path: Any) -> None:
    path = tmp_path / "mine.json"
    path.write_text(profile().model_dump_json(exclude={"schema_"}))
    with pytest.raises(DeviceError, match="schema"):
        Device.load(path)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"base_w": 300.0, "cap_w": 300.0}, "base_w"), ({"flop_j": {"float16": 1e-12}}, "float32")],
)
def test_a_power_model_leaves_power_to_work_with(change: dict[str, Any], named: str) -> None:
    energy = Device.model_validate(BASE).coefficients().energy.model_dump()
    with pytest.raises(ValueError, match=named):
        profile(energy=energy | change)
