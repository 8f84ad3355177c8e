"""Elementwise work as one kernel, with the normalizations and softmaxes between, as compilers do (TorchInductor, XLA).

Before: Add -> Div -> Erf -> Add -> Mul -> LayerNormalization, of one shape. After: one kernel that reads the group's
inputs and writes what something outside reads; the rest never leaves registers.
Precondition: what a node reads from outside its group was there before the group began, so that no cycle can arise.
"""

from __future__ import annotations

import onnx_ir

from energy_opt.ir.graph import Graph
from energy_opt.ir.rules import lookup
from energy_opt.passes.groups import with_groups

_KINDS = frozenset({"elementwise", "norm", "softmax"})
_MAX_NODES = 32  # a kernel that reads dozens of tensors is split by every compiler


def fuse_elementwise(graph: Graph) -> Graph:
    """The graph with every run of elementwise and normalizing nodes of one shape as one group."""
    groups: list[list[onnx_ir.Node]] = []
    group_of: dict[onnx_ir.Node, int] = {}
    position: dict[onnx_ir.Node, int] = {}
    for index, node in enumerate(graph.nodes()):
        position[node] = index
        if node in graph.fused or node in graph.folded or not _fusible(node):
            continue
        for value in node.inputs:
            parent = value.producer() if value is not None else None
            chosen = group_of.get(parent) if parent is not None else None
            if chosen is not None and _may_join(node, groups[chosen], position, graph.folded):
                groups[chosen].append(node)
                group_of[node] = chosen
                break
        else:
            group_of[node] = len(groups)
            groups.append([node])
    return with_groups(graph, groups)


def _fusible(node: onnx_ir.Node) -> bool:
    entry = lookup(node.domain, node.op_type)
    return entry is not None and entry.kind in _KINDS and len(node.outputs) >= 1


def _may_join(
    node: onnx_ir.Node,
    group: list[onnx_ir.Node],
    position: dict[onnx_ir.Node, int],
    folded: frozenset[onnx_ir.Node],
) -> bool:
    first = group[0]
    if len(group) >= _MAX_NODES or node.graph is not first.graph:
        return False
    if node.outputs[0].shape is None or node.outputs[0].shape != first.outputs[0].shape:
        return False
    start = position[first]
    inside = set(group)
    for value in node.inputs:
        parent = value.producer() if value is not None else None
        if parent is None or parent in inside or parent in folded:
            continue
        if position.get(parent, start) >= start:
            return False
    return True
