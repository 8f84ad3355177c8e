"""Shapes, dtypes and small values of every value of a graph, symbolic where the model is.

`infer` walks the graph once and writes `value.shape` and `value.dtype`; `known_values` reads the elements of the small
integer tensors that shapes are computed from; `equalities` says which symbols must be the same number; `minted` lists
symbols that the model did not name, `trip_count` says how often the body of a loop runs, `settles` whether a declared
size knows more than an inferred one.
"""

from __future__ import annotations

from energy_opt.ir.shapes.declared import settles
from energy_opt.ir.shapes.engine import infer
from energy_opt.ir.shapes.values import (
    equalities,
    known_values,
    minted,
    requirements,
    trip_count,
)

__all__ = ["equalities", "infer", "known_values", "minted", "requirements", "settles", "trip_count"]
