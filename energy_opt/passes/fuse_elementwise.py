"""Chains of elementwise work as one kernel, as compilers do (TorchInductor, TensorRT, XLA).

Before: Add -> Erf -> Mul -> Cast, each the only reader of the one before (views between them cost nothing).
After: one kernel that reads the chain's inputs and writes its output; what is between never leaves registers.
"""

from __future__ import annotations

from energy_opt.ir.graph import Graph
from energy_opt.ir.rules import lookup
from energy_opt.passes.groups import only_user, with_groups

_MAX_NODES = 32  # a kernel that reads dozens of tensors is split by every compiler


def fuse_elementwise(graph: Graph) -> Graph:
    """The graph with every chain of at least two elementwise nodes as one group."""
    groups = []
    taken = set(graph.fused)
    for node in graph.nodes():
        if node in taken or node in graph.folded or not _is_elementwise(node):
            continue
        chain = [node]
        user = only_user(node)
        while user is not None and user not in taken and _is_elementwise(user) and len(chain) < _MAX_NODES:
            chain.append(user)
            user = only_user(user)
        taken.update(chain)
        groups.append(chain)
    return with_groups(graph, groups)


def _is_elementwise(node: object) -> bool:
    entry = lookup(node.domain, node.op_type)  # type: ignore[attr-defined]
    return entry is not None and entry.kind == "elementwise"
