"""Every invariant of a graph's structure, in one place: checked after loading and after every pass."""

from __future__ import annotations

import onnx_ir

from energy_opt.errors import ModelError
from energy_opt.ir.graph import subgraphs


def verify(model: onnx_ir.Model, source: str) -> None:
    """Check that every value read has one producer that comes before its reader.

    Raises:
        ModelError: a value is read that nothing produces, is produced twice, or is read before it is produced.
    """
    names: set[str] = set()
    done: set[onnx_ir.Value] = set()
    pending: list[tuple[onnx_ir.Graph, list[onnx_ir.Node], int]] = []

    def enter(graph: onnx_ir.Graph) -> None:
        done.update(graph.inputs)
        done.update(graph.initializers.values())
        pending.append((graph, list(graph), 0))

    enter(model.graph)
    while pending:
        graph, nodes, index = pending.pop()
        while index < len(nodes):
            node = nodes[index]
            index += 1
            for value in node.inputs:
                if value is not None and value not in done:
                    raise ModelError(_unread(source, node, value))
            for value in node.outputs:
                if value.name and value.name in names:
                    raise ModelError(
                        f"{source}: two nodes produce the value {value.name!r}; the second is {_place(node)}. "
                        "Every value needs a name of its own"
                    )
                names.add(value.name or "")
            done.update(node.outputs)
            bodies = subgraphs(node)
            if bodies:
                pending.append((graph, nodes, index))
                for _, body in bodies:
                    enter(body)
                break
        else:
            for value in graph.outputs:
                if value not in done:
                    raise ModelError(
                        f"{source}: graph {graph.name!r} declares the output {value.name!r}, which nothing produces"
                    )


def _unread(source: str, node: onnx_ir.Node, value: onnx_ir.Value) -> str:
    producer = value.producer()
    if producer is None:
        return (
            f"{source}: {_place(node)} reads the value {value.name!r}, which no node, input or initializer provides. "
            "The file is damaged or was cut from a larger graph"
        )
    return (
        f"{source}: {_place(node)} reads the value {value.name!r} before {_place(producer)} has produced it: "
        "the graph has a cycle or its nodes are out of order"
    )


def _place(node: onnx_ir.Node) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else f"an unnamed {node.op_type}"
