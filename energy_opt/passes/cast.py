"""Half precision as a structural what-if: every float32 value becomes float16 or bfloat16.

Before: float32 weights and activations. After: the same operators on half-size values; a Cast to float32 becomes a Cast
to the new type. Nothing is said of accuracy: the graph is for pricing, its weights are not converted.
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir

from energy_opt.errors import UsageError
from energy_opt.ir.constants import constant_nodes
from energy_opt.ir.graph import Graph, subgraphs


def cast_fp16(graph: Graph) -> Graph:
    """The graph computing in float16."""
    return _cast(graph, onnx_ir.DataType.FLOAT16)


def cast_bf16(graph: Graph) -> Graph:
    """The graph computing in bfloat16."""
    return _cast(graph, onnx_ir.DataType.BFLOAT16)


def _cast(graph: Graph, to: onnx_ir.DataType) -> Graph:
    if graph.fused:
        raise UsageError("cast before the passes that say what a runtime fuses: groups do not survive a cast")
    model = graph.model.clone()
    pending = [model.graph]
    while pending:
        body = pending.pop()
        for value in (*body.inputs, *body.initializers.values()):
            _retype(value, to)
        for node in body:
            for value in node.outputs:
                _retype(value, to)
            target = node.attributes.get("to")
            if node.op_type == "Cast" and target is not None and target.value == onnx_ir.DataType.FLOAT:
                node.attributes["to"] = onnx_ir.AttrInt64("to", to.value)
            pending.extend(inner for _, inner in subgraphs(node))
    return replace(graph, model=model, notes=list(graph.notes), folded=constant_nodes(model))


def _retype(value: onnx_ir.Value, to: onnx_ir.DataType) -> None:
    if value.dtype is not onnx_ir.DataType.FLOAT:
        return
    if isinstance(value.type, onnx_ir.TensorType):
        value.type = onnx_ir.TensorType(to)
    if value.is_initializer():
        value.const_value = None  # the float32 data is not the data of this graph
