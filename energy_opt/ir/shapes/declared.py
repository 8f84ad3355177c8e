"""Shapes that the file declares of computed values: they complete what is inferred, and must not contradict it."""

from __future__ import annotations

import onnx_ir
import sympy

from energy_opt.errors import ModelError
from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.info import Call, Info, short, spell
from energy_opt.ir.shapes.sequence import of_type
from energy_opt.ir.shapes.space import Space


def settles(said: Dim | None, found: Dim | None) -> bool:
    """Whether a declared size says which of several is the largest: a cache's buffer, or the tokens so far."""
    return said is not None and isinstance(found, sympy.Max) and said in found.args


class Declared:
    """What the file says of the values that nodes compute, as it was before the walk wrote over it."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._known: dict[onnx_ir.Value, Info] = {}

    def complete(self, value: onnx_ir.Value, info: Info, call: Call | None, depth: int) -> Info:
        """The inferred shape and dtype, completed by what is declared of the value.

        Inside loops and branches, where exporters often leave shapes of another iteration, what is inferred wins.

        Raises:
            ModelError: sizes or ranks contradict, in the main graph.
        """
        declared = self._known.get(value)
        if declared is None:
            declared = self._known[value] = self._read(value)
        dtype = info.dtype if declared.dtype is None else declared.dtype
        if info.shape is None:
            nest = info.nest if info.dtype is not None or info.nest else declared.nest
            return info._replace(shape=self._named(declared.shape), dtype=dtype, nest=nest)
        if declared.shape is None or declared.nest != info.nest:
            return info._replace(dtype=dtype)
        if len(declared.shape) != len(info.shape):
            # exporters write an empty shape where they do not know the rank
            if declared.shape and not depth and not info.nest:
                self._refuse(value, declared, info, call)
            return info._replace(dtype=dtype)
        dims: list[Dim] = []
        for said, found in zip(declared.shape, info.shape, strict=True):
            if isinstance(said, int) and isinstance(found, int) and said != found and not depth:
                self._refuse(value, declared, info, call)
            unknown = self._space.is_minted(found) or settles(said, found)
            dims.append(said if said is not None and unknown else found)
        return info._replace(shape=tuple(dims), dtype=dtype)

    def _read(self, value: onnx_ir.Value) -> Info:
        """The declared type; dims that say nothing are None."""
        kind = of_type(self._space, value.type, None)
        if value.shape is None:
            return kind
        dims: list[Dim | None] = [self._space.read(dim) for dim in value.shape.dims]
        return kind._replace(shape=tuple(dims))

    def _named(self, shape: tuple[Dim | None, ...] | None) -> tuple[Dim, ...] | None:
        if not shape:  # an empty one is also written where the rank is not known
            return None
        return tuple(self._space.fresh() if dim is None else dim for dim in shape)

    def _refuse(self, value: onnx_ir.Value, declared: Info, info: Info, call: Call | None) -> None:
        shown = (
            "[" + ", ".join("?" if dim is None else str(dim) for dim in declared.shape or ()) + "]"
        )
        message = f"the file declares {short(value.name)} as {shown[:200]}, but the node computes {spell(info)}"
        advice = "declare what is computed, or remove the declared shapes from the file"
        if call is None:
            raise ModelError(f"{message}; {advice}")
        call.fail(message, advice)
