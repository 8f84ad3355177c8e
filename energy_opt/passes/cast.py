"""Half precision as a structural what-if: what is float32 is computed and kept in float16 or bfloat16.

Before: float32 weights and activations. After: the same operators on values of half the size. Nothing is said of
accuracy: the graph is for pricing, its weights are not converted.
"""

from __future__ import annotations

from dataclasses import replace

from onnx_ir import DataType

from energy_opt.ir.graph import Graph


def cast_fp16(graph: Graph) -> Graph:
    """The graph computing in float16."""
    return replace(graph, types={**graph.types, DataType.FLOAT: DataType.FLOAT16})


def cast_bf16(graph: Graph) -> Graph:
    """The graph computing in bfloat16."""
    return replace(graph, types={**graph.types, DataType.FLOAT: DataType.BFLOAT16})
