"""Primitives of a model: every distinct operator of its graph at the sizes that are asked for, as it would be run."""
# ruff: noqa: TID253  (this file is imported where primitives are run)

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir
import torch

from energy_opt.calibrate.backend import Unrunnable
from energy_opt.calibrate.primitives import Primitive, TensorSpec, torch_name
from energy_opt.calibrate.random_tensors import bound, contiguous, dtype_of
from energy_opt.errors import DimError, one_line
from energy_opt.ir.dims import evaluate
from energy_opt.ir.graph import Graph
from energy_opt.ir.symbolic import dim_of, parsed

_INDEXED = frozenset(
    "index gather index_select take_along_dim take scatter scatter_add index_add index_copy index_put".split()
)
"""Operators whose integer operands after the first are places in the first."""
_ATTENTION = "scaled_dot_product_attention"


@dataclass
class Drawn:
    """Primitives, and what could not become one: the operator with the reason."""

    primitives: list[Primitive] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, other: Drawn) -> None:
        """Take in what the other holds; equal primitives once."""
        known = {primitive.key for primitive in self.primitives}
        self.primitives += [p for p in other.primitives if p.key not in known]
        self.left_out |= other.left_out


def primitives_of(
    graph: Graph, bindings: Sequence[Mapping[str, Any]], *, distinct: bool = True
) -> Drawn:
    """The distinct operators of the graph at each of the sizes, in the order in which they first run.

    With `distinct` false every node is there, as often as it occurs.

    Operators are followed on the meta device to learn how their operands lie in memory: a transposed operand takes
    another kernel than a contiguous one.

    Raises:
        DimError: see `Graph.bind`.
    """
    drawn = Drawn()
    for binding in bindings:
        at = graph.at(binding)
        reading = _Reading(at, at.bind(_known(at, binding)))
        if distinct:
            drawn.add(reading.read())
        else:
            drawn.primitives += reading.read(distinct=False).primitives
    return drawn


def _known(graph: Graph, binding: Mapping[str, Any]) -> dict[str, Any]:
    names = {alias for info in graph.dims.values() for alias in (info.name, *info.aliases)}
    return {name: size for name, size in binding.items() if name in names}


class _Reading:
    def __init__(self, graph: Graph, binding: Mapping[str, Any]) -> None:
        self._graph, self._binding = graph, binding
        self._strides: dict[onnx_ir.Value, tuple[int, ...]] = {}
        self._initializers = set(graph.model.graph.initializers.values())
        self._folded = {output for node in graph.folded for output in node.outputs}

    def read(self, *, distinct: bool = True) -> Drawn:
        drawn = Drawn()
        seen: set[str] = set()
        for node in self._graph.nodes():
            name = f"{node.domain}::{node.op_type}"
            try:
                primitive = self._primitive(node)
                self._follow(node, primitive)
            except (Unrunnable, DimError, ValueError) as error:
                drawn.left_out[name] = one_line(error, 200)
                continue
            if node in self._graph.folded or (distinct and primitive.key in seen):
                continue
            seen.add(primitive.key)
            drawn.primitives.append(primitive)
        return drawn

    def _primitive(self, node: onnx_ir.Node) -> Primitive:
        if node.domain != "aten":
            raise Unrunnable(f"operators of {node.domain or 'ONNX'} are not run by themselves")
        attributes = {a.name: self._plain(a.value) for a in node.attributes.values()}
        inputs = [None if value is None else self._spec(value, node) for value in node.inputs]
        outputs = tuple(self._spec(value, node) for value in node.outputs)
        return Primitive(
            f"{node.domain}::{node.op_type}",
            node.overload,
            tuple(attributes.items()),
            tuple(inputs),
            outputs,
            self._graph.source,
        )

    def _plain(self, value: Any) -> Any:
        """An attribute with its formulas evaluated."""
        if isinstance(value, (list, tuple)):
            return tuple(self._plain(item) for item in value)
        if isinstance(value, str):
            with contextlib.suppress(ValueError, DimError):
                expression = parsed(value)
                names = {str(symbol) for symbol in getattr(expression, "free_symbols", ())}
                if expression is not None and (names <= self._binding.keys() or not names):
                    return int(evaluate(expression, self._binding))
        return value

    def _spec(self, value: onnx_ir.Value, node: onnx_ir.Node) -> TensorSpec:
        dtype = torch_name(value.dtype)
        if value.shape is None or dtype is None:
            raise Unrunnable(f"{value.name}: its shape or type is not known")
        shape = tuple(int(evaluate(dim_of(dim), self._binding)) for dim in value.shape.dims)
        strides = self._strides.get(value)
        if strides == contiguous(shape):
            strides = None
        if value in self._initializers or value in self._folded:
            return TensorSpec(shape, dtype, "weight", strides=strides)
        floating = dtype.startswith(("float", "bfloat", "complex"))
        role = "activation" if floating else "mask" if dtype == "bool" else "index"
        return TensorSpec(shape, dtype, role, self._high(node), strides)  # type: ignore[arg-type]

    def _high(self, node: onnx_ir.Node) -> int:
        """The exclusive bound of integers that the node reads: places in its first operand, else small numbers."""
        first = node.inputs[0] if node.inputs else None
        if first is None or first.shape is None:
            return 2
        dims = [int(evaluate(dim_of(dim), self._binding)) for dim in first.shape.dims]
        if node.op_type == "embedding" and dims:
            return dims[0]
        return min(dims, default=1) if node.op_type in _INDEXED else 2

    def _follow(self, node: onnx_ir.Node, primitive: Primitive) -> None:
        """Learn the strides of what the node makes."""
        if node.op_type == _ATTENTION and primitive.inputs[0] is not None:
            # its kernels lay the result out as the queries are; on the meta device it is contiguous
            strides = primitive.inputs[0].strides
            if strides is not None and node.outputs[0].shape is not None:
                self._strides[node.outputs[0]] = _in_order(primitive.outputs[0].shape, strides)
            return
        function, positional, named = bound(primitive, _meta)
        try:
            made = function(*positional, **named)
        except Exception as error:
            raise Unrunnable(str(error)) from error
        tensors: Iterable[Any] = made if isinstance(made, (list, tuple)) else (made,)
        for value, tensor in zip(node.outputs, tensors, strict=False):
            if isinstance(tensor, torch.Tensor):
                self._strides[value] = tuple(tensor.stride())


def _in_order(shape: tuple[int, ...], like: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of memory without gaps whose axes lie in the order of those strides."""
    strides = [0] * len(shape)
    step = 1
    for axis in sorted(range(len(shape)), key=lambda i: (like[i], -i)):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def _meta(spec: TensorSpec, written: bool) -> torch.Tensor:
    return torch.empty_strided(
        spec.shape,
        spec.strides if spec.strides is not None else contiguous(spec.shape),
        dtype=dtype_of(spec.dtype),
        device="meta",
    )
