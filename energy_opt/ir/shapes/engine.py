"""The walk over a graph: each node once, in order, with what its inputs are known to be.

Equal nodes have equal results: a layer that occurs 32 times is inferred once, unless a result is a symbol of its own.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir
import sympy

from energy_opt.errors import ModelError
from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes import (
    classic,
    contrib,
    elementwise,
    indexing,
    layout,
    neural,
    reshape,
    sequence,
    signal,
    windows,
)
from energy_opt.ir.shapes.control import CONTROL
from energy_opt.ir.shapes.info import Call, Info, short, spell, tensor_values
from energy_opt.ir.shapes.library import library_rule
from energy_opt.ir.shapes.registry import RULES
from energy_opt.ir.shapes.sequence import of_type
from energy_opt.ir.shapes.space import Space
from energy_opt.ir.shapes.values import EQUAL_KEY, LIMIT, MINTED_KEY, VALUES_KEY

MODULES = (
    classic,
    contrib,
    elementwise,
    indexing,
    layout,
    neural,
    reshape,
    sequence,
    signal,
    windows,
)
"""Imported for the rules that they register."""

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


def infer(model: onnx_ir.Model, *, trust_declared: bool = True) -> None:
    """Write the shape and dtype of every value of the model, in place.

    Dims that nothing tells become new symbols (`minted` lists them). Where the file declares shapes they fill in what
    cannot be inferred; `trust_declared=False` ignores those of node outputs, for a graph that a pass has changed.

    Raises:
        ModelError: the graph contradicts itself; says at which node, with which shapes.
    """
    engine = Engine(model, trust_declared)
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
    model.meta[MINTED_KEY] = engine.space.minted
    model.meta[EQUAL_KEY] = list(engine.space.equal)


class Engine:
    """The state of one walk."""

    def __init__(self, model: onnx_ir.Model, trust_declared: bool = True) -> None:
        self.model = model
        self.space = Space()
        self.depth = 0
        self.versions: Mapping[str, int] = dict(model.opset_imports)
        self.scope: Mapping[str, onnx_ir.Attr] | None = None
        self.infos: dict[onnx_ir.Value, Info] = {}
        self._trust = trust_declared
        self._cache: dict[Any, list[Info]] = {}
        self._declared: dict[onnx_ir.Value, Info] = {}
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

    def run(self, graph: onnx_ir.Graph | onnx_ir.Function) -> None:
        """Walk the nodes of a graph. Raises ModelError where it contradicts itself."""
        for node in graph:
            self.node(node)

    def enter(self, graph: onnx_ir.Graph | onnx_ir.Function) -> None:
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
            raise ModelError("the model's functions and loops expand to too many nodes")
        domain = node.domain
        if domain == "ai.onnx":
            domain = ""
        op = node.op_type
        self.space.where = (op, node.name or "")
        if domain == "" and op == "Constant":
            self._store(node, [self._constant(node)], None)
            return
        attrs, signature = self._attributes(node)
        inputs = tuple([None if value is None else self.info(value) for value in node.inputs])
        version = self.versions.get(domain, self.versions.get("ai.onnx", 1) if not domain else 1)
        call = Call(
            self.space, node.name or "", domain, op, version, inputs, attrs, len(node.outputs)
        )
        control = CONTROL.get(op) if domain == "" else None
        if control is not None:
            self._store(node, control(self, node, call), call)
            return
        key = (domain, op, version, inputs, signature, len(node.outputs))
        hashable = True
        try:
            cached = self._cache.get(key)
        except TypeError:  # an attribute that cannot be hashed
            hashable, cached = False, None
        if cached is None:
            before = len(self.space.minted)
            cached = self._infer(node, call)
            if hashable and len(self.space.minted) == before:
                self._cache[key] = cached
        self._store(node, cached, call)

    def _infer(self, node: onnx_ir.Node, call: Call) -> list[Info]:
        function = self.model.functions.get((node.domain, node.op_type, node.overload))
        try:
            if function is not None:
                return self._function(node, call, function)
            rule = RULES.get((call.domain, call.op))
            results = list(rule(call)) if rule is not None else library_rule(self, node, call)
        except ModelError:
            raise
        except RecursionError:
            raise
        except _MODEL_FAULTS:
            return []
        for info in results:
            for dim in info.shape or ():
                if isinstance(dim, int) and dim < 0:
                    call.fail(f"the result {spell(info)} would have a negative size")
        return results

    def _attributes(self, node: onnx_ir.Node) -> tuple[dict[str, Any], Any]:
        """Attribute values by name, and what of them tells two nodes apart."""
        attributes = node.attributes
        if not attributes:
            return {}, ()
        values: dict[str, Any] = {}
        signature: list[Any] = []
        for name, attr in attributes.items():
            if attr.ref_attr_name is not None:
                resolved = None if self.scope is None else self.scope.get(attr.ref_attr_name)
                if resolved is None:
                    continue
                attr = resolved
            value = attr.value
            values[name] = value
            if isinstance(value, (int, float, str)):
                signature.append((name, value))
            elif isinstance(value, (list, tuple)):
                signature.append((name, tuple(value)))
            else:
                signature.append((name, id(value)))
        return values, tuple(signature)

    def _constant(self, node: onnx_ir.Node) -> Info:
        """The value that a Constant node holds."""
        attrs, _ = self._attributes(node)
        for name, value in attrs.items():
            if name == "value":
                shape = tuple(int(dim) for dim in value.shape)
                return Info(shape, value.dtype, tensor_values(value))
            if name == "sparse_value":
                return Info(tuple(int(dim) for dim in value.dims), value.values.dtype)
            kind = _CONSTANTS.get(name)
            if kind is None:
                continue
            items = tuple(value) if isinstance(value, (list, tuple)) else (value,)
            scalar = not isinstance(value, (list, tuple))
            followed = items if kind is not onnx_ir.DataType.STRING and len(items) <= 1024 else None
            return Info(() if scalar else (len(items),), kind, followed)
        return self._given(node.outputs[0]) if node.outputs else Info()

    def _function(self, node: onnx_ir.Node, call: Call, function: onnx_ir.Function) -> list[Info]:
        """Results of a call of one of the model's own functions."""
        saved = self.versions, self.scope
        scope = {name: attr for name, attr in function.attributes.items() if attr.value is not None}
        for name, attr in node.attributes.items():
            if attr.ref_attr_name is None:
                scope[name] = attr
            elif self.scope is not None and attr.ref_attr_name in self.scope:
                scope[name] = self.scope[attr.ref_attr_name]
        for index, value in enumerate(function.inputs):
            given = call.optional(index)
            self.set(value, Info() if given is None else given)
        self.versions, self.scope = {**self.versions, **function.opset_imports}, scope
        try:
            self.enter(function)
        finally:
            self.versions, self.scope = saved
        return [self.info(value) for value in function.outputs]

    def _store(self, node: onnx_ir.Node, results: Sequence[Info], call: Call | None) -> None:
        for index, value in enumerate(node.outputs):
            info = results[index] if index < len(results) else Info()
            if value.shape is not None or value.type is not None:
                info = self._merged(value, info, call)
            self.set(value, info)

    # --- declared shapes ---

    def _merged(self, value: onnx_ir.Value, info: Info, call: Call | None) -> Info:
        """The inferred shape and dtype, completed by those that the file declares."""
        declared = self._declared.get(value)
        if declared is None:
            declared = self._declared[value] = self._read_declared(value)
        if not self._trust:
            return info
        dtype = info.dtype if declared.dtype is None else declared.dtype
        nest = info.nest if info.dtype is not None or info.nest else declared.nest
        if info.shape is None:
            return info._replace(shape=self._named(value, declared.shape), dtype=dtype, nest=nest)
        if declared.shape is None or declared.nest != info.nest:
            return info._replace(dtype=dtype)
        if len(declared.shape) != len(info.shape):
            # exporters write an empty shape where they do not know the rank
            if declared.shape and not self.depth and not info.nest:
                self._contradiction(value, declared, info, call)
            return info._replace(dtype=dtype)
        dims: list[Dim] = []
        for said, found in zip(declared.shape, info.shape, strict=True):
            if isinstance(said, int) and isinstance(found, int) and said != found:
                if not self.depth:
                    self._contradiction(value, declared, info, call)
                dims.append(found)
            elif said is not None and self.space.is_minted(found):
                dims.append(said)
            else:
                dims.append(found)
        return info._replace(shape=tuple(dims), dtype=dtype)

    def _read_declared(self, value: onnx_ir.Value) -> Info:
        """The declared type; dims that say nothing are None."""
        kind = of_type(self.space, value.type, None)
        if value.shape is None:
            return kind
        return kind._replace(shape=tuple(self.space.read(dim) for dim in value.shape.dims))

    def _named(self, value: onnx_ir.Value, shape: tuple[Dim, ...] | None) -> tuple[Dim, ...] | None:
        if not shape:  # an empty one is also written where the rank is not known
            return None
        return tuple(self.space.fresh() if dim is None else dim for dim in shape)

    def _contradiction(
        self, value: onnx_ir.Value, declared: Info, info: Info, call: Call | None
    ) -> None:
        shown = tuple("?" if dim is None else dim for dim in declared.shape or ())
        said = spell(Info(shown))
        message = (
            f"the file declares {short(value.name)} as {said}, but the node computes {spell(info)}"
        )
        advice = "declare what is computed, or remove the declared shapes from the file"
        if call is None:
            raise ModelError(f"{message}; {advice}")
        call.fail(message, advice)


_CONSTANTS = {
    "value_float": onnx_ir.DataType.FLOAT,
    "value_floats": onnx_ir.DataType.FLOAT,
    "value_int": onnx_ir.DataType.INT64,
    "value_ints": onnx_ir.DataType.INT64,
    "value_string": onnx_ir.DataType.STRING,
    "value_strings": onnx_ir.DataType.STRING,
}
