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

    `structural` says of a dim that every size is a graph of its own (None), or which sizes are. `together` are dims of
    which no one is special at 1, but two are. An array of sizes is one graph: that some of its sizes would be others is
    said in a note.
    """

    def __init__(
        self,
        make: Callable[[Mapping[str, int]], Graph],
        structural: Mapping[str, frozenset[int] | None],
        together: tuple[str, ...] = (),
    ) -> None:
        self._make = make
        self._structural = structural
        self._together = together
        self._made: dict[tuple[tuple[str, int], ...], Graph] = {}

    def __call__(self, graph: Graph, sizes: Mapping[str, Any]) -> Graph:
        """The graph for these sizes of dims. Raises DimError where an array of sizes needs many graphs."""
        wanted: dict[str, int] = {}
        passed: list[str] = []  # sizes in arrays that are not treated as they should be
        for name, special in self._structural.items():
            size = sizes[name]
            if isinstance(size, int):
                if size in special if special is not None else size != graph.dims[name].default:
                    wanted[name] = size
            elif special is None:
                raise DimError(
                    f"the operators of {graph.source} depend on the size of {name!r}: give one size at a time"
                )
            else:
                passed += [f"{name} = {one}" for one in sorted(special) if np.any(size == one)]
        ones = [name for name in self._together if np.any(sizes[name] == 1)]
        if len(ones) > 1:
            alone = all(isinstance(sizes[name], int) for name in ones)
            wanted.update(dict.fromkeys(ones, 1) if alone else {})
            passed += [] if alone else [" and ".join(f"{name} = 1" for name in ones)]
        if passed:
            note = (
                f"the model runs somewhat other operators at {', '.join(passed)}; among other sizes it is priced as "
                "they are, given by itself as it is"
            )
            graph = replace(graph, notes=[*graph.notes, note])
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
