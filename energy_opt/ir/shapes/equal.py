"""Which symbolic dimensions must be the same number."""

from __future__ import annotations

import onnx_ir

from energy_opt.ir.dims import Dim


def equalities(model: onnx_ir.Model) -> list[tuple[Dim, Dim]]:
    """Pairs of different symbolic dims that the model's operators force to be equal."""
    return []
