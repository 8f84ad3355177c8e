"""Constant folding: nodes that read only weights and constants are evaluated once, when the model is loaded.

Before: Transpose(weight) -> MatMul. After: MatMul alone runs at inference; the transposed weight is a weight.
Left alone: anything random, and (De)QuantizeLinear, which runtimes keep beside the kernel that consumes it.
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir

from energy_opt.ir.graph import Graph, subgraphs

_KEPT = frozenset(
    "QuantizeLinear DequantizeLinear RandomNormal RandomNormalLike RandomUniform RandomUniformLike Multinomial "
    "Bernoulli Loop Scan If".split()
)


def fold_constants(graph: Graph) -> Graph:
    """The graph with every node of its main graph that depends on constants alone marked as folded."""
    constant: set[onnx_ir.Value] = set(graph.model.graph.initializers.values())
    constant.difference_update(graph.model.graph.inputs)  # an input with a default can be fed
    folded = set(graph.folded)
    for node in graph.model.graph:
        if node.op_type in _KEPT or subgraphs(node):
            continue
        inputs = [value for value in node.inputs if value is not None]
        if all(value in constant for value in inputs) and (inputs or node.op_type == "Constant"):
            folded.add(node)
            constant.update(node.outputs)
    return replace(graph, folded=frozenset(folded))
