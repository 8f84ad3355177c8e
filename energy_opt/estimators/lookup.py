"""Which of a profile's fits serves a row: the most specific one for its kind, type, operator and runtime."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from energy_opt.estimators.device import Device, dtype_family
from energy_opt.estimators.fitted import Fitted, family
from energy_opt.ir.row import Row

OTHER = "other"
"""The kind of the pooled fit that serves kinds which were never measured."""


def serving(
    device: Device, row: Row, runtime: str, part: Literal["time", "energy"]
) -> list[Fitted]:
    """The fits that serve the row, one per regime; none where the device was not measured for such rows.

    A kind that was never measured is served by the pooled fit, unless it does matrix arithmetic. Another runtime's
    kernels serve where the runtime's own were not timed.
    """
    dtype = dtype_family(row.dtype)
    usable = [f for f in device.fits if getattr(f, part) is not None and f.dtype == dtype]
    found = _best([f for f in usable if f.kind == row.kind], row, runtime)
    if not found and row.matmul_flops == 0 and row.kernels:
        found = _best([f for f in usable if f.kind == OTHER], row, runtime)
    return found


def _best(fits: Iterable[Fitted], row: Row, runtime: str) -> list[Fitted]:
    # A fused row does the work of several operators: what is known of one of them is not known of it.
    names = () if row.fused else (in_place(row.op), family(row.op))
    ranked: dict[tuple[bool, int, str], list[Fitted]] = {}
    for fitted in fits:
        if not fitted.op or fitted.op in names:
            place = names.index(fitted.op) if fitted.op else len(names)
            rank = (fitted.runtime not in ("", runtime), place, fitted.runtime)
            ranked.setdefault(rank, []).append(fitted)
    return ranked[min(ranked)] if ranked else []


def in_place(op: str) -> str:
    """The operator's family, with PyTorch's underscore where it writes over its operand: it fills no new memory."""
    return family(op) + "_" * op.endswith("_")
