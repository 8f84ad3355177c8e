"""Attributes and shapes as rules want them: of the right type, or a ValueError, whatever a file says."""

from __future__ import annotations

import sympy

from energy_opt.ir.dims import Dim
from energy_opt.ir.op import Op
from energy_opt.ir.symbolic import parsed


def integer(op: Op, name: str, default: int) -> int:
    """The integer attribute. Raises ValueError where it is something else."""
    value = op.attr(name)
    if value is None:
        return default
    if not isinstance(value, int):
        raise ValueError(f"attribute {name} is not an integer")
    return int(value)


def positive(op: Op, name: str, default: int = 0) -> int:
    """The integer attribute, at least 1. Raises ValueError where it is not given or less."""
    value = integer(op, name, default)
    if value < 1:
        raise ValueError(f"attribute {name} is {value}")
    return value


def integers(op: Op, name: str) -> tuple[int, ...]:
    """The attribute's list of integers, empty where it is not set. Raises ValueError where it is something else."""
    value = op.attr(name)
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, int) for item in value):
        raise ValueError(f"attribute {name} is not a list of integers")
    return tuple(value)


def number(op: Op, name: str, default: float) -> float:
    """The numeric attribute. Raises ValueError where it is something else."""
    value = op.attr(name)
    if value is None:
        return default
    if not isinstance(value, (int, float)):
        raise ValueError(f"attribute {name} is not a number")
    return float(value)


def text(op: Op, name: str, default: str) -> str:
    """The text attribute, decoded where a front-end left bytes."""
    value = op.attr(name)
    if value is None:
        return default
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def size(op: Op, name: str) -> Dim | None:
    """The attribute as a size, a number or the text of a formula; None where it is not set.

    Raises:
        ValueError: it is something else.
    """
    value = op.attr(name)
    if isinstance(value, str):
        value = parsed(value)
        if value is None:
            raise ValueError(f"attribute {name} is not a size")
        return value
    return None if value is None else integer(op, name, 0)


def sizes(op: Op, name: str) -> tuple[Dim, ...]:
    """The attribute's list of sizes, each a number or the text of a formula; one number is a list of one.

    Raises:
        ValueError: it is something else.
    """
    value = op.attr(name)
    found: list[Dim] = []
    for item in value if isinstance(value, (list, tuple)) else () if value is None else (value,):
        dim = parsed(item) if isinstance(item, str) else item
        if not isinstance(dim, (int, sympy.Expr)):
            raise ValueError(f"attribute {name} is not a list of sizes")
        found.append(int(dim) if not isinstance(dim, int) and dim.is_Integer else dim)
    return tuple(found)


def length(op: Op, name: str) -> int:
    """How many items the list or tensor attribute has; 0 where it is not set."""
    value = op.attr(name)
    if value is None:
        return 0
    size = getattr(value, "size", None)  # a tensor: the elements stay unread
    if isinstance(size, int):
        return size
    return len(value) if isinstance(value, (list, tuple)) else 1


def shape(op: Op, index: int, rank: int = 0) -> tuple[Dim, ...]:
    """The dims of an input. Raises ValueError where it is missing, unknown or has fewer than `rank` dims."""
    dims = op.need(index).dims
    if len(dims) < rank:
        raise ValueError(f"input {index} has rank {len(dims)}, not {rank} or more")
    return dims


def result(op: Op, index: int, rank: int) -> tuple[Dim, ...]:
    """The dims of an output. Raises ValueError where it is missing, unknown or has fewer than `rank` dims."""
    dims = op.outputs[index].shape if index < len(op.outputs) else None
    if dims is None or len(dims) < rank:
        raise ValueError(f"output {index} is missing, unknown or not of rank {rank} or more")
    return dims


def given(op: Op, index: int) -> int:
    """1 where the optional input is there, else 0."""
    return 0 if op.input(index) is None else 1


def axis_of(op: Op, rank: int, default: int, name: str = "axis") -> int:
    """The axis attribute counted from the front. Raises ValueError where the tensor has no such axis."""
    axis = integer(op, name, default)
    if not -rank <= axis < max(rank, 1):
        raise ValueError(f"axis {axis} of a tensor of rank {rank}")
    return axis % rank if rank else 0
