"""Seconds as a smooth roofline: arithmetic and traffic overlap as far as a p-norm lets them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from energy_opt.estimators.forms.form import At, Chip, Parameter, Parts
from energy_opt.estimators.work import RowWork
from energy_opt.ir.dims import Value


class Roofline:
    """`t = start_s + (t_compute^norm + t_memory^norm)^(1/norm)`, in fractions of the datasheet's peaks."""

    name: ClassVar[str] = "roofline"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("start_s", "s", 3e-6, 0.0, 1.0, "one execution, however small"),
        Parameter("compute", "1", 0.7, 1e-4, 1.0, "attained share of the matrix peak"),
        Parameter("vector", "1", 0.3, 1e-4, 1.0, "attained share of the vector peak"),
        Parameter("memory", "1", 0.7, 1e-4, 1.0, "attained share of the bandwidth"),
        Parameter("norm", "1", 4.0, 1.0, 8.0, "how far arithmetic and traffic overlap"),
    )

    def parts(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """Seconds of one execution of the work."""
        compute = work.matmul_flops / (chip.peak * at["compute"])
        compute = compute + work.other_flops / (chip.vector * at["vector"])
        memory = work.bytes / (chip.bandwidth * at["memory"])
        total = at["start_s"] + p_norm(compute, memory, at["norm"])
        return Parts(total, compute, memory, at["start_s"])


def p_norm(first: Value, second: Value, norm: Value) -> Value:
    """`(first^norm + second^norm)^(1/norm)` of non-negative values: their maximum for a large norm, their sum for 1."""
    # In units of the larger one: a power of what is very long or short would not be a number.
    most = np.maximum(first, second)
    unit = np.maximum(most, 1e-300)
    return np.asarray(most * ((first / unit) ** norm + (second / unit) ** norm) ** (1.0 / norm))
