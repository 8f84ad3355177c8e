"""What inference knows of a value, and what a rule sees of a node."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np
import onnx_ir
import sympy

from energy_opt.errors import ModelError
from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.space import Space

VALUES_LIMIT = 1024
"""Elements of a tensor that are followed through the graph; shapes of real models need a few dozen at most."""

Scalar: TypeAlias = "int | float | sympy.Expr | None"
"""One followed element; None where it is not known."""

SHAPE_INTEGERS = frozenset(
    {
        onnx_ir.DataType.INT64,
        onnx_ir.DataType.INT32,
        onnx_ir.DataType.INT16,
        onnx_ir.DataType.INT8,
        onnx_ir.DataType.UINT64,
        onnx_ir.DataType.UINT32,
        onnx_ir.DataType.UINT16,
        onnx_ir.DataType.UINT8,
        onnx_ir.DataType.BOOL,
    }
)
_RANGES: dict[onnx_ir.DataType, tuple[int, int]] = {
    dtype: (-(2 ** (dtype.bitwidth - 1)), 2 ** (dtype.bitwidth - 1) - 1)
    if dtype.is_signed()
    else (0, 2**dtype.bitwidth - 1)
    for dtype in SHAPE_INTEGERS
    if dtype is not onnx_ir.DataType.BOOL
}
FLOATS = frozenset(
    {
        onnx_ir.DataType.FLOAT,
        onnx_ir.DataType.DOUBLE,
        onnx_ir.DataType.FLOAT16,
        onnx_ir.DataType.BFLOAT16,
    }
)


class Info(NamedTuple):
    """Shape, dtype and small values of a tensor; of a sequence or optional (`nest`), those of its elements.

    `nest` spells the wrapping from the outside in: "s" a sequence, "o" an optional, "os" an optional sequence.
    `items` are a sequence's elements where each is known, `length` is their number. `spans` says of an index tensor
    that its elements, or those of each part along the last axis, are 0 to span - 1.
    """

    shape: tuple[Dim, ...] | None = None
    dtype: onnx_ir.DataType | None = None
    values: tuple[Scalar, ...] | None = None
    nest: str = ""
    items: tuple[Any, ...] | None = None
    length: Dim | None = None
    spans: tuple[Dim | None, ...] | None = None


UNKNOWN = Info()


class Call:
    """One node as a rule sees it: its inputs, attributes and the space its dims live in."""

    __slots__ = ("attrs", "domain", "inputs", "name", "op", "outputs", "space", "version")

    def __init__(
        self,
        space: Space,
        name: str,
        domain: str,
        op: str,
        version: int,
        inputs: tuple[Info | None, ...],
        attrs: Mapping[str, Any],
        outputs: int,
    ) -> None:
        self.space = space
        self.name = name
        self.domain = domain
        self.op = op
        self.version = version
        self.inputs = inputs
        self.attrs = attrs
        self.outputs = outputs

    def input(self, index: int) -> Info:
        """That input. Raises ModelError where a required input is missing."""
        info = self.optional(index)
        if info is None:
            self.fail(f"input {index + 1} is missing, the operator needs it")
        return info

    def optional(self, index: int) -> Info | None:
        """That input, None where it is omitted."""
        return self.inputs[index] if index < len(self.inputs) else None

    def int_attr(self, name: str, default: int | None = None) -> int:
        """An integer attribute. Raises ModelError where it is missing without a default or not an integer."""
        value = self.attrs.get(name, default)
        if isinstance(value, int):
            return value
        self.fail(
            f"attribute {name!r} is missing"
            if value is None
            else f"attribute {name!r} is {short(value)}, not an integer"
        )
        return None

    def ints_attr(self, name: str) -> list[int] | None:
        """A list-of-integers attribute, None where it is not set. Raises ModelError where it is something else."""
        value = self.attrs.get(name)
        if value is None:
            return None
        if isinstance(value, (list, tuple)) and all(isinstance(item, int) for item in value):
            return list(value)
        self.fail(f"attribute {name!r} is {short(value)}, not a list of integers")
        return None

    def str_attr(self, name: str, default: str) -> str:
        """A string attribute, or the default where it is not set."""
        value = self.attrs.get(name, default)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return value if isinstance(value, str) else default

    def axis(self, axis: int, rank: int, *, end: bool = False) -> int:
        """The axis counted from the front. Raises ModelError where the tensor has no such axis."""
        if not -rank - end <= axis < rank + end and not (end and axis == -rank):
            self.fail(f"axis {axis} is outside a tensor of {rank} dimensions")
        return axis + rank if axis < 0 else axis

    def ints(self, index: int, what: str) -> list[int] | None:
        """The values of an integer input, None unless all are known ints. Raises ModelError on floats."""
        info = self.optional(index)
        if info is None or info.values is None:
            return None
        numbers: list[int] = []
        for value in info.values:
            if isinstance(value, float):
                self.fail(f"{what} holds {value}, not integers")
            if not isinstance(value, int):
                return None
            numbers.append(int(value))
        return numbers

    def axes(self, index: int, rank: int, extra: int = 0) -> list[int] | str | None:
        """Axes of an attribute `axes` or input; None where not given, "unknown" where computed at run time."""
        given = self.ints_attr("axes")
        info = self.optional(index)
        if given is None and info is not None:
            given = self.ints(index, "axes")
            if given is None:
                return "unknown"
        if given is None:
            return None
        axes = [self.axis(axis, rank + extra) for axis in given]
        if len(set(axes)) != len(axes):
            self.fail(f"axes {given} name one axis twice")
        return axes

    def fail(self, message: str, advice: str = "") -> NoReturn:
        """Refuse the node. Raises ModelError that says where, what, with which shapes, and what to check."""
        raise ModelError(self.message(message, advice))

    def message(self, message: str, advice: str = "") -> str:
        """The sentence of `fail`."""
        op = f"{self.domain}::{self.op}" if self.domain else self.op
        shapes = ", ".join("-" if info is None else spell(info) for info in self.inputs[:8])
        where = f"node {short(self.name, 160)} ({op})" if self.name else f"an unnamed {op} node"
        advice = advice or "check the tensors that feed it and the shapes declared in the file"
        return f"{where}: {message}; its inputs are {shapes or 'none'}; {advice}"


def short(value: object, limit: int = 60) -> str:
    """A value from a file, quoted and cut for a message."""
    text = repr(value[: 2 * limit] if isinstance(value, str) else value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def spell(info: Info) -> str:
    """A shape as text: [batch, 128, 768]."""
    if info.shape is None:
        return "of unknown shape"
    return "[" + ", ".join(short_dim(dim) for dim in info.shape[:12]) + "]"


def short_dim(dim: Dim) -> str:
    """A dim as text, cut for a message."""
    text = str(dim)
    return text if len(text) <= 40 else text[:37] + "..."


def count(shape: Sequence[Dim] | None) -> int | None:
    """Number of elements, None where it is not a known int."""
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return None
    return math.prod(shape)


def array(info: Info) -> np.ndarray[Any, np.dtype[np.object_]] | None:
    """The followed elements in their shape, None where they are not followed."""
    if info.values is None or count(info.shape) != len(info.values):
        return None
    flat = np.empty(len(info.values), dtype=object)
    flat[:] = info.values
    return flat.reshape(info.shape)


def fitting(
    values: tuple[Scalar, ...] | None, dtype: onnx_ir.DataType | None
) -> tuple[Scalar, ...] | None:
    """The elements without those that the type cannot hold: there a runtime would wrap around."""
    limits = None if dtype is None else _RANGES.get(dtype)
    if values is None or limits is None:
        return values
    low, high = limits
    if all(not isinstance(v, int) or low <= v <= high for v in values):
        return values
    return tuple(None if isinstance(v, int) and not low <= v <= high else v for v in values)


def flat(elements: Any) -> tuple[Scalar, ...] | None:
    """The elements of an object array as followed values; None where there are too many."""
    elements = np.asarray(elements, dtype=object)
    return tuple(elements.ravel().tolist()) if elements.size <= VALUES_LIMIT else None


def tensor_values(tensor: Any) -> tuple[Scalar, ...] | None:
    """The elements of a small constant that may steer shapes; None for weights and for what lies in other files."""
    if tensor is None or isinstance(tensor, onnx_ir.ExternalTensor):
        return None
    dtype = tensor.dtype
    limit = VALUES_LIMIT if dtype in SHAPE_INTEGERS else 64 if dtype in FLOATS else 0
    try:
        size = math.prod(tensor.shape)
        if size > limit:
            return None
        numbers = tensor.numpy().ravel()
    except (TypeError, ValueError, AttributeError):
        return None  # a symbolic or malformed constant: its shape and dtype still count
    if numbers.size != size:
        return None
    if dtype in FLOATS:
        return tuple(float(number) for number in numbers)
    return tuple(int(number) for number in numbers)
