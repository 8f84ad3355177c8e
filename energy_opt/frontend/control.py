"""Control flow and data: how often a body runs, which branch of an If counts, and which sizes only the data knows."""

from __future__ import annotations

import onnx_ir

from energy_opt.ir import shapes
from energy_opt.ir.dims import evaluate, free_symbols, product, total
from energy_opt.ir.graph import BRANCH, BRANCHING, TRIPS, DimInfo, Graph, subgraphs
from energy_opt.ir.reader import Reader
from energy_opt.ir.symbolic import dim_of

_MOST_NOTES = 4
_TYPICAL = 64
"""What a free dim is taken to be where branches are compared: far from 1, where everything is as small."""


def assign_trips(graph: Graph) -> None:
    """Write trip counts and branches into the nodes of control flow."""
    notes: list[str] = []
    reader = Reader(graph)
    # inner ones first: an outer branch is weighed by what is in it
    for node in reversed(list(graph.nodes())):
        if not subgraphs(node):
            continue
        if node.op_type in BRANCHING:
            node.metadata_props[BRANCH] = _branch(reader, node, notes)
            continue
        trips = shapes.trip_count(node)
        if trips is None:
            continue
        node.metadata_props[TRIPS] = str(trips)
        if node.op_type == "Loop" and isinstance(trips, int) and not _runs_to_the_end(node):
            notes.append(
                f"Loop {node.name!r} is counted with its limit of {trips} trips; its condition may end it earlier"
            )
    graph.notes.extend(reversed(notes[-_MOST_NOTES:]))
    if len(notes) > _MOST_NOTES:
        graph.notes.append(f"and so for {len(notes) - _MOST_NOTES} more nodes of control flow")


def name_unknown_dims(graph: Graph) -> None:
    """Trip counts and sizes that depend on the data become dims of the graph, so that a person can set them."""
    minted = shapes.minted(graph.model)
    used: set[str] = set()
    for node in graph.nodes():
        trips = shapes.trip_count(node)
        if trips is not None:
            used |= free_symbols([trips])
        for value in node.outputs:
            for dim in value.shape.dims if value.shape is not None else ():
                if not isinstance(dim, int) and dim.value is not None:
                    used |= free_symbols([dim_of(dim)])
    for name in sorted(used - set(graph.dims)):
        source = minted.get(name)
        origin = source.origin if source is not None else "data"
        where = f"{source.op} {source.node!r}" if source is not None else ""
        label = {"trip": "trip count of", "data": "depends on the data of"}.get(origin, "")
        aliases = (source.node,) if source is not None and source.node and origin == "trip" else ()
        graph.dims[name] = DimInfo(name, aliases, f"{label} {where}".strip(), origin)


def _runs_to_the_end(loop: onnx_ir.Node) -> bool:
    """Whether the body hands its condition on as a constant, or as it came in."""
    body = dict(subgraphs(loop)).get("body")
    if body is None or not body.outputs or len(loop.inputs) < 2 or loop.inputs[1] is None:
        return True
    out = body.outputs[0]
    producer = out.producer()
    while (
        producer is not None and producer.op_type == "Identity" and producer.inputs[0] is not None
    ):
        out = producer.inputs[0]
        producer = out.producer()
    if len(body.inputs) > 1 and out is body.inputs[1]:
        return True
    return (producer is not None and producer.op_type == "Constant") or out.is_initializer()


def _branch(reader: Reader, node: onnx_ir.Node, notes: list[str]) -> str:
    """The branch that a known condition takes, else the one with more work, which the notes say."""
    condition = node.inputs[0] if node.inputs else None
    known = shapes.known_values(condition) if condition is not None else None
    if known and isinstance(known[0], int):
        return "then_branch" if known[0] else "else_branch"
    work = {name: _work(reader, body) for name, body in subgraphs(node)}
    branch = max(sorted(work, reverse=True), key=lambda name: work[name], default="then_branch")
    notes.append(
        f"{node.op_type} {node.name!r}: which branch runs depends on the data; the larger one ({branch}) is counted"
    )
    return branch


def _work(reader: Reader, body: onnx_ir.Graph) -> tuple[float, int]:
    """FLOPs and bytes of a branch where every free dim is `_TYPICAL`, then its number of nodes."""
    counts = [
        product(
            (
                total((row.matmul_flops, row.other_flops, row.bytes_read, row.bytes_written)),
                row.count,
            )
        )
        for row in reader.look_at(body)
    ]
    everything = total(counts)
    typical = dict.fromkeys(free_symbols([everything]), _TYPICAL)
    return float(evaluate(everything, typical)), sum(1 for _ in body.all_nodes())
