"""The module tree of an analysis as reports show it: sorted by energy, repeated siblings folded into one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

SUMMED = (
    "energy_j",
    "latency_s",
    "macs",
    "matmul_flops",
    "other_flops",
    "bytes_read",
    "bytes_written",
    "parameters",
    "weight_bytes",
)
# Deeper modules show as their parent's own work: a hostile file may nest thousands, and walks recurse.
_MAX_DEPTH = 100
_LAST_NUMBER = re.compile(r"^(.*?)(\d+)(\D*)$", re.DOTALL)


@dataclass(frozen=True)
class Node:
    """A module, or `repeats` modules of one shape taken together; `totals` is the sum over all of them."""

    label: str
    type: str
    path: str
    totals: Mapping[str, float]
    children: tuple[Node, ...] = ()
    repeats: int = 1
    own: bool = False
    paths: tuple[str, ...] = ()

    @property
    def energy_j(self) -> float:
        """Energy in joules of the module and everything below it."""
        return self.totals["energy_j"]

    def sorted(self) -> Node:
        """The same tree with children in order of falling energy."""
        children = sorted((child.sorted() for child in self.children), key=lambda c: -c.energy_j)
        return replace(self, children=tuple(children))


@dataclass
class _Building:
    entry: Mapping[str, Any]
    children: list[_Building] = field(default_factory=list)


def tree(analysis: Mapping[str, Any], *, fold: bool = True) -> Node:
    """The module tree in order of falling energy; with `fold`, siblings of one shape become one node."""
    top = build(analysis)
    return (folded(top) if fold else top).sorted()


def build(analysis: Mapping[str, Any]) -> Node:
    """The module tree as the file has it; a module whose parents are not listed hangs below the root."""
    listed = (entry for entry in analysis.get("modules") or () if str(entry.get("path") or ""))
    entries = [entry for entry in listed if str(entry["path"]).count(".") < _MAX_DEPTH]
    root = _Building(next(_roots(analysis), {"path": "", **(analysis.get("totals") or {})}))
    known = {"": root}
    for entry in sorted(entries, key=lambda e: str(e["path"]).count(".")):
        path = str(entry["path"])
        node = _Building(entry)
        known[_parent(path, known)].children.append(node)
        known[path] = node
    order, stack = [], [(root, "")]
    while stack:
        item, parent_path = stack.pop()
        order.append((item, parent_path))
        stack.extend((child, str(item.entry.get("path") or "")) for child in item.children)
    done: dict[int, Node] = {}
    for item, parent_path in reversed(order):
        done[id(item)] = _node(item, parent_path, [done[id(child)] for child in item.children])
    return done[id(root)]


def folded(node: Node) -> Node:
    """The tree with siblings of one shape merged: `layer.0`, ... `layer.11` become `layer.0 … 11`."""
    groups: dict[tuple[object, ...], list[Node]] = {}
    for position, child in enumerate(node.children):
        groups.setdefault(_shape(child, position), []).append(child)
    children = tuple(_joined(folded(_merged(group))) for group in groups.values())
    return replace(node, children=children)


def group_ops(ops: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Ops in order of falling energy; the same op in other layers is counted together, under `repeats`."""
    groups: dict[tuple[object, ...], dict[str, Any]] = {}
    for op in ops:
        key = (
            op.get("op"),
            op.get("kind"),
            op.get("bound"),
            _signature(op),
            _without_numbers(str(op.get("path") or "") or str(op.get("name") or "")),
        )
        group = groups.get(key)
        if group is None:
            groups[key] = {**op, "repeats": 1, "paths": [str(op.get("path") or "")]}
            continue
        group["repeats"] += 1
        group["paths"].append(str(op.get("path") or ""))
        for name in SUMMED:
            if op.get(name) is not None:
                group[name] = (group.get(name) or 0) + op[name]
    found = list(groups.values())
    for group in found:
        group["label"] = op_label(group)
    return sorted(found, key=lambda g: -(g.get("energy_j") or 0.0))


def op_label(group: Mapping[str, Any], *, short: bool = False) -> str:
    """Where an op is, for people: its module path, or its own name where the file has no modules.

    Repeats show as `layer.[0 … 11].dense`, or `layer.*.dense` when short.
    """
    paths: Sequence[str] = group.get("paths") or [str(group.get("path") or "")]
    if len(paths) == 1 or not paths[0]:
        return paths[0] or str(group.get("name") or group.get("op") or "")
    pieces = [re.split(r"(\d+)", path) for path in (paths[0], *paths[1:])]
    if any(len(piece) != len(pieces[0]) for piece in pieces):
        return paths[0]
    return "".join(_span(column, short) for column in zip(*pieces, strict=True))


def own_energy_j(node: Node) -> float:
    """Energy in joules of the ops that sit directly in the module, in no module below it."""
    return max(0.0, node.energy_j - sum(child.energy_j for child in node.children))


def _roots(analysis: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (entry for entry in analysis.get("modules") or () if not str(entry.get("path") or ""))


def _parent(path: str, known: Mapping[str, object]) -> str:
    while "." in path:
        path = path.rpartition(".")[0]
        if path in known:
            return path
    return ""


def _node(item: _Building, parent_path: str, children: list[Node]) -> Node:
    entry, path = item.entry, str(item.entry.get("path") or "")
    totals = {name: float(entry.get(name) or 0.0) for name in SUMMED}
    label = path.removeprefix(parent_path + ".") if parent_path else path
    return Node(label, str(entry.get("type") or ""), path, totals, tuple(children), paths=(path,))


def _joined(node: Node) -> Node:
    """`encoder` with nothing in it but `layer` becomes `encoder.layer`: one line instead of two that say the same."""
    if len(node.children) != 1 or node.repeats > 1:
        return node
    only = node.children[0]
    if only.energy_j < 0.999 * node.energy_j:
        return node
    return replace(only, label=f"{node.label}.{only.label}")


def _shape(node: Node, position: int) -> tuple[object, ...]:
    match = _LAST_NUMBER.match(node.label)
    # `0`, `layer.11`, `block_3` with content repeat; `conv1` and `conv2` are different things with like names.
    if match is None or not (node.children or node.label.rpartition(".")[2].isdigit()):
        return (position,)
    stem, _, suffix = match.groups()
    # Parameters do not count: a layer that shares another's weights is still the same layer.
    macs, other = node.totals["macs"], node.totals["other_flops"]
    # Bytes written tell a layer that widens from one that narrows, which have the same MACs.
    written = node.totals["bytes_written"]
    counts = (f"{macs:.1e}", "" if macs else f"{other:.1e}", f"{written:.0e}")
    kinds = tuple(sorted(child.type for child in node.children))
    return (stem, suffix, node.type, counts, kinds)


def _merged(nodes: Sequence[Node]) -> Node:
    first = nodes[0]
    if len(nodes) == 1:
        return first
    totals = {name: sum(node.totals[name] for node in nodes) for name in SUMMED}
    by_label: dict[str, list[Node]] = {}
    for node in nodes:
        for child in node.children:
            by_label.setdefault(child.label, []).append(child)
    children = []
    for group in by_label.values():
        merged = _merged([replace(child, label=group[0].label) for child in group])
        children.append(replace(merged, label=group[0].label, repeats=group[0].repeats))
    return Node(
        label=_range_label([node.label for node in nodes]),
        type=first.type,
        path=first.path,
        totals=totals,
        children=tuple(children),
        repeats=len(nodes),
        paths=tuple(path for node in nodes for path in node.paths),
    )


def _range_label(labels: Sequence[str]) -> str:
    matches = [match for label in labels if (match := _LAST_NUMBER.match(label))]
    if len(matches) != len(labels):
        return labels[0]
    numbers = sorted({int(match.group(2)) for match in matches if len(match.group(2)) < 10})
    stem, suffix = matches[0].group(1), matches[0].group(3)
    return f"{stem}{_numbers(numbers)}{suffix}"


def _numbers(numbers: Sequence[int]) -> str:
    if not numbers:
        return "*"
    if len(numbers) == 1:
        return str(numbers[0])
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} … {numbers[-1]}"
    if len(numbers) <= 4:
        return ", ".join(map(str, numbers))
    return f"{numbers[0]}, {numbers[1]}, … {numbers[-1]}"


def _span(column: Sequence[str], short: bool) -> str:
    distinct = list(dict.fromkeys(column))
    if len(distinct) == 1:
        return distinct[0]
    if short:
        return "*"
    return f"[{_numbers(sorted({int(text) for text in distinct if len(text) < 10}))}]"


def _signature(op: Mapping[str, Any]) -> tuple[object, ...]:
    names = ("matmul_flops", "other_flops", "bytes_read", "bytes_written", "dtype")
    return tuple(op.get(name) for name in names)


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "#", text)
