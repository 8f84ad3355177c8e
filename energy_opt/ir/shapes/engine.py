"""The walk over a graph: each node once, in order, with what its inputs are known to be.

Equal nodes have equal results: a layer that occurs 32 times is inferred once, unless a result is a symbol of its own.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir
import sympy

from energy_opt.errors import ModelError
from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes import (  # noqa: F401  (importing a file registers its rules)
    attention,
    classic,
    contrib,
    einsum,
    elementwise,
    indexing,
    layout,
    neural,
    reshape,
    selecting,
    sequence,
    signal,
    windows,
)
from energy_opt.ir.shapes.constant import constant_info
from energy_opt.ir.shapes.control import CONTROL
from energy_opt.ir.shapes.declared import Declared
from energy_opt.ir.shapes.evidence import note_alike
from energy_opt.ir.shapes.info import Call, Info, spell, tensor_values
from energy_opt.ir.shapes.library import library_rule
from energy_opt.ir.shapes.registry import RULES
from energy_opt.ir.shapes.sequence import of_type
from energy_opt.ir.shapes.space import Space
from energy_opt.ir.shapes.values import EQUAL_KEY, LIMIT, MINTED_KEY, VALUES_KEY

DEPTH_LIMIT = 32
"""Graphs inside graphs; exporters nest two or three."""

_MODEL_FAULTS = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    NotImplementedError,
)
"""What a rule may meet in a node that is not as its schema says: the node's outputs then stay unknown."""


def infer(model: onnx_ir.Model) -> None:
    """Write the shape and dtype of every value of the model, in place; its own functions have been inlined before.

    Dims that nothing tells become new symbols (`minted` lists them). Where the file declares shapes they fill in what
    cannot be inferred.

    Raises:
        ModelError: the graph contradicts itself; says at which node, with which shapes.
    """
    engine = Engine(model)
    was_enabled = gc.isenabled()
    gc.disable()  # a hundred thousand live shapes make each collection dear, and none of them is garbage
    try:
        engine.run_model()
    except RecursionError:
        raise ModelError(
            "the model's graphs or expressions are nested too deeply to be analysed"
        ) from None
    finally:
        if was_enabled:
            gc.enable()
    # a second walk meets the first one's symbols as the file's own
    model.meta[MINTED_KEY] = {**model.meta.get(MINTED_KEY, {}), **engine.space.minted}
    model.meta[EQUAL_KEY] = list(engine.space.equal)


class Engine:
    """The state of one walk."""

    def __init__(self, model: onnx_ir.Model) -> None:
        self.model = model
        self.space = Space()
        self.depth = 0
        self.versions: Mapping[str, int] = dict(model.opset_imports)
        self.infos: dict[onnx_ir.Value, Info] = {}
        self._cache: dict[Any, list[Info]] = {}
        self._declared = Declared(self.space)
        self._budget = 20_000

    def run_model(self) -> None:
        """Walk the main graph."""
        graph = self.model.graph
        self._budget += 30 * len(graph)
        for node in graph.all_nodes():
            for value in node.outputs:
                self._reserve(value)
        for value in (*graph.inputs, *graph.initializers.values()):
            self._reserve(value)
        for value in graph.inputs:
            self.space.where = ("", value.name or "")
            self.set(value, self._given(value))
        self.run(graph)

    def _reserve(self, value: onnx_ir.Value) -> None:
        if value.shape is not None:
            for dim in value.shape.dims:
                if not isinstance(dim, int) and dim.value is not None:
                    self.space.reserve([dim.value])

    def run(self, graph: onnx_ir.Graph) -> None:
        """Walk the nodes of a graph. Raises ModelError where it contradicts itself."""
        for node in graph:
            self.node(node)

    def enter(self, graph: onnx_ir.Graph) -> None:
        """Walk a graph inside a node. Raises ModelError where they are nested beyond reason."""
        if self.depth >= DEPTH_LIMIT:
            raise ModelError(f"graphs are nested more than {DEPTH_LIMIT} deep")
        self.depth += 1
        try:
            self.run(graph)
        finally:
            self.depth -= 1

    # --- values ---

    def info(self, value: onnx_ir.Value) -> Info:
        """What is known of a value."""
        known = self.infos.get(value)
        if known is None:
            known = self._given(value)
            self.set(value, known)
        return known

    def _given(self, value: onnx_ir.Value) -> Info:
        """What the file itself says of a value that no walked node has made: an input, a weight."""
        tensor = value.const_value
        if tensor is not None:
            try:
                shape: Any = tuple(int(dim) for dim in tensor.shape)  # type: ignore[arg-type]
            except (TypeError, ValueError):
                shape = None
            return Info(shape, tensor.dtype, tensor_values(tensor))
        if value.shape is None:
            return of_type(self.space, value.type, None)
        dims: list[Dim] = []
        for axis, dim in enumerate(value.shape.dims):
            known = self.space.read(dim)
            if known is None:
                known = self.space.fresh("input", f"{value.name or 'input'}_dim_{axis}")
            dims.append(known)
        return of_type(self.space, value.type, None)._replace(shape=tuple(dims))

    def set(self, value: onnx_ir.Value, info: Info) -> None:
        """Note what is known of a value, here and in the graph."""
        self.infos[value] = info
        write = self.space.write
        value.shape = None if info.shape is None else onnx_ir.Shape([write(d) for d in info.shape])
        if info.dtype is not None and (value.dtype is not info.dtype or info.nest):
            kind: Any = onnx_ir.TensorType(info.dtype)
            for wrap in reversed(info.nest):
                kind = onnx_ir.SequenceType(kind) if wrap == "s" else onnx_ir.OptionalType(kind)
            value.type = kind
        values = info.values
        if (
            values is not None
            and len(values) <= LIMIT
            and all(isinstance(item, (int, sympy.Expr)) for item in values)
        ):
            value.meta[VALUES_KEY] = values
            return
        if value._metadata is not None:
            value.meta.pop(VALUES_KEY, None)

    # --- nodes ---

    def node(self, node: onnx_ir.Node) -> None:
        """Infer one node. Raises ModelError where it contradicts its inputs or the file."""
        self._budget -= 1
        if self._budget < 0:
            raise ModelError("the model's loops expand to too many nodes")
        domain = node.domain
        if domain == "ai.onnx":
            domain = ""
        op = node.op_type
        self.space.where = (op, node.name or "")
        if domain == "" and op == "Constant":
            try:
                found = constant_info(self._attributes(node)[0])
            except _MODEL_FAULTS:
                found = None
            if found is None:  # a reader took the tensor out and left its shape
                found = self._given(node.outputs[0]) if node.outputs else Info()
            self._store(node, [found], None)
            return
        attrs, signature = self._attributes(node)
        inputs = tuple([None if value is None else self.info(value) for value in node.inputs])
        version = self.versions.get(domain, self.versions.get("ai.onnx", 1) if not domain else 1)
        call = Call(
            self.space, node.name or "", domain, op, version, inputs, attrs, len(node.outputs)
        )
        control = CONTROL.get(f"{domain}::{op}" if domain else op)
        if control is not None:
            self._store(node, self._guarded(control, node, call), call)
            return
        key = (domain, op, version, inputs, signature, len(node.outputs))
        hashable = True
        try:
            cached = self._cache.get(key)
        except TypeError:  # an attribute that cannot be hashed
            hashable, cached = False, None
        if cached is None:
            before = len(self.space.minted)
            cached = self.plain(node, call)
            if hashable and len(self.space.minted) == before:
                self._cache[key] = cached
        self._store(node, cached, call)

    def plain(self, node: onnx_ir.Node, call: Call) -> list[Info]:
        """What the node's own rule infers. Raises ModelError where it contradicts its inputs."""
        results = self._guarded(_plain, node, call)
        note_alike(call)
        for info in results:
            for dim in info.shape or ():
                if isinstance(dim, int) and dim < 0:
                    call.fail(f"the result {spell(info)} would have a negative size")
        return results

    def _guarded(self, function: _NodeRule, node: onnx_ir.Node, call: Call) -> list[Info]:
        """What the function infers; nothing where the node is not as its schema says. Raises ModelError."""
        try:
            return list(function(self, node, call))
        except (ModelError, RecursionError):
            raise
        except _MODEL_FAULTS:
            return []

    def _attributes(self, node: onnx_ir.Node) -> tuple[dict[str, Any], Any]:
        """Attribute values by name, and what of them tells two nodes apart."""
        attributes = node.attributes
        if not attributes:
            return {}, ()
        values: dict[str, Any] = {}
        signature: list[Any] = []
        for name, attr in attributes.items():
            if attr.is_ref():  # to an attribute of a function's caller, which no graph has
                continue
            value = attr.value
            values[name] = value
            if isinstance(value, (int, float, str)):
                signature.append((name, value))
            elif isinstance(value, (list, tuple)):
                signature.append((name, tuple(value)))
            else:
                signature.append((name, id(value)))
        return values, tuple(signature)

    def _store(self, node: onnx_ir.Node, results: Sequence[Info], call: Call | None) -> None:
        for index, value in enumerate(node.outputs):
            info = results[index] if index < len(results) else Info()
            if value.shape is not None or value.type is not None:
                info = self._declared.complete(value, info, call, self.depth)
            self.set(value, info)


def _plain(engine: Engine, node: onnx_ir.Node, call: Call) -> Sequence[Info]:
    """A node without inner graphs: one of our rules, or the library."""
    rule = RULES.get((call.domain, call.op))
    return rule(call) if rule is not None else library_rule(engine, node, call)


_NodeRule = Callable[[Engine, onnx_ir.Node, Call], Sequence[Info]]
