"""What a fusion group saves: the traffic between its members, and the second reading of what several of them read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import onnx_ir

from energy_opt.ir.dims import Dim, total
from energy_opt.ir.signature import Signature

IsView = Callable[[onnx_ir.Node], bool]


class Saved(NamedTuple):
    """Sizes in bytes that a group neither reads nor writes, and a key that tells groups apart by them."""

    read: list[Dim]
    written: list[Dim]
    key: tuple[Any, ...]


def saved(
    members: Sequence[tuple[onnx_ir.Node, Signature]],
    nbytes: Callable[[onnx_ir.Value], Dim],
    is_view: IsView,
) -> Saved:
    """What a group of nodes saves when it runs as one kernel. Views between members need not be in it."""
    nodes = {node for node, _ in members}
    inside = {output for node in nodes for output in node.outputs}
    reads = list(_reads(members, is_view))
    whole = {root for *_, value, root in reads if nbytes(value) == nbytes(root)}
    read: list[Dim] = []
    written: list[Dim] = []
    key: list[Any] = []
    seen: set[onnx_ir.Value] = set()
    for place, index, value, root in reads:
        if root not in inside:
            # what one member reads in whole is there for the others, whatever part of it they read
            shared = root if root in whole else value
            if shared not in seen and nbytes(value) == nbytes(shared):
                seen.add(shared)
                continue
        read.append(nbytes(value))
        key.append((place, index))
    for place, (node, signature) in enumerate(members):
        counted = signature.work.bytes_written
        if signature.kind == "view" or counted not in (
            None,
            total(t.nbytes for t in signature.op.outputs),
        ):
            continue
        for index, value in enumerate(node.outputs):
            if not _escapes(value, nodes, is_view):
                written.append(nbytes(value))
                key.append((place, index, "w"))
    return Saved(read, written, tuple(key))


def _reads(
    members: Sequence[tuple[onnx_ir.Node, Signature]], is_view: IsView
) -> Iterator[tuple[int, int, onnx_ir.Value, onnx_ir.Value]]:
    """(member, operand, value, where it is stored) of every operand that its rule counts in full."""
    for place, (node, signature) in enumerate(members):
        counted = signature.work.bytes_read
        operands = [t.nbytes for t in signature.op.inputs if t is not None]
        every = counted is None or counted == total(operands)
        for index, value in enumerate(node.inputs):
            if value is None or signature.kind == "view":
                continue
            if every or (index == 0 and counted == operands[0]):
                yield place, index, value, stored_in(value, is_view)


def stored_in(value: onnx_ir.Value, is_view: IsView) -> onnx_ir.Value:
    """The value in whose memory this one lies: itself, unless it is a view."""
    while (node := value.producer()) is not None and is_view(node) and node.inputs:
        source = node.inputs[0]
        if source is None:
            break
        value = source
    return value


def _escapes(value: onnx_ir.Value, nodes: set[onnx_ir.Node], is_view: IsView) -> bool:
    """Whether something outside the group reads the value, itself or through views."""
    if value.is_graph_output():
        return True
    for user, _ in value.uses():
        if user in nodes:
            continue
        if not is_view(user) or any(_escapes(output, nodes, is_view) for output in user.outputs):
            return True
    return False
