"""Convolution with what follows it as one kernel.

Before: Conv -> [BatchNormalization ->] [Add(residual) ->] [Relu, Clip, Sigmoid, Tanh, LeakyRelu or HardSigmoid].
After: one kernel. Precondition: each step is the only reader of the one before. Source: ONNX Runtime's ConvBNFusion,
ConvAddActivationFusion, ConvActivationFusion.
"""

from __future__ import annotations

from energy_opt.ir.graph import Graph
from energy_opt.passes.groups import is_op, only_user, with_groups
from energy_opt.passes.registry import register

_ACTIVATIONS = ("Relu", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid")


@register("fuse-conv")
def fuse_conv(graph: Graph) -> Graph:
    """The graph with every convolution and its batch norm, residual and activation as one group."""
    groups = []
    taken = set()
    for conv in graph.nodes():
        if not is_op(conv, "Conv"):
            continue
        group = [conv]
        for wanted in (("BatchNormalization",), ("Add",), _ACTIVATIONS):
            node = only_user(group[-1])
            if node is None or not is_op(node, *wanted) or node in taken:
                continue
            group.append(node)
        taken.update(group)
        groups.append(group)
    return with_groups(graph, groups)
