"""Sympy out of onnx_ir's dims and text: the one place that knows the names under which onnx_ir keeps it."""

from __future__ import annotations

from typing import Any

import onnx_ir
import sympy

from energy_opt.ir.dims import Dim


def dim_of(dim: Any) -> Dim:
    """A dim from one of an onnx_ir shape's entries. Raises ValueError for an unknown (anonymous) one."""
    if isinstance(dim, int):
        return dim
    expression = dim._expr
    if expression is None:
        raise ValueError("unknown dim")
    return int(expression) if expression.is_Integer else expression


def parsed(text: str) -> sympy.Expr | None:
    """The expression that the text spells, read without `eval`; None for other sympy objects.

    Raises:
        ValueError: it cannot be read.
    """
    expression = onnx_ir.SymbolicDim(text)._expr
    return expression if isinstance(expression, sympy.Expr) else None


def carried(dim: onnx_ir.SymbolicDim) -> sympy.Expr | None:
    """The expression that the dim was made from; None where it is text from a file, which nobody has parsed yet."""
    return dim._expr_cache
