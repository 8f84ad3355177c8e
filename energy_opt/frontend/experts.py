"""Mixtures of experts that pick each expert's tokens by NonZero: how many tokens an expert gets, on average.

A router's TopK gives every token k experts; the exported graph then asks, expert by expert, which tokens chose it. How
many do is data, but over all experts it is k times the tokens, so each gets its share where nothing else is known.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import onnx_ir

from energy_opt.ir import shapes
from energy_opt.ir.dims import Dim, product
from energy_opt.ir.graph import Graph
from energy_opt.ir.symbolic import dim_of

_MOST_STEPS = 24
_PASSES = frozenset(
    "Equal OneHot Cast Transpose Gather Slice Split Squeeze Unsqueeze Reshape Flatten Identity Where Not And Or "
    "Greater Less GreaterOrEqual LessOrEqual ReduceSum ReduceMax Clip ScatterElements ScatterND Mul Expand".split()
)


def share_tokens(graph: Graph) -> None:
    """Make the default of each expert's token count its share of what the router's TopK hands out."""
    producers = {node.name: node for node in graph.model.graph if node.op_type == "NonZero"}
    chosen: dict[onnx_ir.Node, list[str]] = defaultdict(list)
    for name, source in shapes.minted(graph.model).items():
        node = producers.get(source.node) if source.op == "NonZero" else None
        router = _router(node) if node is not None and name in graph.dims else None
        if router is not None:
            chosen[router].append(name)
    for router, names in chosen.items():
        handed_out = _numel(router.outputs[1])
        if handed_out is None or len(names) < 2:
            continue
        share = handed_out / len(names)  # of ints or of formulas
        for name in names:
            graph.dims[name] = replace(graph.dims[name], default=share)
        graph.notes.append(
            f"{len(names)} sizes depend on which experts TopK {router.name!r} chooses ({names[0]} to {names[-1]}); "
            f"unless given, each is its share, {share}"
        )


def _router(nonzero: onnx_ir.Node) -> onnx_ir.Node | None:
    """The TopK whose chosen indices the NonZero looks through; None where there is none near."""
    pending, seen = [nonzero.inputs[0]], 0
    while pending and seen < _MOST_STEPS:
        value = pending.pop(0)
        node = value.producer() if value is not None else None
        if value is None or node is None:
            continue
        seen += 1
        if node.op_type == "TopK" and len(node.outputs) == 2:
            return node if value is node.outputs[1] else None
        if node.op_type in _PASSES:
            pending.extend(node.inputs)
    return None


def _numel(value: onnx_ir.Value) -> Dim | None:
    if value.shape is None:
        return None
    try:
        return product(dim_of(dim) for dim in value.shape.dims)
    except ValueError:
        return None
