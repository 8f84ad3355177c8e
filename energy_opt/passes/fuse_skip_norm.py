"""Residual addition and the normalization after it as one kernel.

Before: Add(x, residual) -> LayerNormalization, RMSNormalization or SimplifiedLayerNormalization. After: one kernel that
reads both and also writes their sum where something else reads it. Source: ONNX Runtime's SkipLayerNormFusion.
"""

from __future__ import annotations

from energy_opt.ir.graph import Graph
from energy_opt.passes.groups import is_op, producer, with_groups
from energy_opt.passes.registry import register

_NORMS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")


@register("fuse-skip-norm")
def fuse_skip_norm(graph: Graph) -> Graph:
    """The graph with every normalization and the residual addition that feeds it as one group."""
    groups = []
    for norm in graph.nodes():
        if not is_op(norm, *_NORMS):
            continue
        add = producer(norm, 0)
        if add is None or not is_op(add, "Add"):
            continue
        shapes = [value.shape for value in add.inputs if value is not None]
        if len(shapes) == 2 and shapes[0] is not None and shapes[0] == shapes[1]:
            groups.append([add, norm])
    return with_groups(graph, groups)
