"""Which of a profile's fits serves a row: the most specific one for its kind, type, operator and runtime."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from energy_opt.estimators.device import Device, dtype_family
from energy_opt.estimators.fitted import Fitted, family, in_place
from energy_opt.estimators.forms import FORMS
from energy_opt.ir.row import Row

__all__ = ["OTHER", "in_place", "serving"]

OTHER = "other"
"""The kind of the pooled fit that serves kinds which were never measured."""


def serving(
    device: Device, row: Row, runtime: str, part: Literal["time", "energy"]
) -> list[Fitted]:
    """The fits that serve the row, one per regime; none where the device was not measured for such rows.

    A kind that was never measured is served by the pooled fit, unless it does matrix arithmetic. Another runtime's
    kernels serve where the runtime's own were not timed. What launches nothing, or lacks the problem sizes that a fit's
    form goes by, is served by none.
    """
    if not row.kernels:
        return []
    dtype = dtype_family(row.dtype)
    sizes = {name for name, _ in row.sizes}
    usable = [
        f
        for f in device.fits
        if f.dtype == dtype
        and f.kind in (row.kind, OTHER)
        and getattr(f, part) is not None
        and (part == "energy" or _needs(f) <= sizes)
    ]
    found = _best([f for f in usable if f.kind == row.kind], row, runtime)
    if not found and row.matmul_flops == 0:
        found = _best([f for f in usable if f.kind == OTHER], row, runtime)
    return found


def _needs(fitted: Fitted) -> frozenset[str]:
    """Problem sizes without which the fit's form of the time says nothing."""
    return frozenset(getattr(FORMS[fitted.time.form], "needs", ()) if fitted.time else ())


def _best(fits: Iterable[Fitted], row: Row, runtime: str) -> list[Fitted]:
    # A fused row does the work of several operators: what is known of one of them is not known of it.
    names = () if row.fused else (in_place(row.op), family(row.op))
    ranked: dict[tuple[bool, int, bool, str], list[Fitted]] = {}
    for fitted in fits:
        if not fitted.op or fitted.op in names:
            place = names.index(fitted.op) if fitted.op else len(names)
            known = fitted.runtime in ("", runtime)
            rank = (not known, place, not fitted.runtime, fitted.runtime)
            ranked.setdefault(rank, []).append(fitted)
    return ranked[min(ranked)] if ranked else []
