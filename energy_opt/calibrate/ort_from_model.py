"""Primitives of an ONNX graph: each distinct kernel that ONNX Runtime is predicted to run, with all that it fuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir

from energy_opt import passes
from energy_opt.calibrate.backend import Unrunnable
from energy_opt.calibrate.draw import CPU, Means
from energy_opt.calibrate.ort_primitives import RUNTIME, Node, OnnxPrimitive
from energy_opt.calibrate.primitives import Role, TensorSpec, torch_name
from energy_opt.errors import CalibrationError, DimError, one_line
from energy_opt.estimators.runtime import Runtime
from energy_opt.ir import shapes
from energy_opt.ir.dims import evaluate
from energy_opt.ir.graph import Graph
from energy_opt.ir.symbolic import dim_of

SIZES: tuple[Mapping[str, int], ...] = (
    {"batch": 1, "seq": 128}, {"batch": 1, "seq": 32}, {"batch": 4, "seq": 64}, {"batch": 2, "seq": 384},
)  # fmt: skip
"""Sizes at which a model's own kernels are timed where it leaves them free."""

_MOST_CONSTANTS = 64


@dataclass
class DrawnNodes:
    """Primitives, and what could not become one: the operator with the reason."""

    primitives: list[OnnxPrimitive] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def of_model(model: Any, means: Means = CPU) -> DrawnNodes:
    """The distinct kernels of an ONNX model, or of what `load` takes, at several sizes, as far as the means allow.

    Raises:
        UsageError: it is no ONNX graph.
    """
    from energy_opt.frontend import load

    graph = model if isinstance(model, Graph) else load(model)
    runtime = Runtime.load(RUNTIME)
    runtime.check(graph.vocabulary)
    fused = passes.run(graph, runtime.fusions)
    drawn = DrawnNodes()
    known: dict[str, OnnxPrimitive] = {}
    for sizes in SIZES:
        at = {name: size for name, size in sizes.items() if name in fused.dims}
        try:
            bound = fused.bind(at)
        except DimError:  # a model of another length
            continue
        for primitive in _Reading(fused, bound, drawn.left_out).read():
            if primitive.nbytes <= means.nbytes and primitive.work.matmul_flops <= means.flops:
                known.setdefault(primitive.key, primitive)
        if not at:
            break
    drawn.primitives = list(known.values())
    return drawn


class _Reading:
    """One reading of a graph at one binding of its sizes."""

    def __init__(self, graph: Graph, binding: Mapping[str, Any], left_out: dict[str, str]) -> None:
        self._graph, self._binding, self._left_out = graph, binding, left_out
        self._initializers = set(graph.model.graph.initializers.values())
        self._folded = {output for node in graph.folded for output in node.outputs}
        self._opset = graph.model.opset_imports.get("", 1)

    def read(self) -> list[OnnxPrimitive]:
        groups: dict[Any, list[onnx_ir.Node]] = {}
        for node in self._graph.model.graph:
            if node not in self._graph.folded and node not in self._graph.absorbed:
                groups.setdefault(self._graph.fused.get(node, node), []).append(node)
        found = []
        for nodes in groups.values():
            try:
                if all(self._elements(v) is not None for node in nodes for v in node.outputs):
                    continue  # shape arithmetic
                primitive = self._primitive(nodes)
                if primitive.runs:
                    found.append(primitive)
            except (Unrunnable, CalibrationError, DimError, ValueError) as error:
                name = "+".join(node.op_type for node in nodes)
                self._left_out[name] = one_line(error, 200)
        return found

    def _primitive(self, nodes: Sequence[onnx_ir.Node]) -> OnnxPrimitive:
        inside, names = set(nodes), _Names()
        tensors: dict[str, TensorSpec] = {}
        constants: dict[str, tuple[Any, ...]] = {}
        made: list[Node] = []
        for node in nodes:
            for value in (*node.inputs, *node.outputs):
                if value is None or value in names:
                    continue
                name = names.of(value)
                tensors[name] = self._spec(value, node)
                elements = self._elements(value)
                if elements is not None and value.producer() not in inside:
                    constants[name] = elements
            made.append(
                Node(
                    f"{node.domain}::{node.op_type}" if node.domain else node.op_type,
                    tuple("" if value is None else names.of(value) for value in node.inputs),
                    tuple(names.of(value) for value in node.outputs),
                    tuple((a.name, _plain(a, node)) for a in node.attributes.values()),
                )
            )
        results = [v for node in nodes for v in node.outputs if _leaves(v, inside)]
        return OnnxPrimitive(
            tuple(made),
            tuple(tensors.items()),
            tuple(names.of(value) for value in results or nodes[-1].outputs[:1]),
            tuple(constants.items()),
            self._opset,
            self._graph.source,
        )

    def _spec(self, value: onnx_ir.Value, node: onnx_ir.Node) -> TensorSpec:
        dtype = torch_name(value.dtype)
        if value.shape is None or dtype is None:
            raise Unrunnable(f"{value.name}: its shape or type is not known")
        shape = tuple(int(evaluate(dim_of(dim), self._binding)) for dim in value.shape.dims)
        if value in self._initializers or value in self._folded:
            return TensorSpec(shape, dtype, "weight")
        floating = dtype.startswith(("float", "bfloat", "complex"))
        role: Role = "activation" if floating else "mask" if dtype == "bool" else "index"
        return TensorSpec(shape, dtype, role, self._high(node))

    def _elements(self, value: onnx_ir.Value) -> tuple[Any, ...] | None:
        """The elements of a small constant, or of what follows from sizes alone."""
        if value.const_value is not None and value.const_value.size <= _MOST_CONSTANTS:
            return tuple(value.const_value.numpy().reshape(-1).tolist())
        known = shapes.known_values(value)
        if known is None:
            return None
        return tuple(int(evaluate(element, self._binding)) for element in known)

    def _high(self, node: onnx_ir.Node) -> int:
        """The exclusive bound of whole numbers that the node reads: places in its first operand, else small ones."""
        first = node.inputs[0] if node.inputs else None
        if not node.op_type.startswith("Gather") or first is None or first.shape is None:
            return 2
        dims = [int(evaluate(dim_of(dim), self._binding)) for dim in first.shape.dims]
        if node.op_type == "GatherND" or not dims:
            return min(dims, default=1)
        axis = node.attributes.get("axis")
        return dims[axis.as_int() if axis is not None else 0]


class _Names:
    """Names by order of appearance, so that equal nodes become equal primitives."""

    def __init__(self) -> None:
        self._of: dict[onnx_ir.Value, str] = {}

    def __contains__(self, value: onnx_ir.Value) -> bool:
        return value in self._of

    def of(self, value: onnx_ir.Value) -> str:
        return self._of.setdefault(value, f"v{len(self._of)}")


def _leaves(value: onnx_ir.Value, inside: set[onnx_ir.Node]) -> bool:
    """Whether something outside reads the value."""
    return value.is_graph_output() or any(user not in inside for user, _ in value.uses())


def _plain(attribute: Any, node: onnx_ir.Node) -> Any:
    if attribute.is_ref() or not isinstance(attribute.value, (int, float, str, tuple, list)):
        raise Unrunnable(f"{node.op_type}: its attribute {attribute.name} is a graph or a tensor")
    value = attribute.value
    return tuple(value) if isinstance(value, list) else value
