"""Half precision as a structural what-if: what is float32 is computed and kept in float16 or bfloat16.

Before: float32 weights and activations. After: the same operators on values of half the size; conversions between two
types that have become one are gone. Nothing is said of accuracy: the graph is for pricing, no weight is converted.
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir
from onnx_ir import DataType

from energy_opt.ir.graph import Graph
from energy_opt.passes.registry import register

_CONVERSIONS = frozenset({"Cast", "CastLike", "to", "_to_copy", "type_as", "convert_element_type"})


@register("cast-fp16")
def cast_fp16(graph: Graph) -> Graph:
    """The graph computing in float16."""
    return _cast(graph, DataType.FLOAT16)


@register("cast-bf16")
def cast_bf16(graph: Graph) -> Graph:
    """The graph computing in bfloat16."""
    return _cast(graph, DataType.BFLOAT16)


def _cast(graph: Graph, to: DataType) -> Graph:
    types = {**graph.types, DataType.FLOAT: to}

    def is_gone(node: onnx_ir.Node) -> bool:
        if node.op_type not in _CONVERSIONS or not node.inputs or node.inputs[0] is None:
            return False
        before, after = node.inputs[0].dtype, node.outputs[0].dtype
        if before is None or after is None or before == after:
            return False
        return types.get(before, before) == types.get(after, after)

    gone = {node for node in graph.nodes() if is_gone(node)}
    return replace(graph, types=types, absorbed=graph.absorbed | gone)
