"""Constants of a graph: a weight that is only moved, reshaped or cast is still a weight, and no activation."""

from __future__ import annotations

import onnx_ir

from energy_opt.ir.graph import subgraphs
from energy_opt.ir.rules import lookup

_MOVES = frozenset({"view", "copy", "shape", "gather"})
_CASTS = frozenset({"Cast", "CastLike", "Constant", "ConstantOfShape"})


def constant_nodes(model: onnx_ir.Model) -> frozenset[onnx_ir.Node]:
    """Nodes of the main graph that move or cast weights and constants alone.

    Every runtime evaluates them once, when it loads the model (ONNX Runtime's constant folding; in torch the transpose
    of a weight is a view). Nodes that compute are left: what they cost is not for us to hide.
    """
    constant = set(model.graph.initializers.values())
    constant.difference_update(model.graph.inputs)  # an input with a default can be fed
    found: set[onnx_ir.Node] = set()
    for node in model.graph:
        if any(value is not None and value not in constant for value in node.inputs):
            continue
        entry = lookup(node.domain, node.op_type)
        moves = node.op_type in _CASTS or (entry is not None and entry.kind in _MOVES)
        if moves and not subgraphs(node) and (node.inputs or node.op_type == "Constant"):
            found.add(node)
            constant.update(node.outputs)
    return frozenset(found)
