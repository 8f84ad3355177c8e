"""Which module a piece of a trace belongs to: by the module calls around it, else by the order of calls."""

from __future__ import annotations

import difflib
import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from energy_opt.measure.traces.recorded import Piece, Scope

_UNCALLED = frozenset({"ModuleList", "ModuleDict"})
"""Modules that hold others and are never called, so that no trace shows them."""
_MOST_CALLS = 20_000  # alignment takes their square in the worst case


@dataclass(frozen=True)
class Node:
    """An operator of the model's graph: its name and its module path."""

    op: str
    path: str


def by_scope(
    pieces: Sequence[Piece], modules: Mapping[str, str], order: Sequence[str]
) -> dict[tuple[Scope, ...], str]:
    """The path of every chain of module calls in the trace.

    A trace names classes and counts instances (`BertLayer_3`), the model has paths. Both are walked from the root: of
    the children of one class, the first called in the trace is the first that the model computes, and so on. `modules`
    are the classes by path, `order` the paths in which the model computes, first occurrences first. A scope that is
    itself a path stands for that.
    """
    chains = list(dict.fromkeys(piece.scopes for piece in pieces if piece.scopes))
    children = _children(modules, order)
    found: dict[Scope, str] = {}
    used: defaultdict[str, set[str]] = defaultdict(set)
    result: dict[tuple[Scope, ...], str] = {}
    for chain in chains:
        at: str | None = None
        for scope in chain:
            known = found.get(scope)
            if known is None:
                known = _match(scope, at, modules, children, used)
                if known is not None:
                    found[scope] = known
            if known is not None:
                at = known
        if at is not None:
            result[chain] = at
    return result


def _match(
    scope: Scope,
    at: str | None,
    modules: Mapping[str, str],
    children: Mapping[str, list[str]],
    used: Mapping[str, set[str]],
) -> str | None:
    if scope.instance in modules:
        return scope.instance
    if at is None:
        return "" if scope.type == modules.get("") else None
    # Breadth first: a child before a grandchild that is called without its parent.
    level = list(children.get(at, ()))
    while level:
        for path in level:
            if modules.get(path) == scope.type and path not in used[at]:
                used[at].add(path)
                return path
        level = [child for path in level for child in children.get(path, ())]
    return None


def _children(modules: Mapping[str, str], order: Sequence[str]) -> dict[str, list[str]]:
    """Children by path, in the order in which the model computes; those of an uncalled module are its parent's."""
    places: dict[str, int] = {}
    for place, path in enumerate(order):
        while True:
            places.setdefault(path, place)
            if not path:
                break
            path = path.rpartition(".")[0]
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted((p for p in modules if p), key=lambda path: places.get(path, len(order))):
        if modules[path] in _UNCALLED:
            continue
        parent = path.rpartition(".")[0]
        while parent and modules.get(parent, "ModuleList") in _UNCALLED:
            parent = parent.rpartition(".")[0]
        found[parent].append(path)
    return dict(found)


def by_order(pieces: Sequence[Piece], nodes: Sequence[Node], iterations: int) -> dict[int, str]:
    """The path of calls by their number, where no scope says: each inference aligned with the graph's nodes.

    Both are in the order in which they run, so that equal names in equal order are the same operator.
    """
    calls = sorted({piece.call: piece.op for piece in pieces if piece.op}.items())
    each = len(calls) // iterations if iterations else 0
    if not each or each * iterations != len(calls) or max(each, len(nodes)) > _MOST_CALLS:
        return {}
    result: dict[int, str] = {}
    names = tuple(_plain(node.op) for node in nodes)
    for start in range(0, len(calls), each):
        part = calls[start : start + each]
        # Inferences are alike, so that one alignment serves nearly all of them.
        for a, b, size in _aligned(tuple(_plain(op) for _, op in part), names):
            for offset in range(size):
                result[part[a + offset][0]] = nodes[b + offset].path
    return result


@functools.lru_cache(maxsize=64)
def _aligned(ops: tuple[str, ...], names: tuple[str, ...]) -> list[tuple[int, int, int]]:
    matcher = difflib.SequenceMatcher(None, ops, names, autojunk=False)
    return [(block.a, block.b, block.size) for block in matcher.get_matching_blocks()]


def _plain(op: str) -> str:
    return op.rpartition("::")[2].rstrip("_")
