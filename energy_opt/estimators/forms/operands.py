"""Seconds of a product on a CPU: multiplying at a rate that thin shapes do not reach, and packing the weight."""

from __future__ import annotations

from typing import ClassVar

from energy_opt.estimators.forms.form import At, Chip, Parameter, Parts
from energy_opt.estimators.forms.roofline import p_norm
from energy_opt.estimators.work import RowWork


class Operands:
    """`t = start_s + (multiply^norm + pack^norm)^(1/norm) + read_s * read + write_s * written`, of b products m*n*k.

    `multiply = flop_s * F * (1 + narrow / n) * (1 + shallow / k)`: vector lanes run over n, and results are loaded and
    stored once per k. `pack = right_s * b*k*n * m / (m + few)`: the right operand, a weight, is brought into the order
    that the kernel wants, unless there are so few rows that it is read as it lies. `read` is what is read beside
    weights, `written` what is written, both in bytes. Rows without m, n and k are a sum over FLOPs and bytes.

    Source: the steps of a blocked product, Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
    ACM TOMS 34(3), 2008.
    """

    name: ClassVar[str] = "operands"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("start_s", "s", 5e-6, 1e-8, 1.0, "one execution, however small"),
        Parameter("flop_s", "s/FLOP", 1e-11, 1e-16, 1e-6, "one FLOP of a product that is large on all sides"),
        Parameter("narrow", "1", 1.0, 1e-3, 1e3, "columns at which only half of that rate is reached"),
        Parameter("shallow", "1", 8.0, 1e-3, 1e4, "depth at which only half of that rate is reached"),
        Parameter("right_s", "s/element", 3e-10, 1e-14, 1e-6, "bringing an element of the weight into order"),
        Parameter("few", "1", 3.0, 1e-2, 1e3, "rows at which half of the weight's elements are brought into order"),
        Parameter("norm", "1", 1.5, 1.0, 8.0, "how far multiplying hides bringing into order"),
        Parameter("read_s", "s/byte", 1e-11, 1e-15, 1e-6, "one byte of activations read"),
        Parameter("write_s", "s/byte", 3e-11, 1e-15, 1e-6, "one byte written"),
    )  # fmt: skip

    def parts(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """Seconds of one execution of the work."""
        compute = at["flop_s"] * work.matmul_flops
        memory = at["read_s"] * (work.bytes_read - work.weight_bytes)
        memory = memory + at["write_s"] * work.bytes_written
        sizes = work.sizes
        if not {"m", "n", "k"} <= sizes.keys():
            total = at["start_s"] + compute + memory
            return Parts(total, compute, memory, at["start_s"])
        b, m, n, k = sizes.get("b", 1.0), sizes["m"], sizes["n"], sizes["k"]
        compute = compute * (1.0 + at["narrow"] / n) * (1.0 + at["shallow"] / k)
        pack = at["right_s"] * (b * k * n) * (m / (m + at["few"]))
        total = at["start_s"] + p_norm(compute, pack, at["norm"]) + memory
        return Parts(total, compute, memory + pack, at["start_s"])
