"""What a work rule sees of an operator (shapes, dtypes, attributes) and what it answers (work)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx_ir

from energy_opt.ir.dims import Dim, product


class UnknownShape(ValueError):
    """An operand that a rule needs is missing, or its shape is unknown: the op is priced as traffic, by name."""


MOST_ELEMENTS = 2**62
"""What an int64 can index, with room for a size in bytes: no tensor has more elements."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One operand: `shape` is None and `dtype` is None where they cannot be known (sequences, unknown ops).

    `constant` is true for weights and constants, which are not activations. `values` holds the elements of small
    integer tensors that shapes depend on, ints or dims, flattened.
    """

    shape: tuple[Dim, ...] | None
    dtype: onnx_ir.DataType | None
    constant: bool = False
    values: tuple[Dim, ...] | None = None

    @property
    def rank(self) -> int:
        """Number of dimensions. Raises UnknownShape where the shape is unknown."""
        return len(self.dims)

    @property
    def dims(self) -> tuple[Dim, ...]:
        """The shape. Raises UnknownShape where it is unknown: the engine then prices the op as traffic, by name."""
        if self.shape is None:
            raise UnknownShape("shape unknown")
        return self.shape

    @property
    def numel(self) -> Dim:
        """Number of elements; 0 where the shape is unknown."""
        return 0 if self.shape is None else product(self.shape)

    @property
    def nbytes(self) -> Dim:
        """Bytes of the elements, packed: 4-bit types take half a byte."""
        return bytes_of(self.numel, self.dtype)


def bytes_of(numel: Dim, dtype: onnx_ir.DataType | None) -> Dim:
    """Bytes of `numel` packed elements of the dtype; a string counts as 8 bytes, an unknown type as 4."""
    if dtype is None or dtype is onnx_ir.DataType.UNDEFINED:
        return 4 * numel
    if dtype is onnx_ir.DataType.STRING:
        return 8 * numel  # a reference; the characters are not in the graph
    bits = dtype.bitwidth
    if bits % 8 == 0:
        return bits // 8 * numel
    return -(-bits * numel // 8) if isinstance(numel, int) else numel * bits / 8


def is_arithmetic(dtype: onnx_ir.DataType) -> bool:
    """Whether the type is one that models compute in: floating, or quantized to 8 bits or fewer."""
    if dtype in (onnx_ir.DataType.STRING, onnx_ir.DataType.UNDEFINED, onnx_ir.DataType.BOOL):
        return False
    return dtype.is_floating_point() or dtype.bitwidth <= 8


@dataclass(frozen=True, slots=True)
class Op:
    """One operator as a rule sees it. `inputs` holds None for an omitted optional input."""

    domain: str
    op_type: str
    version: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def attr(self, name: str, default: Any = None) -> Any:
        """The attribute's Python value, or the default where the node does not set it."""
        return self.attributes.get(name, default)

    def input(self, index: int) -> Tensor | None:
        """The input at that place, None where it is omitted or beyond the end."""
        return self.inputs[index] if index < len(self.inputs) else None

    @property
    def x(self) -> Tensor:
        """The first input. Raises UnknownShape where it is omitted."""
        return self.need(0)

    @property
    def y(self) -> Tensor:
        """The first output. Raises UnknownShape where there is none."""
        if not self.outputs:
            raise UnknownShape("no output")
        return self.outputs[0]

    def need(self, index: int) -> Tensor:
        """The input at that place. Raises UnknownShape where it is omitted or its shape is unknown."""
        tensor = self.input(index)
        if tensor is None or tensor.shape is None:
            raise UnknownShape(f"input {index} is missing or has no known shape")
        return tensor


@dataclass(frozen=True, slots=True)
class Work:
    """What one execution of an op does. A multiply-add is 2 FLOPs; bytes are compulsory traffic, each operand once.

    `bytes_read` and `bytes_written` of None stand for the default, every input read and every output written once.
    `sizes` are the problem sizes that tile formulas need, such as (("b", 8), ("m", 128), ("n", 768), ("k", 768)).
    `kind` overrides the kind that the rule was registered with.
    """

    matmul_flops: Dim = 0
    other_flops: Dim = 0
    bytes_read: Dim | None = None
    bytes_written: Dim | None = None
    sizes: tuple[tuple[str, Dim], ...] = ()
    kind: str | None = None
