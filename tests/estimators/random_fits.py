"""Random fitted profiles and rows, whatever is allowed: what they are priced at must still make sense."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from energy_opt.estimators.device import Device, dtype_family
from energy_opt.estimators.forms import FORMS, Parameter
from energy_opt.estimators.forms import energy as energy_form
from energy_opt.ir.row import Row
from tests.estimators.rows import BATCH, row

KINDS = ("matmul", "conv", "attention", "moe", "elementwise", "gather", "quantize", "other")
DTYPES = ("float32", "float16", "float8", "int8")
ROW_DTYPES = ("float32", "float16", "float8e4m3fn", "uint8", "int64", "bool")
RUNTIMES = ("", "eager", "onnxruntime")
REGIMES = {
    "matmul": ("", "single", "batched"),
    "attention": ("", "decode", "prefill", "encoder", "decode/narrow"),
}
CAP_W = 300.0
BASE = Device.load("v100-sxm2-32gb").model_dump(by_alias=True)
"""Its power limit is `CAP_W`."""

LIKELY = {
    "matmul": [form for name, form in FORMS.items() if name.startswith("tile")],
    "conv": [form for name, form in FORMS.items() if name.startswith("winograd")] * 4,
    "attention": [form for name, form in FORMS.items() if name.startswith("flash")] * 3,
    "moe": [FORMS["experts"]] * 10,
}

MATRIX = ("b", "m", "n", "k")
ATTENTION = ("b", "b_kv", "batch", "q", "kv", "d", "dv")
EXPERTS = ("b", "m", "k", "experts", "weights", "hidden", "inter")
PLANE = ("images", "rows", "columns", "taps", "stride")
SIZES: dict[str, tuple[tuple[str, ...], ...]] = {
    "matmul": ((), MATRIX, MATRIX, MATRIX[1:]),
    "conv": ((), MATRIX, MATRIX + PLANE),
    "attention": (
        (),
        ATTENTION,
        ATTENTION,
        ("b", "q", "kv", "d"),
        ("q", "kv"),
        (*ATTENTION, "m", "n", "k"),
    ),
    "moe": ((), EXPERTS, MATRIX),
}


def values(draw: st.DrawFn, parameter: Parameter) -> float:
    """A value of the parameter: either bound, or in between, evenly in the logarithm."""
    low, high = max(parameter.low, 1e-18), parameter.high
    share = draw(st.sampled_from((0.0, 0.25, 0.5, 0.75, 1.0)))
    between = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return draw(st.sampled_from((parameter.low, min(max(between, parameter.low), high))))


@st.composite
def fits(draw: st.DrawFn, of: Row | None, count: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(KINDS)) if of is None else of.kind
    dtype = draw(st.sampled_from(DTYPES)) if of is None else dtype_family(of.dtype)
    errors = {"mape": 0.1, "p90": 0.2, "bias": 0.0, "points": 50, "groups": 20}
    errors["log_sd"] = draw(st.sampled_from((0.0, 0.1, 2.0, 400.0)))
    about = {
        "errors": errors,
        "basis": draw(st.sampled_from(("measured", "fitted", "modelled"))),
        "source": "a test",
    }
    time = energy = None
    which = draw(st.sampled_from(("time", "energy", "both", "both")))
    if which != "energy":
        form = draw(st.sampled_from([*FORMS.values(), *LIKELY.get(kind, ())]))
        at = {p.name: values(draw, p) for p in form.parameters}
        drawn = {p.name: [values(draw, p), *[at[p.name]] * (count - 1)] for p in form.parameters}
        time = {"form": form.name, "at": at, "draws": drawn, **about}
    if which != "time":
        at = {p.name: min(values(draw, p), CAP_W) for p in energy_form.PARAMETERS}
        at["base_w"] = min(at["base_w"], at["cap_w"])
        drawn = {
            name: [draw(st.sampled_from((value, value / 3))), *[value] * (count - 1)]
            for name, value in at.items()
        }
        drawn["cap_w"] = [max(value, 1.0) for value in drawn["cap_w"]]
        energy = {"at": at, "draws": drawn, **about}
    box = {"flops": (1e6, 1e9), "bytes": (1e3, 1e8), "m": (16, 4096), "q": (1, 128)}
    return {
        "kind": kind,
        "dtype": dtype,
        "op": draw(st.sampled_from(("", "", "gelu", "gelu_"))),
        "regime": draw(st.sampled_from(REGIMES.get(kind, ("",)))),
        "runtime": draw(st.sampled_from(RUNTIMES)),
        "time": time,
        "energy": energy,
        "box": draw(st.sampled_from(({}, box))),
    }


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """A row whose quantities and sizes need not fit together; some grow with the batch."""
    kind = draw(st.sampled_from(KINDS))
    quantity = st.sampled_from((0, 1, 10**3, 10**7, 10**11, 10**14))
    size = st.sampled_from((0, 1, 1, 7, 64, 128, 1000, 10**5))
    names = draw(st.sampled_from(SIZES.get(kind, ((),))))
    sizes: dict[str, Any] = {name: draw(size) for name in names}
    if "q" in names:
        sizes |= {
            name: draw(st.sampled_from((0, 1))) for name in ("causal", "window", "narrow", "cache")
        }
    if "taps" in names:
        sizes |= {"taps": draw(st.sampled_from((1, 9))), "stride": draw(st.sampled_from((1, 2)))}
    grown = draw(st.sampled_from(("", *names)))
    if grown:
        sizes[grown] = sizes[grown] * BATCH
    times = BATCH if draw(st.booleans()) else 1
    return row(
        kind,
        dtype=draw(st.sampled_from(ROW_DTYPES)),
        flops=draw(quantity) * times if kind in SIZES else 0,
        other=draw(quantity) * times,
        read=draw(quantity),
        written=draw(quantity) * times,
        sizes=sizes,
        kernels=draw(st.sampled_from((0, 1, 1, 3))),
        paths=tuple(draw(st.lists(st.sampled_from(("", "a", "a.b")), min_size=1, max_size=3))),
        op=draw(st.sampled_from(("MatMul", "aten::gelu", "aten::gelu_"))),
    )


@st.composite
def devices(draw: st.DrawFn, some: list[Row]) -> Device:
    """A device with fits, most of which serve one of the rows."""
    found = []
    for each in some:
        for _ in range(draw(st.integers(0, 3))):
            of = each if draw(st.integers(0, 7)) else None
            found.append(draw(fits(of, 5)))
    unique = {(f["kind"], f["dtype"], f["op"], f["regime"], f["runtime"]): f for f in found}
    known = {"calibration": {"tool": "a test"}, "idle_context_w": 45.0}
    return Device.model_validate(
        BASE | {"fits": list(unique.values())} | draw(st.sampled_from(({}, known)))
    )


@st.composite
def cases(draw: st.DrawFn, most: int = 4) -> tuple[list[Row], Device]:
    """Rows, and a device with fits of such rows."""
    some = draw(st.lists(rows(), min_size=1, max_size=most))
    return some, draw(devices(some))
