"""The table of passes, and what every pass has in common."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from energy_opt.ir.graph import Graph

Pass = Callable[[Graph], Graph]

PASSES: dict[str, Pass] = {}


def register(name: str) -> Callable[[Pass], Pass]:
    """Register the decorated function as the pass of that name.

    A graph that is another one at some sizes (`Graph.at`) stays so: the pass is then made on that one.
    """

    def add(function: Pass) -> Pass:
        @functools.wraps(function)
        def run(graph: Graph) -> Graph:
            made = function(graph)
            if graph.variant is not None and made is not graph:
                made.variant = functools.partial(_variant, run, graph)
            return made

        PASSES[name] = run
        return run

    return add


def _variant(run: Pass, before: Graph, after: Graph, sizes: Mapping[str, Any]) -> Graph:
    assert before.variant is not None
    other = before.variant(before, sizes)
    return after if other is before else run(other)
