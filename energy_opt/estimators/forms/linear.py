"""Seconds as a non-negative sum of a start, FLOPs and bytes: what few points can settle."""

from __future__ import annotations

from typing import ClassVar

from energy_opt.estimators.forms.form import At, Chip, Parameter, Parts
from energy_opt.estimators.work import RowWork


class Linear:
    """`t = start_s + flop_s * F + vector_flop_s * V + byte_s * bytes`."""

    name: ClassVar[str] = "linear"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("start_s", "s", 1e-6, 0.0, 1.0, "one execution, however small"),
        Parameter("flop_s", "s/FLOP", 1e-12, 0.0, 1.0, "one FLOP of a matrix product"),
        Parameter("vector_flop_s", "s/FLOP", 1e-12, 0.0, 1.0, "one other FLOP"),
        Parameter("byte_s", "s/byte", 1e-12, 0.0, 1.0, "one byte read or written"),
    )

    def parts(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """Seconds of one execution of the work."""
        compute = at["flop_s"] * work.matmul_flops + at["vector_flop_s"] * work.other_flops
        memory = at["byte_s"] * work.bytes
        return Parts(at["start_s"] + compute + memory, compute, memory, at["start_s"])
