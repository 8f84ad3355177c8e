"""Primitives: one operator with its attributes and operands, which is what is timed. A node of a graph is one.

Nothing here imports torch; `random_tensors` makes operands and runs the operator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import onnx_ir

from energy_opt.estimators.forms.attention import performed
from energy_opt.estimators.work import RowWork, WorkTable
from energy_opt.ir.op import Op, Tensor
from energy_opt.ir.row import Row, Use
from energy_opt.ir.signature import price, row

Role = Literal["activation", "weight", "index", "mask"]

_ONNX = {
    "float64": "DOUBLE", "float32": "FLOAT", "float16": "FLOAT16", "bfloat16": "BFLOAT16", "bool": "BOOL",
    "int64": "INT64", "int32": "INT32", "int16": "INT16", "int8": "INT8", "uint8": "UINT8",
    "complex64": "COMPLEX64", "complex128": "COMPLEX128",
    "float8_e4m3fn": "FLOAT8E4M3FN", "float8_e5m2": "FLOAT8E5M2",
}  # fmt: skip
_TORCH = {onnx: torch for torch, onnx in _ONNX.items()}


def torch_name(dtype: onnx_ir.DataType | None) -> str | None:
    """torch's name of an element type, such as `float32`; None for one that it has no tensors of."""
    return None if dtype is None else _TORCH.get(dtype.name)


@dataclass(frozen=True)
class TensorSpec:
    """An operand: its shape, its dtype by torch's name, and what it holds.

    Activations are normally distributed, weights too but scaled to keep sums near 1; `high` is the exclusive bound of
    an index or another integer. `strides` are in elements, None for contiguous memory.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    role: Role = "activation"
    high: int = 2
    strides: tuple[int, ...] | None = None

    @property
    def numel(self) -> int:
        """Elements."""
        count = 1
        for dim in self.shape:
            count *= dim
        return count

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return int(Tensor((self.numel,), onnx_ir.DataType[_ONNX[self.dtype]]).nbytes)

    def tensor(self) -> Tensor:
        """The operand as a rule sees it."""
        dtype = onnx_ir.DataType[_ONNX[self.dtype]]
        return Tensor(self.shape, dtype, constant=self.role == "weight")


@dataclass(frozen=True)
class Primitive:
    """One call of an operator: `op` is `aten::linear`, the default overload is empty.

    `attributes` are the arguments that are no tensors, by name, and `is_view` or `in_place` as a graph's nodes have
    them. `inputs` are the tensors in the schema's order, None where one is omitted. `outputs` are the results.
    """

    op: str
    overload: str
    attributes: tuple[tuple[str, Any], ...]
    inputs: tuple[TensorSpec | None, ...]
    outputs: tuple[TensorSpec, ...]
    origin: str = field(default="", compare=False)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The attributes by name."""
        return dict(self.attributes)

    @cached_property
    def row(self) -> Row:
        """The work of one execution, by the rules that a prediction goes by."""
        domain, _, name = self.op.rpartition("::")
        operands = tuple(None if spec is None else spec.tensor() for spec in self.inputs)
        op = Op(domain, name, 1, operands, tuple(s.tensor() for s in self.outputs), self.arguments)
        return row(price(op), [Use(name, "")])

    @cached_property
    def work(self) -> RowWork:
        """The row's quantities as numbers, without scores that a mask spares."""
        return performed(self.row.kind, WorkTable([self.row])({})[0])

    @cached_property
    def key(self) -> str:
        """A name that stays the same from run to run, for checkpoints."""
        told = f"{self.op}.{self.overload}{self.attributes}{self.inputs}"
        return f"{self.op}/{hashlib.sha256(told.encode()).hexdigest()[:16]}"

    @cached_property
    def group(self) -> str:
        """What is left out together when an error is estimated: the shapes of the weights, else the last two sizes."""
        weights = [s.shape for s in self.inputs if s is not None and s.role == "weight"]
        operands = [s for s in self.inputs if s is not None] or list(self.outputs)
        shapes = weights or [s.shape[-2:] for s in operands][:2]
        return f"{self.op} {' '.join('x'.join(map(str, shape)) for shape in shapes)}"

    @property
    def nbytes(self) -> int:
        """Bytes of operands and results in memory."""
        return sum(s.nbytes for s in (*self.inputs, *self.outputs) if s is not None)
