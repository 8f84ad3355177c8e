"""Graphs of one module for sizes at which it runs other operators than elsewhere, made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from energy_opt.errors import DimError
from energy_opt.ir.graph import Graph


class Variants:
    """`Graph.variant` of a module. `make` gives its graph with these dims fixed at these sizes.

    `structural` says of a dim that every size is a graph of its own (None), or only a size of 1. `together` are dims of
    which no one is special at 1, but two are.
    """

    def __init__(
        self,
        make: Callable[[Mapping[str, int]], Graph],
        structural: Mapping[str, int | None],
        together: tuple[str, ...] = (),
    ) -> None:
        self._make = make
        self._structural = structural
        self._together = together
        self._made: dict[tuple[tuple[str, int], ...], Graph] = {}

    def __call__(self, graph: Graph, sizes: Mapping[str, Any]) -> Graph:
        """The graph for these sizes of dims. Raises DimError where an array of sizes needs many graphs."""
        wanted: dict[str, int] = {}
        for name, only in self._structural.items():
            size = sizes[name]
            if not isinstance(size, int):
                if only is None or np.any(size == only):
                    raise DimError(_many(graph, name, only))
            elif size == only or (only is None and size != graph.dims[name].default):
                wanted[name] = size
        ones = [name for name in self._together if np.any(sizes[name] == 1)]
        if len(ones) > 1:
            for name in ones:
                if not isinstance(sizes[name], int):
                    raise DimError(_many(graph, name, 1))
            wanted.update(dict.fromkeys(ones, 1))
        if not wanted:
            return graph
        key = tuple(sorted(wanted.items()))
        if key not in self._made:
            made = self._made[key] = self._make(wanted)
            made.dims = {
                name: replace(info, default=wanted.get(name, info.default))
                for name, info in graph.dims.items()
            }
        made = self._made[key]
        return made if made.variant is None else made.variant(made, sizes)


def _many(graph: Graph, name: str, only: int | None) -> str:
    if only is None:
        return f"the operators of {graph.source} depend on the size of {name!r}: give one size at a time"
    return f"{graph.source} runs other operators at {name} = {only} than elsewhere: give that size by itself"
