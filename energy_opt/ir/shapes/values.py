"""The elements of small integer tensors that shapes are computed from."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir
import sympy

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.info import SHAPE_INTEGERS, tensor_values
from energy_opt.ir.shapes.space import Minted

LIMIT = 64
"""Elements that `known_values` tells at most."""

VALUES_KEY = "energy_opt.values"
MINTED_KEY = "energy_opt.minted"
EQUAL_KEY = "energy_opt.equal"
TRIP_KEY = "energy_opt.trip_count"


def known_values(value: onnx_ir.Value) -> tuple[Dim, ...] | None:
    """Elements of a small integer tensor, flattened, ints or dims; None where not all are known or there are > 64.

    Answers from what `infer` followed through the graph, else from a constant's own bytes.
    """
    # Asking for `meta` makes one, for each of perhaps 100,000 values.
    followed = value.meta.get(VALUES_KEY) if value._metadata is not None else None
    if followed is None and value.const_value is not None:
        if value.const_value.dtype not in SHAPE_INTEGERS:
            return None
        followed = tensor_values(value.const_value)
    if followed is None or len(followed) > LIMIT:
        return None
    if all(isinstance(item, (int, sympy.Expr)) for item in followed):
        return tuple(followed)
    return None


def minted(model: onnx_ir.Model) -> Mapping[str, Minted]:
    """Symbols that `infer` had to invent, and where each comes from: an input axis, data, a loop's trip count."""
    known: Mapping[str, Minted] = model.meta.get(MINTED_KEY, {})
    return known


def trip_count(node: onnx_ir.Node) -> Dim | None:
    """How often the body of a Loop or Scan runs, as `infer` found it; None for other nodes."""
    count: Dim | None = node.meta.get(TRIP_KEY)
    return count


def equalities(model: onnx_ir.Model) -> list[tuple[Dim, Dim]]:
    """Pairs of different symbolic dims that the operators met by `infer` force to be equal, first met first.

    Evidence are the axes of elementwise operators, inner sizes of matrix products, the other axes of a concatenation
    and operands of attention. A broadcasting axis might also be 1 on one side: models that mean that are rare.
    """
    return [
        pair for pair in model.meta.get(EQUAL_KEY, ()) if not any(isinstance(d, int) for d in pair)
    ]


def requirements(model: onnx_ir.Model) -> list[tuple[Dim, int]]:
    """Symbolic dims that the operators met by `infer` force to a number: a weight's size, a constant's."""
    pairs = []
    for left, right in model.meta.get(EQUAL_KEY, ()):
        if isinstance(left, int) != isinstance(right, int):
            pairs.append((right, left) if isinstance(left, int) else (left, right))
    return pairs
