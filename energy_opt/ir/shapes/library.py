"""The onnx_shape_inference library behind our own rules: its function for one op, run on one node."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import onnx_ir
import sympy
from onnx_shape_inference import OpUsageError, ShapeInferenceContext, ShapeInferenceError, registry

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.info import Call, Info
from energy_opt.ir.shapes.sequence import of_type
from energy_opt.ir.symbolic import carried

if TYPE_CHECKING:
    from energy_opt.ir.shapes.engine import Engine


class _Context(ShapeInferenceContext):  # type: ignore[misc]
    """The library's view of our walk: its new symbols are ours, its followed values are ours."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(dict(engine.versions) or None, policy="override")
        self._engine = engine
        self.found: dict[onnx_ir.Value, Any] = {}

    def new_symbolic_dim(self) -> onnx_ir.SymbolicDim:
        return onnx_ir.SymbolicDim(self._engine.space.fresh())

    def is_generated_symbol(self, name: str) -> bool:
        return name in self._engine.space.minted

    def get_symbolic_value(self, value: onnx_ir.Value) -> list[int | onnx_ir.SymbolicDim] | None:
        known = self._engine.info(value).values
        if known is None or not all(isinstance(item, (int, sympy.Expr)) for item in known):
            return None
        return [self._engine.space.write(item) for item in known]

    def set_symbolic_value(self, value: onnx_ir.Value, data: list[Any]) -> None:
        self.found[value] = data


def library_rule(engine: Engine, node: onnx_ir.Node, call: Call) -> list[Info]:
    """What the library infers for the node; nothing where it does not know the op.

    Raises:
        ModelError: the library refuses the node.
    """
    function = _lookup(call.domain, call.op, call.version)
    if function is None:
        return []
    context = _Context(engine)
    saved = [(value.shape, value.type) for value in node.outputs]
    for value in node.outputs:
        value.shape = value.type = None
    try:
        function(context, node)
        return [_read(engine, value, context.found.get(value)) for value in node.outputs]
    except (OpUsageError, ShapeInferenceError) as error:
        call.fail(str(error.message)[:300])
    finally:
        for value, (shape, kind) in zip(node.outputs, saved, strict=True):
            value.shape, value.type = shape, kind


def _lookup(domain: str, op: str, version: int) -> Any:
    known = _registry()
    function = known.get(domain, op, version)
    if function is None and known.has(domain, op):
        # Newer than our model: the oldest that it knows comes closest.
        function = known.get(domain, op, min(known.version_boundaries(domain, op)))
    return function


@cache
def _registry() -> Any:
    registry.collect()
    return registry


def _read(engine: Engine, value: onnx_ir.Value, data: list[Any] | None) -> Info:
    info = of_type(engine.space, value.type, None)
    if value.shape is not None:
        info = info._replace(shape=tuple(_dim(engine, dim) for dim in value.shape.dims))
    if data is not None:
        info = info._replace(values=tuple(_dim(engine, item) for item in data))
    return info


def _dim(engine: Engine, dim: int | onnx_ir.SymbolicDim) -> Dim:
    if isinstance(dim, int):
        return dim
    if dim.value is None:
        return engine.space.fresh()
    expression = carried(dim)
    return engine.space.parse(dim.value) if expression is None else engine.space.bounded(expression)
