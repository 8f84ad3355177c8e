"""Which modules of the tree stand on a page of the terminal: the costliest are opened until it is full."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

from energy_opt.report.tree import Node, own_energy_j

_MAX_LINES = 26


def lines(root: Node, total: float, depth: int | None, verbose: bool) -> Iterator[tuple[Node, str]]:
    """The tree's visible lines with their indentation: the costliest modules are opened first, until the page is full.

    A user's depth, or verbose, opens everything down to there instead.
    """
    everything = verbose or depth is not None
    least = 0.0 if everything else 0.005
    children = {id(root): _visible(root, total, least)}
    used = len(children[id(root)])
    serial = itertools.count()
    heap = [(-c.energy_j, next(serial), c, 1) for c in children[id(root)]]
    heapq.heapify(heap)
    while heap:
        _, _, node, level = heapq.heappop(heap)
        if not node.children or (depth is not None and level >= depth):
            continue
        inside = _visible(node, total, least)
        if not everything and (used + len(inside) > _MAX_LINES or node.energy_j < 0.02 * total):
            continue
        children[id(node)] = inside
        used += len(inside)
        for child in inside:
            heapq.heappush(heap, (-child.energy_j, next(serial), child, level + 1))
    stack = [(child, 0) for child in reversed(children[id(root)])]
    while stack:
        node, level = stack.pop()
        yield node, "  " * level
        stack.extend((child, level + 1) for child in reversed(children.get(id(node), [])))


def _visible(node: Node, total: float, least: float) -> list[Node]:
    shown = [child for child in node.children if child.energy_j >= least * total]
    hidden = [child for child in node.children if child.energy_j < least * total]
    # One small module is named, unless it is nothing: a line for it is needed anyway.
    if len(hidden) == 1 and hidden[0].energy_j >= 1e-4 * total:
        shown, hidden = [*shown, *hidden], []
    if sum(child.energy_j for child in hidden) > 0:
        what = "smaller modules" if len(hidden) > 1 else "smaller module"
        shown.append(_rest(f"{len(hidden)} {what}", hidden))
    own = own_energy_j(node)
    if node.children and own >= max(least, 1e-6) * total:
        latency = node.totals["latency_s"] - sum(c.totals["latency_s"] for c in node.children)
        macs = node.totals["macs"] - sum(c.totals["macs"] for c in node.children)
        sums = {
            "energy_j": own,
            "latency_s": max(0.0, latency),
            "macs": max(0.0, macs),
            "parameters": 0.0,
        }
        shown.append(Node("own ops", "", node.path, sums, own=True))
    return sorted(shown, key=lambda child: -child.energy_j)


def _rest(label: str, nodes: list[Node]) -> Node:
    sums = {name: sum(node.totals[name] for node in nodes) for name in nodes[0].totals}
    return Node(label, "", "", sums, own=True)
