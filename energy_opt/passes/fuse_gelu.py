"""Gelu as one kernel, with the bias before it.

Before: [Add(x, bias) ->] Div(x, sqrt 2) -> Erf -> Add 1 -> Mul(x) -> Mul 0.5 (also with Mul for Div, or the halves in
the other order, or the tanh form). After: one kernel. Source: ONNX Runtime's GeluFusion, FastGeluFusion, BiasGeluFusion.
"""

from __future__ import annotations

import onnx_ir

from energy_opt.ir.graph import Graph
from energy_opt.passes.groups import is_op, only_user, producer, with_groups

_MAX_NODES = 10


def fuse_gelu(graph: Graph) -> Graph:
    """The graph with every decomposed Gelu, and every Gelu with its bias, as one group."""
    groups = []
    for node in graph.nodes():
        if is_op(node, "Erf", "Tanh"):
            group = _decomposed(node)
        elif node.op_type in ("Gelu", "FastGelu", "QuickGelu"):
            group = [node]
        else:
            continue
        if group:
            groups.append(_with_bias(group))
    return with_groups(graph, groups)


def _decomposed(core: onnx_ir.Node) -> list[onnx_ir.Node] | None:
    """The nodes of `0.5 * x * (1 + erf(x / sqrt 2))` around its Erf, or of the tanh form around its Tanh."""
    above: list[onnx_ir.Node] = []
    above_ops = ("Div", "Mul") if core.op_type == "Erf" else ("Mul", "Add", "Pow")
    pending = [producer(core, 0)]
    while pending and len(above) <= _MAX_NODES:
        node = pending.pop()
        if not is_op(node, *above_ops) or node is None or node in above or only_user(node) is None:
            continue
        above.append(node)
        if core.op_type == "Tanh":
            pending.extend(producer(node, i) for i in range(len(node.inputs)))
    plus_one = only_user(core)
    if not above or not is_op(plus_one, "Add") or plus_one is None:
        return None
    below = [plus_one]
    node = only_user(plus_one)
    while is_op(node, "Mul") and node is not None and len(below) < 3:
        below.append(node)
        for index in range(2):  # 0.5 * x may be computed on the side
            side = producer(node, index)
            if is_op(side, "Mul") and side is not None and side not in below and only_user(side) is node:
                below.append(side)
        node = only_user(node)
    return [*reversed(above), core, *below] if len(below) >= 2 else None


def _with_bias(group: list[onnx_ir.Node]) -> list[onnx_ir.Node]:
    """The group with the Add of a bias (a vector that is a weight) that feeds it, where nothing else reads that."""
    inside = set(group)
    for node in group:
        for index in range(len(node.inputs)):
            add = producer(node, index)
            if add is None or add in inside or not is_op(add, "Add"):
                continue
            bias = any(
                v is not None and v.is_initializer() and v.shape is not None and len(v.shape.dims) == 1
                for v in add.inputs
            )
            if bias and all(user in inside for user, _ in add.outputs[0].uses()):
                return [add, *group]
    return group
