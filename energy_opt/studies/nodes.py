"""Times of an optimised ONNX graph's nodes -> times of the modules that they came from."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx_ir

from energy_opt.estimators.breakdown import prefixes
from energy_opt.frontend.scopes import assign_scopes
from energy_opt.ir.graph import Graph, path_of


def by_module(
    times: Iterable[Any], optimised: Path, original: Graph | None, depth: int | None = None
) -> tuple[dict[str, float], float]:
    """Seconds by module path, children included, and the seconds of nodes that no module owns.

    `times` are `NodeTime`s. A node of the optimised graph belongs to the module that its own name, or else its weights
    or its neighbours, speak of; the root holds all of them.
    """
    paths = _paths(optimised)
    if original is not None:
        paths = {**paths, **{node.name: path_of(node) for node in original.nodes() if node.name}}
    found: dict[str, float] = {"": 0.0}
    unmapped_s = 0.0
    scoped = any(paths.values())
    known = None
    if original is not None:
        known = {above for node in original.nodes() for above in prefixes(path_of(node))}
    for time in times:
        path = _known(paths.get(time.name, ""), known)
        if not path and scoped:
            unmapped_s += time.latency_s
        for above in prefixes(path or ""):
            if depth is None or (above.count(".") + 1 if above else 0) <= depth:
                found[above] = found.get(above, 0.0) + time.latency_s
    return found, unmapped_s


def _known(path: str, known: set[str] | None) -> str:
    """The path, or the innermost module above it that the file has: a fusion's name hangs on a node's."""
    return next(above for above in prefixes(path) if known is None or above in known or not above)


def types(graph: Graph | None) -> Mapping[str, str]:
    """The class of every module path."""
    return {} if graph is None else graph.modules


def _paths(file: Path) -> dict[str, str]:
    logger = logging.getLogger("onnx_ir")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        graph = Graph(onnx_ir.load(file), str(file))
        assign_scopes(graph)
    except Exception:  # noqa: BLE001 - a file that another library has rewritten; its names then go unused
        return {}
    finally:
        logger.setLevel(level)
    return {node.name: path_of(node) for node in graph.nodes() if node.name}
