"""How the tables of this folder are written: an op's signature as text, and its counts with the derivation beside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import onnx_ir
import sympy

from energy_opt.ir.dims import Dim, symbol
from energy_opt.ir.op import Op, Tensor, Work
from energy_opt.ir.rules import lookup

DTYPES = {
    "f32": onnx_ir.DataType.FLOAT,
    "f16": onnx_ir.DataType.FLOAT16,
    "i64": onnx_ir.DataType.INT64,
    "i32": onnx_ir.DataType.INT32,
    "i8": onnx_ir.DataType.INT8,
    "u8": onnx_ir.DataType.UINT8,
    "i4": onnx_ir.DataType.INT4,
    "bool": onnx_ir.DataType.BOOL,
    "c64": onnx_ir.DataType.COMPLEX64,
}
SYMBOLS = {name: symbol(name) for name in "bstp"}


def tensor(text: str) -> Tensor | None:
    """A tensor of `2,3,4` (float32), `i64:b,s` (with a type), `i64:2=5,6` (with values), `()`, `?`; `-` is none."""
    if text == "-":
        return None
    dtype, _, rest = text.rpartition(":")
    dims, _, values = rest.partition("=")
    shape = (
        None if dims == "?" else () if dims == "()" else tuple(_dim(dim) for dim in dims.split(","))
    )
    known = tuple(int(value) for value in values.split(",")) if values else None
    return Tensor(shape, DTYPES[dtype or "f32"], values=known)


def _dim(text: str) -> Dim:
    return int(text) if text.lstrip("-").isdigit() else formula(text)


def formula(text: str) -> Any:
    """A formula over b, s, t, p as an expression."""
    return sympy.sympify(text, locals=SYMBOLS)


def op_of(name: str, signature: str, /, **attributes: Any) -> Op:
    """The op `domain::Type` with operands as in `2,3 3,4 -> 2,4`. The version is attribute `opset`, 23 by default."""
    left, _, right = signature.partition("->")
    outputs = [tensor(text) for text in right.split()]
    domain, _, op_type = name.rpartition("::")
    return Op(
        domain,
        op_type,
        attributes.pop("opset", 23),
        tuple(tensor(text) for text in left.split()),
        tuple(output for output in outputs if output is not None),
        attributes,
    )


def work_of(op: Op) -> Work:
    """The op's work by its rule, with default traffic filled in: every operand once, nothing for a view."""
    entry = lookup(op.domain, op.op_type)
    assert entry is not None, f"no rule for {op.domain}::{op.op_type}"
    work = entry.rule(op)
    read = (
        sum(t.nbytes for t in op.inputs if t is not None)
        if work.bytes_read is None
        else work.bytes_read
    )
    written = (
        sum(t.nbytes for t in op.outputs) if work.bytes_written is None else work.bytes_written
    )
    return Work(
        work.matmul_flops, work.other_flops, read, written, work.sizes, work.kind or entry.kind
    )


@dataclass(frozen=True)
class Case:
    """A row of a table: the op and its four counts, ints or formulas as text."""

    name: str
    signature: str
    counts: tuple[int | str, int | str, int | str, int | str]
    attributes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}({self.signature})"

    @property
    def op(self) -> Op:
        """The op of the row."""
        return op_of(self.name, self.signature, **self.attributes)

    def check(self) -> None:
        """Assert that the rule gives the row's counts."""
        work = work_of(self.op)
        found = (work.matmul_flops, work.other_flops, work.bytes_read, work.bytes_written)
        expected = tuple(formula(str(count)) for count in self.counts)
        assert tuple(sympy.simplify(a - b) for a, b in zip(found, expected, strict=True)) == (
            0,
            0,
            0,
            0,
        ), f"{self}: found {found}, not {expected}"


def case(name: str, signature: str, *counts: int | str, **attributes: Any) -> Case:
    """A row: matmul FLOPs, other FLOPs, bytes read, bytes written."""
    matmul, other, read, written = counts
    return Case(name, signature, (matmul, other, read, written), attributes)
