"""Control flow: how often a Loop or Scan body runs, and which branch of an If is counted."""

from __future__ import annotations

import onnx_ir

from energy_opt.ir import shapes
from energy_opt.ir.dims import Dim, symbol
from energy_opt.ir.graph import BRANCH, TRIPS, DimInfo, Graph, dim_of, subgraphs


def assign_trips(graph: Graph) -> None:
    """Write trip counts and branches into the nodes of control flow; unknown trip counts become dims of the graph."""
    for node in graph.nodes():
        if not subgraphs(node):
            continue
        if node.op_type == "If":
            node.metadata_props[BRANCH] = _branch(graph, node)
        elif node.op_type in ("Loop", "Scan", "SequenceMap") and not node.domain:
            trips = {"Loop": _loop_trips, "Scan": _scan_trips}.get(node.op_type, _unknown)(node)
            node.metadata_props[TRIPS] = str(_named(graph, node) if trips is None else trips)


def _loop_trips(node: onnx_ir.Node) -> Dim | None:
    """The trip count where it is known and the loop cannot end before: its condition is a constant true."""
    count = node.inputs[0] if node.inputs else None
    known = shapes.known_values(count) if count is not None else None
    if known is None or len(known) != 1:
        return None
    condition = node.inputs[1] if len(node.inputs) > 1 else None
    body = dict(subgraphs(node)).get("body")
    if condition is not None and (body is None or not _stays_true(body)):
        return None
    trips = known[0]
    return max(trips, 0) if isinstance(trips, int) else trips


def _stays_true(body: onnx_ir.Graph) -> bool:
    """Whether the body hands its condition on as a constant, or as it came in."""
    if not body.outputs:
        return False
    out = body.outputs[0]
    producer = out.producer()
    while producer is not None and producer.op_type == "Identity" and producer.inputs[0] is not None:
        out = producer.inputs[0]
        producer = out.producer()
    if len(body.inputs) > 1 and out is body.inputs[1]:
        return True
    return producer is not None and producer.op_type == "Constant" or out.is_initializer()


def _scan_trips(node: onnx_ir.Node) -> Dim | None:
    """The size of the scanned axis of the first scanned input."""
    attribute = node.attributes.get("num_scan_inputs")
    scanned = attribute.as_int() if attribute is not None else 0
    if not 0 < scanned <= len(node.inputs):
        return None
    value = node.inputs[len(node.inputs) - scanned]
    axes = node.attributes.get("scan_input_axes")
    axis = list(axes.as_ints())[0] if axes is not None and list(axes.as_ints()) else 0
    if "directions" in node.attributes:  # opset 8: axis 0 is the batch
        axis = 1
    if value is None or value.shape is None or not -len(value.shape.dims) <= axis < len(value.shape.dims):
        return None
    try:
        return dim_of(value.shape.dims[axis])
    except ValueError:
        return None


def _unknown(node: onnx_ir.Node) -> Dim | None:
    return None


def _named(graph: Graph, node: onnx_ir.Node) -> Dim:
    """A dim for a trip count that only the data knows."""
    number = sum(info.origin == "trip" for info in graph.dims.values()) + 1
    name = f"trips_{number}"
    label = f"trip count of {node.op_type} {node.name!r}"
    graph.dims[name] = DimInfo(name, (node.name,) if node.name else (), label, "trip")
    return symbol(name)


def _branch(graph: Graph, node: onnx_ir.Node) -> str:
    """The branch that a constant condition takes, else the one with more nodes, which the notes say."""
    condition = node.inputs[0] if node.inputs else None
    constant = condition.const_value if condition is not None else None
    if constant is not None and constant.size == 1:
        return "then_branch" if bool(constant.numpy().reshape(-1)[0]) else "else_branch"
    size = {name: sum(1 for _ in body.all_nodes()) for name, body in subgraphs(node)}
    branch = max(sorted(size, reverse=True), key=lambda name: size[name], default="then_branch")
    graph.notes.append(
        f"If {node.name!r}: which branch runs depends on the data; the larger one ({branch}) is counted"
    )
    return branch
