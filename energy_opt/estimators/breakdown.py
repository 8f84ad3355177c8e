"""Sums of row prices over nodes, modules and kinds. Modules are inclusive: a path's sums hold its children's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from energy_opt.estimators.interval import Array
from energy_opt.estimators.work import RowWork
from energy_opt.ir.row import Row

COUNTS = ("matmul_flops", "other_flops", "bytes_read", "bytes_written")


@dataclass(frozen=True, slots=True)
class Sums:
    """What adds up: work[4] in the order of `COUNTS`, seconds, joules, the bound in seconds, and draws of the two."""

    work: Array
    price: Array
    draws_s: Array
    draws_j: Array
    nodes: int

    @property
    def latency_s(self) -> float:
        """Seconds."""
        return float(self.price[0])

    @property
    def energy_j(self) -> float:
        """Joules."""
        return float(self.price[1])

    @property
    def least_s(self) -> float:
        """The datasheet's bound, in seconds."""
        return float(self.price[2])


@dataclass(frozen=True, slots=True)
class RowArrays:
    """The rows of an estimate as matrices of one execution each: work[rows, 4], price[rows, 3], draws[rows, draws]."""

    work: Array
    price: Array
    draws_s: Array
    draws_j: Array

    def times(self, rows: Sequence[int], times: Array) -> Sums:
        """The sum of those rows, each as often as `times` says."""
        index = np.asarray(rows, dtype=np.intp)
        return Sums(
            times @ self.work[index],
            times @ self.price[index],
            times @ self.draws_s[index],
            times @ self.draws_j[index],
            len(rows),
        )


def prefixes(path: str) -> list[str]:
    """The path and every module above it, the root ('') last: `a.b` -> `a.b`, `a`, ``."""
    result = [path] if path else []
    while "." in path:
        path = path.rpartition(".")[0]
        result.append(path)
    return [*result, ""]


def tree(rows: Sequence[Row], works: Sequence[RowWork], arrays: RowArrays) -> dict[str, Sums]:
    """Inclusive sums of every module path that holds a node, in depth-first order of first occurrence."""
    own: dict[str, dict[int, float]] = {"": {}}
    nodes: dict[str, int] = {"": 0}
    for index, (row, work) in enumerate(zip(rows, works, strict=True)):
        for use, times in zip(row.uses, work.times, strict=True):
            for path in prefixes(use.path) if use.path not in own else [use.path]:
                own.setdefault(path, {})
                nodes.setdefault(path, 0)
            mine = own[use.path]
            mine[index] = mine.get(index, 0.0) + float(times)
            nodes[use.path] += 1
    sums = {
        path: arrays.times(list(parts), np.fromiter(parts.values(), np.float64, len(parts)))
        for path, parts in own.items()
    }
    order = depth_first(sums)
    # Deepest first, so that a child is complete when it is added to its parent.
    for path in reversed(order):
        if path:
            parent = path.rpartition(".")[0]
            sums[parent] = _add(sums[parent], sums[path])
            nodes[parent] += nodes[path]
    return {
        path: Sums(s.work, s.price, s.draws_s, s.draws_j, nodes[path])
        for path in order
        for s in (sums[path],)
    }


def depth_first(paths: Iterable[str]) -> list[str]:
    """The paths with every module directly followed by what is inside it; siblings keep their order."""
    children: dict[str, list[str]] = {}
    for path in paths:
        if path:
            children.setdefault(path.rpartition(".")[0], []).append(path)
    result, pending = [], [""]
    while pending:
        path = pending.pop()
        result.append(path)
        pending += reversed(children.get(path, []))
    return result


def by_kind(rows: Sequence[Row], works: Sequence[RowWork], arrays: RowArrays) -> dict[str, Sums]:
    """Sums per kind of work, costliest in joules first."""
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.kind, []).append(index)
    sums = {}
    for kind, indices in groups.items():
        counts = np.array([float(works[i].count) for i in indices])
        part = arrays.times(indices, counts)
        nodes = sum(len(rows[i].uses) for i in indices)
        sums[kind] = Sums(part.work, part.price, part.draws_s, part.draws_j, nodes)
    return dict(sorted(sums.items(), key=lambda item: -item[1].energy_j))


def number(value: float) -> Any:
    """A count for JSON: an int where it is one, so that 8.0 parameters do not appear."""
    return int(value) if np.isfinite(value) and value == int(value) else float(value)


def _add(first: Sums, second: Sums) -> Sums:
    return Sums(
        first.work + second.work,
        first.price + second.price,
        first.draws_s + second.draws_s,
        first.draws_j + second.draws_j,
        0,
    )
