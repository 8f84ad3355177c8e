"""Gelu as one kernel, with the bias before it, where ONNX Runtime recognises it.

Before: [Add(x, bias) ->] Div(x, sqrt 2) -> Erf -> Add 1 -> Mul(x) -> Mul 0.5, or with Mul(x, 0.5) on the side for the
last two; or a Gelu, FastGelu or QuickGelu with the Add of its bias. After: one kernel. Left alone: other spellings,
such as the dynamo exporter's Mul(0.5, Add) -> Mul(x), which ONNX Runtime runs node by node.
Source: ONNX Runtime's GeluFusion and BiasGeluFusion; `benchmarks/kernels.py` checks it against the graph that ONNX
Runtime runs.
"""

from __future__ import annotations

import onnx_ir

from energy_opt.ir.graph import Graph
from energy_opt.passes.groups import is_op, only_user, producer, with_groups
from energy_opt.passes.registry import register


@register("fuse-gelu")
def fuse_gelu(graph: Graph) -> Graph:
    """The graph with every Gelu and its bias as one group."""
    groups = []
    for node in graph.nodes():
        group = _spelled_out(node) if is_op(node, "Erf") else None
        if node.op_type in ("Gelu", "FastGelu", "QuickGelu"):
            group = [node]
        if group:
            groups.append(_with_bias(group))
    return with_groups(graph, groups)


def _spelled_out(erf: onnx_ir.Node) -> list[onnx_ir.Node] | None:
    """The nodes of `0.5 * x * (1 + erf(x / sqrt 2))` around its Erf."""
    scale = producer(erf, 0)
    plus_one = only_user(erf)
    if scale is None or not is_op(scale, "Div", "Mul") or only_user(scale) is not erf:
        return None
    if plus_one is None or not is_op(plus_one, "Add"):
        return None
    product = only_user(plus_one)
    if product is None or not is_op(product, "Mul"):
        return None
    x = scale.inputs[0]
    group = [scale, erf, plus_one, product]
    if x in product.inputs:
        half = only_user(product)
        return [*group, half] if half is not None and is_op(half, "Mul") else None
    for index in range(2):
        half = producer(product, index)
        if (
            half is not None
            and is_op(half, "Mul")
            and x in half.inputs
            and only_user(half) is product
        ):
            return [half, *group]
    return None


def _with_bias(group: list[onnx_ir.Node]) -> list[onnx_ir.Node]:
    """The group with the Add of a bias (a weight with one axis) that alone feeds it."""
    inside = set(group)
    adds = {producer(node, index) for node in group for index in range(len(node.inputs))}
    for add in adds - inside:
        if add is None or not is_op(add, "Add"):
            continue
        has_bias = any(
            v is not None and v.is_initializer() and v.shape is not None and len(v.shape.dims) == 1
            for v in add.inputs
        )
        if has_bias and all(user in inside for user, _ in add.outputs[0].uses()):
            return [add, *group]
    return group
