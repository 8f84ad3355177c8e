"""Recording -> Graph: an onnx_ir model in the `aten` vocabulary, node for node.

Conventions (docs/conventions.md): an operator `aten::add.Tensor` is a node of domain `aten`, op type `add`, overload
`Tensor`. Its tensor arguments are inputs in the order of the schema; every other argument is an attribute under its
schema name, with symbolic sizes as text. `is_view` is 1 where the first output lives in the memory of an operand and
nothing is written, `in_place` is 1 where an operand is changed.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnx_ir

from energy_opt.frontend.pytorch.recording import Call, Recording, Target, Type
from energy_opt.frontend.symbols import to_ir
from energy_opt.ir.graph import BRANCH, PATH, TRIPS, Graph

_DTYPES = {
    "float64": "DOUBLE", "float32": "FLOAT", "float16": "FLOAT16", "bfloat16": "BFLOAT16",
    "int64": "INT64", "int32": "INT32", "int16": "INT16", "int8": "INT8", "uint8": "UINT8",
    "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "bool": "BOOL",
    "complex64": "COMPLEX64", "complex128": "COMPLEX128", "float8_e4m3fn": "FLOAT8E4M3FN",
    "float8_e4m3fnuz": "FLOAT8E4M3FNUZ", "float8_e5m2": "FLOAT8E5M2",
    "float8_e5m2fnuz": "FLOAT8E5M2FNUZ", "float8_e8m0fnu": "FLOAT8E8M0",
    "qint8": "INT8", "quint8": "UINT8", "qint32": "INT32", "int4": "INT4", "uint4": "UINT4",
}  # fmt: skip
_VERSION = 1  # of an operator set: torch's operators have none


def lower(recording: Recording, source: str) -> Graph:
    """The recording as a graph; `source` is what reports call it."""
    lowering = _Lowering(recording)
    model = lowering.model(source)
    return Graph(
        model,
        source,
        vocabulary="aten",
        dims=dict(recording.dims),
        modules=dict(recording.modules),
        notes=list(recording.notes),
        folded=frozenset(lowering.folded),
    )


class _Lowering:
    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._values: dict[int, onnx_ir.Value] = {}
        self._shapes: dict[Type, tuple[onnx_ir.Shape, onnx_ir.TensorType]] = {}
        self._attributes: dict[int, dict[str, onnx_ir.Attr]] = {}
        self._names: Counter[str] = Counter()
        self._domains: set[str] = set()
        self._constant: set[onnx_ir.Value] = set()
        self.folded: set[onnx_ir.Node] = set()

    def model(self, source: str) -> onnx_ir.Model:
        """The whole model; every weight is an initializer without data."""
        recording = self._recording
        graph_inputs = [self._value(number, name, recording) for name, number in recording.inputs]
        weights = []
        for number, weight in recording.weights.items():
            value = self._value(number, weight.name, recording)
            value.meta["parameter"] = weight.parameter
            weights.append(value)
        self._constant.update(weights)
        nodes = [self._node(call, recording) for call in recording.calls]
        outputs = [self._values[number] for number in recording.outputs if number in self._values]
        graph = onnx_ir.Graph(
            graph_inputs,
            list(dict.fromkeys(outputs)),
            nodes=nodes,
            initializers=weights,
            opset_imports=dict.fromkeys(sorted(self._domains), _VERSION),
            name=source,
        )
        return onnx_ir.Model(graph, ir_version=10, producer_name="energy-opt")

    def _body(self, name: str, body: Recording) -> onnx_ir.Graph:
        inputs = [self._value(number, label, body) for label, number in body.inputs]
        nodes = [self._node(call, body) for call in body.calls]
        outputs = [self._values[number] for number in body.outputs if number in self._values]
        return onnx_ir.Graph(inputs, list(dict.fromkeys(outputs)), nodes=nodes, name=name)

    def _node(self, call: Call, recording: Recording) -> onnx_ir.Node:
        target = call.target
        inputs = [None if number is None else self._values.get(number) for number in call.inputs]
        name = self._unused(target.name)
        several = len(call.outputs) > 1
        outputs = [
            self._value(number, f"{name}.{index}" if several else name, recording)
            for index, number in enumerate(call.outputs)
        ]
        attributes = self._attributes_of(target)
        if call.bodies:
            attributes = dict(attributes)
            for label, body in call.bodies:
                graph = self._body(f"{name}.{label}", body)
                attributes[label] = onnx_ir.Attr(label, onnx_ir.AttributeType.GRAPH, graph)
        self._domains.add(target.domain)
        metadata = {PATH: call.path}
        if "trips" in target.attributes:
            metadata[TRIPS] = str(target.attributes["trips"])
        if "branch" in target.attributes:
            metadata[BRANCH] = str(target.attributes["branch"])
        node = onnx_ir.Node(
            target.domain,
            target.name,
            inputs,
            attributes,
            overload=target.overload,
            outputs=outputs,
            name=name,
            metadata_props=metadata,
        )
        if (
            target.reuses is not None
            and not target.writes
            and inputs[target.reuses] in self._constant
        ):
            self.folded.add(node)  # a view of a weight is the weight
            self._constant.update(outputs)
        return node

    def _unused(self, name: str) -> str:
        """torch.export's manner: `linear`, `linear_1`, ..."""
        count = self._names[name]
        self._names[name] += 1
        return f"{name}_{count}" if count else name

    def _value(self, number: int, name: str, recording: Recording) -> onnx_ir.Value:
        found = recording.types[number]
        known = self._shapes.get(found)
        if known is None:
            shape, dtype = found
            known = self._shapes[found] = (
                onnx_ir.Shape([to_ir(dim) for dim in shape], frozen=True),
                onnx_ir.TensorType(onnx_ir.DataType[_DTYPES.get(dtype, "UNDEFINED")]),
            )
        value = onnx_ir.Value(name=name, shape=known[0], type=known[1])
        self._values[number] = value
        return value

    def _attributes_of(self, target: Target) -> dict[str, onnx_ir.Attr]:
        found = self._attributes.get(id(target))
        if found is None:
            given = {name: _attribute(name, value) for name, value in target.attributes.items()}
            found = {name: attribute for name, attribute in given.items() if attribute is not None}
            if target.writes:
                found["in_place"] = _attribute("in_place", 1)
            elif target.reuses is not None:
                found["is_view"] = _attribute("is_view", 1)
            self._attributes[id(target)] = found
        return found


def _attribute(name: str, value: Any) -> Any:
    kinds = onnx_ir.AttributeType
    if isinstance(value, tuple):
        if not value or all(isinstance(item, int) for item in value):
            return onnx_ir.Attr(name, kinds.INTS, tuple(int(item) for item in value))
        if all(isinstance(item, (int, float)) for item in value):
            return onnx_ir.Attr(name, kinds.FLOATS, tuple(float(item) for item in value))
        return onnx_ir.Attr(name, kinds.STRINGS, tuple(str(item) for item in value))
    if isinstance(value, int):
        return onnx_ir.Attr(name, kinds.INT, int(value))
    if isinstance(value, float):
        return onnx_ir.Attr(name, kinds.FLOAT, value)
    return onnx_ir.Attr(name, kinds.STRING, str(value))
