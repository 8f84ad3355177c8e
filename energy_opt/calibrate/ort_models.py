"""A model of many primitives side by side.

Each primitive reads activations that an operator before it has just written, and weights that nothing has touched since
the run before: as in a user's model. Results are read by one node each, so that memory is used again as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

from energy_opt.calibrate.ort_primitives import OnnxPrimitive, dtype_of
from energy_opt.calibrate.primitives import TensorSpec

_INLINE = 1024
"""Weights of no more elements than these are written into the model; larger ones stay where they are."""

_POSITIVE = frozenset({"Sqrt", "Log", "Pow", "Reciprocal"})
"""Operators that models feed with positive numbers."""

_MADE = frozenset({"float32", "float64", "int32", "int64", "int8"})
"""Types whose activations a node before can write."""


@dataclass
class Composite:
    """A model that ONNX Runtime can open, what it reads, and the weights that are given beside it."""

    model: bytes
    feeds: dict[str, np.ndarray[Any, Any]]
    weights: dict[str, np.ndarray[Any, Any]]


class RandomMemory:
    """Random memory that operands are cut from at moving places."""

    def __init__(self, megabytes: int, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        block = self._random.standard_normal(2**18, np.float32)
        self._floats = np.tile(block, max(1, megabytes))
        self._place = 0

    def array(self, spec: TensorSpec) -> np.ndarray[Any, Any]:
        """An operand of that shape: N(0, 1), whole numbers below its bound, or a mask of ones."""
        dtype = helper.tensor_dtype_to_np_dtype(int(dtype_of(spec)))
        if spec.dtype == "bool":
            return np.ones(spec.shape, dtype)
        if not spec.dtype.startswith(("float", "bfloat")):
            return self._random.integers(0, max(spec.high, 1), spec.shape).astype(dtype)
        length = max(spec.numel, 1)
        if length > len(self._floats):
            return np.resize(self._floats, spec.shape).astype(dtype)
        if self._place + length > len(self._floats):
            self._place = 0
        flat = self._floats[self._place : self._place + length]
        self._place += -(-length // 64) * 64
        return flat.reshape(spec.shape).astype(dtype, copy=False)


@dataclass
class _Parts:
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    domains: set[str] = field(default_factory=set)


def composite(primitives: Sequence[OnnxPrimitive], memory: RandomMemory) -> Composite:
    """One model that runs all of the primitives, of one opset, each once."""
    parts, made = _Parts(), Composite(b"", {}, {})
    for number, primitive in enumerate(primitives):
        _add(parts, made, number, primitive, memory)
    graph = helper.make_graph(
        parts.nodes, "primitives", parts.inputs, parts.outputs, parts.initializers
    )
    opset = max((primitive.opset for primitive in primitives), default=20)
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(domain, 1) for domain in sorted(parts.domains)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    made.model = model.SerializeToString()
    return made


def _add(
    parts: _Parts, made: Composite, number: int, primitive: OnnxPrimitive, memory: RandomMemory
) -> None:
    constants = dict(primitive.constants)
    renamed = {name: f"p{number}.{name}" for name, _ in primitive.tensors}
    for place, name in enumerate(primitive.given):
        spec, own = primitive.specs[name], renamed[name]
        kind = int(dtype_of(spec))
        if name in constants:
            array = np.array(constants[name], helper.tensor_dtype_to_np_dtype(kind))
            parts.initializers.append(onnx.numpy_helper.from_array(array.reshape(spec.shape), own))
        elif spec.role == "weight":
            parts.initializers.append(_weight(made, own, memory.array(spec)))
        else:
            fresh = spec.role == "activation" and spec.dtype in _MADE
            source = f"g{own}" if fresh else own
            parts.inputs.append(helper.make_tensor_value_info(source, kind, spec.shape))
            made.feeds[source] = memory.array(spec)
            if fresh:
                parts.nodes.append(
                    helper.make_node(
                        _writer(primitive, spec), [source], [own], name=f"in{number}.{place}"
                    )
                )
    for place, node in enumerate(primitive.nodes):
        parts.domains |= {node.domain} - {""}
        parts.nodes.append(
            helper.make_node(
                node.op_type,
                [renamed.get(name, "") for name in node.inputs],
                [renamed[name] for name in node.outputs],
                name=f"p{number}.{place}",
                domain=node.domain,
                **dict(node.attributes),
            )
        )
    for place, name in enumerate(primitive.results):
        _read(parts, number, place, renamed[name], primitive.specs[name])


def _writer(primitive: OnnxPrimitive, spec: TensorSpec) -> str:
    """The operator before: one that all threads share, so that none has gone to sleep when the primitive begins."""
    if primitive.nodes[0].op_type in _POSITIVE:
        return "Abs"
    return "LeakyRelu" if spec.dtype in ("float32", "float64") else "Neg"


def _weight(made: Composite, name: str, array: np.ndarray[Any, Any]) -> onnx.TensorProto:
    if array.size <= _INLINE:
        return onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
    made.weights[name] = array
    tensor = onnx.TensorProto(
        name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype)
    )
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {
        "location": "memory",
        "offset": "0",
        "length": str(array.nbytes),
    }.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def _read(parts: _Parts, number: int, place: int, name: str, spec: TensorSpec) -> None:
    """A node that reads one element of the result: it is given back before the next primitive, as in a model."""
    out, flat = f"s{number}.{place}", f"f{number}.{place}"
    if not parts.outputs:
        for constant, value in (("flat", -1), ("from", 0), ("to", 1)):
            array = np.array([value], np.int64)
            parts.initializers.append(onnx.numpy_helper.from_array(array, constant))
    # Without the first, ONNX Runtime would slice before it transposes.
    nodes = (
        helper.make_node("Reshape", [name, "flat"], [flat], name=f"in{number}.f{place}"),
        helper.make_node("Slice", [flat, "from", "to"], [out], name=f"out{number}.{place}"),
    )
    parts.nodes.extend(nodes)
    kind = int(dtype_of(spec))
    parts.outputs.append(helper.make_tensor_value_info(out, kind, [min(spec.numel, 1)]))
