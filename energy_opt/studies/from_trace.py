"""from_trace: a trace that was recorded elsewhere, by kind of work and by module, beside the prediction."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from energy_opt.errors import UsageError
from energy_opt.estimators.breakdown import prefixes
from energy_opt.estimators.device import Device
from energy_opt.estimators.estimate import Estimate
from energy_opt.frontend import load
from energy_opt.ir.dims import evaluate, free_symbols
from energy_opt.ir.graph import Graph, bind, path_of
from energy_opt.ir.symbolic import carried
from energy_opt.measure.traces import Piece, Recorded, read_trace
from energy_opt.measure.traces.modules import Node, by_order, by_scope
from energy_opt.studies import choices
from energy_opt.studies.analyze import analyze
from energy_opt.studies.measurement import Measurement, compared, module_rows

__all__ = ["from_trace"]

_LIKE = 0.9
"""Share of the matrix operators whose recorded shapes have to be the model's; below it the sizes are another's."""
_NAMED = 12  # unmapped kernels that are named


def from_trace(
    file: str | os.PathLike[str],
    model: Any = None,
    inputs: Any = None,
    *,
    device: str | Device | None = None,
    iterations: int | None = None,
    runtime: str | None = None,
    dynamic: Any = None,
    settings: Mapping[str, Any] | None = None,
    depth: int | None = None,
    dims: Mapping[str, Any] | None = None,
    **sizes: Any,
) -> Measurement:
    """An inference's seconds by kind of work and by module in a trace, beside the prediction for `model` on `device`.

    `file` is a PyTorch profiler trace, an Nsight Systems export, or a CSV of `nsys stats`; see `read_trace`. Kernels
    are mapped to operators by correlation ids, to modules by the module calls that were recorded, or else by the order
    of calls. What nothing maps is named, with its share. `iterations` is how many inferences it holds, where it does
    not say. A free dim that is not given is taken from the shapes that were recorded.

    Raises:
        UsageError: the file is no trace that is known, or nothing says how many inferences it holds.
        ModelError, DimError, DeviceError: as `analyze`.
    """
    trace = read_trace(file)
    count = _iterations(trace, iterations)
    given = {**choices.sizes(dims), **sizes}
    notes = list(trace.notes)
    graph, estimate = None, None
    if model is not None:
        graph = load(model, inputs, dynamic=dynamic, settings=settings)
        given = {**_dims_of(trace.pieces, graph, given, notes), **given}
        _check_shapes(trace.pieces, graph, given, notes)
        if device is None:
            notes.append(
                "no prediction: name the device that the trace was recorded on with --device"
            )
        else:
            estimate = analyze(graph, device=device, runtime=runtime, dims=given)
    paths, how = _paths(trace, graph, count)
    result = Measurement(
        model={"source": graph.source if graph is not None else "", "runtime": "trace"},
        target={
            "name": trace.device,
            "kind": "gpu" if trace.device == "cuda" else "cpu",
            "label": trace.source,
        },
        runtime="trace",
        dims=dict(bind(graph.dims, given)) if graph is not None else given,
        estimate=estimate,
        meter={
            "meter": "none",
            "boundary": None,
            "provenance": None,
            "reason": "a trace holds no energy",
        },
        notes=notes,
        given_latency_s=trace.wall_s / count,
    )
    result.trace = _summary(trace, count, estimate, how)
    result.trace["module_share"] = _module_share(trace.pieces, paths) if how else None
    if how:
        timed = _by_module(trace.pieces, paths, count, depth)
        types = graph.modules if graph is not None else {}
        result.modules = module_rows(estimate, timed, (), types)
        if estimate is not None and depth is not None:
            result.modules = [row for row in result.modules if row["depth"] <= depth]
    return result


def _iterations(trace: Recorded, given: int | None) -> int:
    if given is not None:
        if given < 1:
            raise UsageError(
                f"iterations is {given!r}; give how many inferences the trace holds, at least 1"
            )
        return given
    if trace.iterations:
        return trace.iterations
    raise UsageError(
        f"{trace.source}: nothing in it says how many inferences it holds (no profiler steps, no module calls); say it "
        "with --iterations N"
    )


def _summary(trace: Recorded, count: int, estimate: Estimate | None, how: str) -> dict[str, Any]:
    total = trace.seconds
    unmapped = trace.unmapped()
    lost = sum(unmapped.values())
    return {
        "source": trace.source,
        "device": trace.device,
        "iterations": count,
        "wall_s": trace.wall_s / count,
        "device_s": total / count,
        "mapped_share": 1 - lost / total if total else None,
        "unmapped": [
            {
                "name": name,
                "kind": Piece(name, 0.0).kind,
                "latency_s": seconds / count,
                "share": seconds / total,
            }
            for name, seconds in list(unmapped.items())[:_NAMED]
        ],
        "unmapped_names": len(unmapped),
        "modules_by": how,
        "shapes_recorded": any(piece.shapes for piece in trace.pieces),
        "kinds": _kinds(trace.pieces, count, estimate),
    }


def _kinds(pieces: Iterable[Piece], count: int, estimate: Estimate | None) -> list[dict[str, Any]]:
    seconds: defaultdict[str, float] = defaultdict(float)
    by_name: defaultdict[str, float] = defaultdict(float)
    calls: Counter[str] = Counter()
    for piece in pieces:
        seconds[piece.kind] += piece.seconds
        calls[piece.kind] += 1
        if not piece.op:
            by_name[piece.kind] += piece.seconds
    predicted = {row["kind"]: row for row in (estimate.kinds() if estimate is not None else [])}
    rows = []
    for kind in sorted({*seconds, *predicted}, key=lambda kind: -seconds.get(kind, 0.0)):
        mine, theirs = seconds.get(kind), predicted.get(kind)
        rows.append(
            {
                "kind": kind,
                "pieces": calls[kind] / count,
                "latency_s": None if mine is None else mine / count,
                "by_kernel_name_s": by_name.get(kind, 0.0) / count,
                "predicted_latency_s": None if theirs is None else theirs["latency_s"],
                "predicted_latency_s_interval": None
                if theirs is None
                else theirs["latency_s_interval"],
                **compared("latency", None if mine is None else mine / count, theirs),
            }
        )
    return rows


# -- modules and sizes -----------------------------------------------------------------------------------------------


def _paths(trace: Recorded, graph: Graph | None, count: int) -> tuple[list[str | None], str]:
    """The module path of every piece, and what told them: `scopes`, `order` or nothing."""
    if graph is None:
        return [None] * len(trace.pieces), ""
    nodes = [Node(f"{node.domain}::{node.op_type}", path_of(node)) for node in graph.nodes()]
    chains = by_scope(trace.pieces, graph.modules, [node.path for node in nodes])
    if chains:
        return [
            chains.get(piece.scopes) if piece.scopes else None for piece in trace.pieces
        ], "scopes"
    calls = by_order(trace.pieces, nodes, count)
    return [calls.get(piece.call) for piece in trace.pieces], "order" if calls else ""


def _by_module(
    pieces: Iterable[Piece], paths: Iterable[str | None], count: int, depth: int | None
) -> dict[str, float]:
    """Seconds per inference by path, children included; the root holds what no module is known for, too."""
    found: dict[str, float] = {"": 0.0}
    for piece, path in zip(pieces, paths, strict=True):
        for above in prefixes(path or ""):
            if depth is None or (above.count(".") + 1 if above else 0) <= depth:
                found[above] = found.get(above, 0.0) + piece.seconds / count
    return found


def _module_share(pieces: Iterable[Piece], paths: Iterable[str | None]) -> float | None:
    """The share of the time that a module is known for."""
    pairs = [(piece.seconds, path is not None) for piece, path in zip(pieces, paths, strict=True)]
    total = sum(seconds for seconds, _ in pairs)
    return sum(seconds for seconds, known in pairs if known) / total if total else None


def _dims_of(
    pieces: Iterable[Piece], graph: Graph, given: Mapping[str, Any], notes: list[str]
) -> dict[str, int]:
    """Sizes of the dims that were not given, from the first recorded call of each operator."""
    taken = {*given, *(name for name, info in graph.dims.items() if {*info.aliases} & {*given})}
    wanted = {name for name, info in graph.dims.items() if info.origin == "input"} - taken
    first: dict[str, Piece] = {}
    for piece in pieces:
        if piece.shapes:
            first.setdefault(_plain(piece.op), piece)
    found: dict[str, int] = {}
    for node in graph.nodes():
        name = _plain(node.op_type)
        shapes = _node_shapes(node)
        if name not in first or len(shapes) != len((piece := first.pop(name)).shapes):
            continue
        for shape, recorded in zip(shapes, piece.shapes, strict=True):
            if len(shape) == len(recorded):
                for dim, size in zip(shape, recorded, strict=True):
                    if str(dim) in wanted:
                        found.setdefault(str(dim), size)
    if found:
        read = ", ".join(f"{name}={found[name]}" for name in graph.dims if name in found)
        notes.append(f"{read} was read from the shapes in the trace")
    return found


def _check_shapes(
    pieces: Iterable[Piece], graph: Graph, given: Mapping[str, Any], notes: list[str]
) -> None:
    """A note where the matrix operators in the trace have other shapes than the model at these sizes."""
    bound = bind(graph.dims, given)
    known: set[tuple[str, tuple[int, ...]]] = set()
    for node in graph.nodes():
        for shape in _node_shapes(node):
            if all(name in bound for name in map(str, free_symbols(list(shape)))):
                known.add(
                    (_plain(node.op_type), tuple(round(float(evaluate(d, bound))) for d in shape))
                )
    matrix = [p for p in pieces if p.shapes and p.op and p.kind in ("matmul", "conv", "attention")]
    if not matrix:
        return
    like = sum((_plain(p.op), p.shapes[0]) in known for p in matrix) / len(matrix)
    if like < _LIKE:
        at = ", ".join(f"{name}={size}" for name, size in bound.items())
        notes.append(
            f"only {like:.0%} of the matrix operators in the trace have the shapes of the model at "
            f"{at or 'its sizes'}: give the sizes that were run with --dim, or the settings with --set"
        )


def _node_shapes(node: Any) -> list[tuple[Any, ...]]:
    """Shapes of a node's tensor inputs that have axes; a trace leaves out scalars."""
    shapes = []
    for value in node.inputs:
        if value is None or value.shape is None or not len(value.shape):
            continue
        shapes.append(
            tuple(dim if isinstance(dim, int) else (carried(dim) or -1) for dim in value.shape.dims)
        )
    return shapes


def _plain(op: str) -> str:
    return op.rpartition("::")[2].rstrip("_")
