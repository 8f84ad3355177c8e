"""Seconds of a product as a sum over what a CPU's library does: multiply, pack either operand, write the result."""

from __future__ import annotations

from typing import ClassVar

from energy_opt.estimators.forms.form import At, Chip, Parameter, Parts
from energy_opt.estimators.work import RowWork


class Operands:
    """`t = start_s + flop_s * F + left_s * b*m*k + right_s * b*k*n + result_s * b*m*n + byte_s * bytes`.

    A convolution's left operand is its patches: b*m*k counts every position once per kernel point, which is what a
    kernel by channel spends its time on. Rows without m, n and k are a sum over FLOPs and bytes.
    """

    name: ClassVar[str] = "operands"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("start_s", "s", 5e-6, 0.0, 1.0, "one execution, however small"),
        Parameter("flop_s", "s/FLOP", 1e-11, 0.0, 1.0, "one FLOP of the product"),
        Parameter("left_s", "s/element", 1e-10, 0.0, 1.0, "reading or packing an element of the left operand"),
        Parameter("right_s", "s/element", 1e-10, 0.0, 1.0, "the same of the right operand, the weight"),
        Parameter("result_s", "s/element", 1e-10, 0.0, 1.0, "one element of the result"),
        Parameter("byte_s", "s/byte", 1e-11, 0.0, 1.0, "one byte of operands and results in memory"),
    )  # fmt: skip

    def parts(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """Seconds of one execution of the work."""
        compute = at["flop_s"] * work.matmul_flops
        memory = at["byte_s"] * work.bytes
        sizes = work.sizes
        if {"m", "n", "k"} <= sizes.keys():
            b, m, n, k = sizes.get("b", 1.0), sizes["m"], sizes["n"], sizes["k"]
            memory = memory + at["left_s"] * (b * m * k) + at["right_s"] * (b * k * n)
            memory = memory + at["result_s"] * (b * m * n)
        return Parts(at["start_s"] + compute + memory, compute, memory, at["start_s"])
