"""Elementwise work as one kernel, with the reductions, normalizations, copies and lookups between, as compilers do.

Before: Add -> Div -> Erf -> Add -> Mul -> LayerNormalization, over the same elements. After: one kernel that reads the
group's inputs and writes what something outside reads; the rest never leaves registers. Views in between (reshape,
transpose, slice, dropout that drops nothing) do not end a group, nor does what a reduction over those elements leaves
(the mean in a root mean square norm). What is computed for one reader alone joins that reader whatever its shape (a
mask that is broadcast, halves that are concatenated). Left alone: matrix products, convolutions, attention, pooling.
Precondition: what a group reads from outside can be computed before all of it, so that no cycle can arise.
Source: the kernels that TorchInductor 2.13 generates; `benchmarks/kernels_torch.py` counts both.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir

from energy_opt.ir.dims import Dim, product
from energy_opt.ir.fusion import stored_in
from energy_opt.ir.graph import Graph
from energy_opt.ir.rules import lookup
from energy_opt.ir.symbolic import dim_of
from energy_opt.passes.groups import with_groups
from energy_opt.passes.registry import register

_POINTWISE = frozenset({"elementwise", "copy", "gather"})
_OVER_INPUT = frozenset({"norm", "softmax", "reduction"})
_REDUCTIONS = frozenset(
    {"mean", "sum", "amax", "amin", "max", "min", "prod", "var", "std", "var_mean", "std_mean", "any", "all",
     "logsumexp", "argmax", "argmin", "linalg_vector_norm", "norm", "ReduceMean", "ReduceSum", "ReduceMax",
     "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ArgMax", "ArgMin"}
)  # fmt: skip
_SCANS = frozenset({"cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "CumSum"})
_MAX_NODES = 32  # a kernel that reads dozens of tensors is split by every compiler


@dataclass(eq=False)
class _Group:
    """Nodes that run as one kernel: over how many elements, and what reductions leave of them.

    Whatever a group reads has a smaller depth than it, so that no two kernels can wait for each other.
    """

    nodes: list[onnx_ir.Node]
    elements: Dim
    reduced: frozenset[Dim] = frozenset()
    depth: int = 0


@register("fuse-elementwise")
def fuse_elementwise(graph: Graph) -> Graph:
    """The graph with every run of elementwise, reducing and copying nodes over the same elements as one group."""
    search = _Search(graph)
    for node in graph.nodes():
        search.visit(node)
    groups = {id(group): group.nodes for group in search.group_of.values()}
    return with_groups(graph, groups.values())


class _Search:
    """One walk over a graph: every node joins the groups whose results it reads, where it can."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.group_of: dict[onnx_ir.Node, _Group] = {}
        self._depths: dict[onnx_ir.Node, int] = {}  # of nodes that are in no group
        self._elements: dict[tuple[object, ...], Dim | None] = {}
        self._read_by: dict[onnx_ir.Value, list[onnx_ir.Node | None]] = {}

    def visit(self, node: onnx_ir.Node) -> None:
        """Put the node into a group, or note how deep it lies."""
        if self._is_view(node):
            return
        kind = self._kind(node)
        elements = self._over(node, kind)
        if elements is None:
            parents = self._parents(node)
            self._depths[node] = 1 + max(map(self._depth, parents), default=-1)
            return
        left = self._size(node.outputs[0]) if kind == "reduction" else None
        alone = _Group([node], elements, frozenset() if left is None else frozenset({left}))
        joined = self._joined(alone, kind)
        for member in joined.nodes:
            self.group_of[member] = joined

    def _joined(self, alone: _Group, kind: str) -> _Group:
        """The node with all the groups that it can run in one kernel with."""
        (node,) = alone.nodes
        parents = self._parents(node)
        allowed = list({g: None for p in parents if (g := self.group_of.get(p)) is not None})
        if kind == "gather":  # where it looks things up must have been written
            table = self._parents(node, only=0)
            allowed = [group for group in allowed if not any(p in group.nodes for p in table)]
        while True:
            merged, taken = alone, set()
            for group in sorted(allowed, key=lambda group: -group.depth):
                together = self._together(group, merged, node, kind)
                if together is not None:
                    merged = together
                    taken.add(group)
            outside = (self._depth(p) for p in parents if self.group_of.get(p) not in taken)
            depth = max([*(1 + d for d in outside), *(group.depth for group in taken)], default=0)
            # a group can be put off until then only where nothing else waits for it
            early = {g for g in taken if g.depth < depth and not self._for_one_reader(g, node)}
            if not early:
                merged.depth = depth
                return merged
            allowed = [group for group in allowed if group not in early]

    def _together(
        self, group: _Group, joined: _Group, node: onnx_ir.Node, kind: str
    ) -> _Group | None:
        """The group with what the node has joined so far, or None where they are no one kernel."""
        nodes = [*group.nodes, *joined.nodes]
        if len(nodes) > _MAX_NODES or node.graph is not group.nodes[0].graph:
            return None
        elements = joined.elements
        if group.elements != elements:
            if kind in _POINTWISE and elements in group.reduced:
                elements = group.elements  # it goes on with what a reduction left
            elif group.reduced or not self._for_one_reader(group, node):
                return None
        return _Group(nodes, elements, group.reduced | joined.reduced)

    def _for_one_reader(self, group: _Group, node: onnx_ir.Node) -> bool:
        """Whether everything in the group is computed for that node alone."""
        inside = {*group.nodes, node}
        return all(
            reader in inside
            for member in group.nodes
            for output in member.outputs
            for reader in self._readers(output)
        )

    def _readers(self, value: onnx_ir.Value) -> list[onnx_ir.Node | None]:
        """Who reads the value, itself or through views; None where it leaves the graph."""
        found = self._read_by.get(value)
        if found is not None:
            return found
        found = self._read_by[value] = [None] if value.is_graph_output() else []
        for user, _ in value.uses():
            if self._is_view(user):
                found += [reader for output in user.outputs for reader in self._readers(output)]
            else:
                found.append(user)
        return found

    def _depth(self, node: onnx_ir.Node) -> int:
        group = self.group_of.get(node)
        return group.depth if group is not None else self._depths.get(node, 0)

    def _parents(self, node: onnx_ir.Node, only: int | None = None) -> list[onnx_ir.Node]:
        """The nodes that compute what the node reads, or one operand of it; views are looked through."""
        found = []
        for index, value in enumerate(node.inputs):
            if value is None or (only is not None and index != only):
                continue
            parent = stored_in(value, self._is_view).producer()
            if parent is not None and parent not in self.graph.folded:
                found.append(parent)
        return found

    def _kind(self, node: onnx_ir.Node) -> str:
        entry = lookup(node.domain, node.op_type)
        if entry is None or node in self.graph.fused or node in self.graph.folded:
            return ""
        if not node.outputs or node.op_type.removesuffix("_") in _SCANS:
            return ""
        if entry.kind == "reduction" and node.op_type not in _REDUCTIONS:
            return ""
        return entry.kind

    def _is_view(self, node: onnx_ir.Node) -> bool:
        if node in self.graph.absorbed or "is_view" in node.attributes:
            return True
        entry = lookup(node.domain, node.op_type)
        return entry is not None and entry.kind == "view"

    def _over(self, node: onnx_ir.Node, kind: str) -> Dim | None:
        """Over how many elements the node's kernel runs; None where it cannot be part of a group."""
        if kind in _POINTWISE:
            return self._size(node.outputs[0])
        if kind in _OVER_INPUT and node.inputs and node.inputs[0] is not None:
            return self._size(node.inputs[0])
        return None

    def _size(self, value: onnx_ir.Value) -> Dim | None:
        if value.shape is None:
            return None
        key = tuple(value.shape.dims)
        if key not in self._elements:
            try:
                self._elements[key] = product(dim_of(dim) for dim in key)
            except ValueError:
                self._elements[key] = None
        return self._elements[key]
