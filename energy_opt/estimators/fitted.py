"""What a profile holds of one kind of work in one type that was fitted: coefficients, their errors and their source."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from energy_opt.estimators.data import NonNegative, Record
from energy_opt.estimators.forms import FORMS
from energy_opt.estimators.forms import energy as energy_form
from energy_opt.ir.rules.registry import KINDS

Basis = Literal["measured", "fitted", "modelled"]
"""Measured on that device by calibration, fitted to published measurements, or modelled from facts about its power."""


_KINDS = KINDS - {"view", "shape", "control", "sequence"} | {"collective"}
_DTYPES = frozenset(
    "float64 float32 tf32 float16 bfloat16 float8 float4 int64 int32 int16 int8 int4 uint64 uint32 uint16 bool "
    "complex64 complex128".split()
)
"""Types of arithmetic as rows are matched by: of 8 bits and fewer by width, others by name."""


_REGIMES = {
    "attention": tuple(f"{n}{narrow}" for n in ("decode", "prefill", "encoder") for narrow in ("", "/narrow")),
    "matmul": ("single", "batched"),
}  # fmt: skip
"""The regimes that `regimes.regime_of` tells apart, of the kinds that have any."""


class Errors(Record):
    """Relative errors where whole groups (weight shapes, models) were left out: fractions, not percent.

    `bias` is the mean of the signed errors. `log_sd` is the standard deviation of the logarithm that gives intervals
    the coverage they claim on groups that were left out.
    """

    mape: NonNegative
    p90: NonNegative
    bias: Annotated[float, Field(allow_inf_nan=False)]
    log_sd: NonNegative
    points: Annotated[int, Field(gt=0)]
    groups: Annotated[int, Field(gt=0)]


class FittedTime(Record):
    """A form of the time equation, its parameters (units: see the form) and joint draws of them."""

    form: str
    at: dict[str, NonNegative]
    draws: dict[str, list[NonNegative]] = Field(default_factory=dict)
    errors: Errors
    basis: Basis
    source: str
    summary: str = ""

    @model_validator(mode="after")
    def _known(self) -> FittedTime:
        if self.form not in FORMS:
            raise ValueError(f"form {self.form!r} is not one of {', '.join(FORMS)}")
        bounds = {p.name: (p.low, p.high) for p in FORMS[self.form].parameters}
        _check(self.at, self.draws, bounds, f"form {self.form}")
        return self


class FittedEnergy(Record):
    """Coefficients of the energy equation of one kind of work (units: W, J/FLOP, J/byte, J), and joint draws."""

    at: dict[str, NonNegative]
    draws: dict[str, list[NonNegative]] = Field(default_factory=dict)
    errors: Errors
    basis: Basis
    source: str
    summary: str = ""

    @model_validator(mode="after")
    def _known(self) -> FittedEnergy:
        bounds = {p.name: (p.low, p.high) for p in energy_form.PARAMETERS}
        _check(self.at, self.draws, bounds, "energy")
        if self.at["base_w"] > self.at["cap_w"]:
            raise ValueError(
                f"base_w is {self.at['base_w']}, above cap_w, which is {self.at['cap_w']}"
            )
        return self


class Fitted(Record):
    """One kind of work in one type, as fitted.

    It serves rows of that `kind` and arithmetic `dtype`; only the operator `op` (as `family` writes it), only the
    `regime` (`prefill`, `decode` of attention) and only the `runtime` where those are not empty. `box` is the range of
    each quantity that was measured: outside it intervals widen and reports say so.
    """

    kind: str
    dtype: str
    op: str = ""
    regime: str = ""
    runtime: str = ""
    time: FittedTime | None = None
    energy: FittedEnergy | None = None
    box: dict[str, tuple[float, float]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _holds_something(self) -> Fitted:
        if self.kind not in _KINDS:
            raise ValueError(f"kind {self.kind!r} is not one of {', '.join(sorted(_KINDS))}")
        if self.dtype not in _DTYPES:
            raise ValueError(f"dtype {self.dtype!r} is not one of {', '.join(sorted(_DTYPES))}")
        if self.regime not in ("", *_REGIMES.get(self.kind, ())):
            raise ValueError(f"regime {self.regime!r} is none of {self.kind}'s")
        if self.op != in_place(self.op):
            raise ValueError(f"op {self.op!r} serves no row: it is written {in_place(self.op)!r}")
        if self.time is None and self.energy is None:
            raise ValueError("neither time nor energy is given")
        for name, (low, high) in self.box.items():
            if not (math.isfinite(low) and math.isfinite(high) and 0 <= low <= high):
                raise ValueError(
                    f"box: {name} is ({low}, {high}): a range from low to high is needed"
                )
        return self


def _check(
    at: dict[str, Any],
    draws: dict[str, list[Any]],
    bounds: dict[str, tuple[float, float]],
    what: str,
) -> None:
    """Raises ValueError where parameters are missing, unknown, out of bounds or drawn unequally often."""
    for name in bounds.keys() - at.keys():
        raise ValueError(f"{what}: the parameter {name} is missing")
    for name, values in [*((name, [value]) for name, value in at.items()), *draws.items()]:
        if name not in bounds:
            raise ValueError(f"{what}: {name} is no parameter; there are {', '.join(bounds)}")
        low, high = bounds[name]
        for value in values:
            if not low <= value <= high:
                raise ValueError(f"{what}: {name} is {value:g}, not within {low:g} to {high:g}")
    if len({len(values) for values in draws.values()}) > 1:
        raise ValueError(f"{what}: every parameter needs the same number of draws")


def family(op: str) -> str:
    """An operator's name without its vocabulary's habits: `aten::gelu_` and `Gelu` are both `gelu`."""
    return op.rpartition("::")[2].rpartition(".")[2].rstrip("_").replace("_", "").lower()


def in_place(op: str) -> str:
    """The operator's family, with PyTorch's underscore where it writes over its operand: it fills no new memory."""
    return family(op) + "_" * op.endswith("_")
