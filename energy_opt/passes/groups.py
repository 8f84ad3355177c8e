"""What fusion passes share: walking a chain of single uses, and adding groups to a graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import onnx_ir

from energy_opt.ir.graph import Graph


def only_user(node: onnx_ir.Node) -> onnx_ir.Node | None:
    """The one node that reads the node's only output; None where there are more, or it leaves the graph."""
    if len(node.outputs) != 1 and any(output.uses() for output in node.outputs[1:]):
        return None
    output = node.outputs[0]
    users = {user for user, _ in output.uses()}
    if len(users) != 1 or output.is_graph_output():
        return None
    user = users.pop()
    return user if user.graph is node.graph else None


def producer(node: onnx_ir.Node, index: int) -> onnx_ir.Node | None:
    """The node that produces the input at that place, in the same graph."""
    value = node.inputs[index] if index < len(node.inputs) else None
    found = value.producer() if value is not None else None
    return found if found is not None and found.graph is node.graph else None


def is_op(node: onnx_ir.Node | None, *op_types: str) -> bool:
    """Whether the node is one of those standard ops."""
    return node is not None and node.domain in ("", "ai.onnx") and node.op_type in op_types


def with_groups(graph: Graph, groups: Iterable[Sequence[onnx_ir.Node]]) -> Graph:
    """The graph with the groups added. A node stays in the first group that took it; groups of one are dropped."""
    fused = dict(graph.fused)
    for nodes in groups:
        free = [node for node in nodes if node not in fused and node not in graph.folded]
        if len(free) != len(nodes) or len(free) < 2:
            continue
        name = f"{free[0].name}+{len(free)}#{len(fused)}"
        fused.update(dict.fromkeys(free, name))
    return replace(graph, fused=fused)
