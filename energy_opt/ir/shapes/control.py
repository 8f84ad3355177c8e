"""If, Loop, Scan and SequenceMap: what the graphs inside them make, and how often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import onnx_ir
import sympy

from energy_opt.errors import ModelError
from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.info import Call, Info
from energy_opt.ir.shapes.sequence import common
from energy_opt.ir.shapes.space import Space
from energy_opt.ir.shapes.values import TRIP_KEY

if TYPE_CHECKING:
    from energy_opt.ir.shapes.engine import Engine

TRIPS_LIMIT = 2**31 - 1
"""From here on a trip count means "until the condition says stop"."""

RERUN_DEPTH = 3
"""Loops nested deeper are widened at once instead of being walked again: each rerun multiplies."""


def _graph(call: Call, name: str) -> onnx_ir.Graph:
    graph = call.attrs.get(name)
    if not isinstance(graph, onnx_ir.Graph):
        call.fail(f"attribute {name!r} is missing or is not a graph")
    return graph


def _walk(engine: Engine, graph: onnx_ir.Graph) -> list[Info]:
    engine.enter(graph)
    return [engine.info(value) for value in graph.outputs]


def if_(engine: Engine, node: onnx_ir.Node, call: Call) -> Sequence[Info]:
    """What both branches share; a branch that cannot be taken, or contradicts itself, does not count.

    Exporters write `If(size == 1): Squeeze` around any tensor, so the branch not taken often makes no sense.
    """
    condition = call.input(0).values
    taken = condition[0] if condition else None
    results: list[list[Info]] = []
    problem: ModelError | None = None
    for name, live in (("then_branch", taken != 0), ("else_branch", taken in (0, None))):
        graph = _graph(call, name)
        try:
            found = _walk(engine, graph)
        except ModelError as error:
            if taken is not None and live:
                raise
            problem = error
            continue
        if live:
            results.append(found)
    if not results:
        if problem is not None:
            raise problem
        return []
    engine.space.where = (call.op, call.name)
    if len(results) == 1:
        return results[0]
    return [common(engine.space, pair) for pair in zip(*results, strict=False)]


def loop(engine: Engine, node: onnx_ir.Node, call: Call) -> Sequence[Info]:
    """Carried values as they end, and one slice of each scan output per trip."""
    body = _graph(call, "body")
    trips = _trips(call)
    node.meta[TRIP_KEY] = trips
    start = [Info() if info is None else info._replace(values=None) for info in call.inputs[2:]]
    carried = [_forget_items(info) for info in start]
    deep = engine.depth >= RERUN_DEPTH
    if deep:
        carried = [_opened(engine, info) for info in carried]
    growing = len(carried)
    made: list[Info] = []
    after: list[Info] = []
    for attempt in range(3):
        _bind(engine, body, [Info((), onnx_ir.DataType.INT64), Info((), onnx_ir.DataType.BOOL)])
        _bind(engine, body, carried, 2)
        made = _walk(engine, body)
        after = made[1 : 1 + growing]
        engine.space.where = (call.op, call.name)
        if attempt == 2 or deep or all(_same(a, b) for a, b in zip(carried, after, strict=False)):
            break
        widened = [_widen(engine, a, b) for a, b in zip(carried, after, strict=False)]
        if widened == carried:
            break
        carried = widened
    finals = [
        _final(engine, first, inside, outside, trips)
        for first, inside, outside in zip(start, carried, after, strict=False)
    ]
    slices = [
        Info(None if info.shape is None else (trips, *info.shape), info.dtype)
        for info in made[1 + growing :]
    ]
    return [*finals, *slices]


def _trips(call: Call) -> Dim:
    """The trip count: constant, computed from shapes, or a symbol of its own."""
    limit, condition = call.optional(0), call.optional(1)
    if condition is not None and condition.values and condition.values[0] == 0:
        return 0
    value = limit.values[0] if limit is not None and limit.values else None
    if isinstance(value, int) and value < TRIPS_LIMIT:
        return max(value, 0)
    if isinstance(value, sympy.Expr):
        return call.space.maximum(value, 0)
    return call.space.fresh("trip", "trips")


def _bind(engine: Engine, body: onnx_ir.Graph, infos: Sequence[Info], offset: int = 0) -> None:
    """Give a body's inputs what they are called with, on top of what the file declares of them."""
    for value, info in zip(body.inputs[offset:], infos, strict=False):
        if info.dtype is None and value.dtype is not None:
            info = info._replace(dtype=value.dtype)
        engine.set(value, info)


def _forget_items(info: Info) -> Info:
    """What holds in every trip; that a sequence starts empty is kept, for its elements' shape is still to come."""
    return info._replace(items=None, length=0 if info.items == () else None) if info.nest else info


def _opened(engine: Engine, info: Info) -> Info:
    if info.shape is None:
        return info
    return info._replace(shape=tuple(engine.space.fresh("trip") for _ in info.shape))


def _same(inside: Info, outside: Info) -> bool:
    return inside.shape == outside.shape or outside.shape is None


def _widen(engine: Engine, inside: Info, outside: Info) -> Info:
    """What holds before any trip: sizes that change from trip to trip become symbols."""
    if inside.shape is None or outside.shape is None:
        if (
            inside.nest and inside.length == 0
        ):  # the body gives an empty sequence its elements' shape
            return inside._replace(shape=outside.shape, length=engine.space.fresh("trip"))
        return inside if inside.nest else inside._replace(shape=None)
    if len(inside.shape) != len(outside.shape):
        return inside._replace(shape=None)
    dims = [
        a if a == b else engine.space.fresh("trip")
        for a, b in zip(inside.shape, outside.shape, strict=True)
    ]
    return inside._replace(shape=tuple(dims))


def _final(engine: Engine, first: Info, inside: Info, outside: Info, trips: Dim) -> Info:
    """A carried value after the last trip: unchanged, grown by the same amount each trip, or unknown."""
    space = engine.space
    if trips == 0:
        return first
    dtype = first.dtype if first.dtype is not None else outside.dtype
    nest = outside.nest or first.nest
    if first.shape is None or outside.shape is None or len(first.shape) != len(outside.shape):
        grown = outside.shape if trips == 1 or (first.nest and first.shape is None) else None
        return Info(grown, dtype, None, nest, None, _length(space, first, inside, outside, trips))
    if inside.shape is None:
        return Info(None, dtype, None, nest)
    changing = {
        a
        for a, b in zip(inside.shape, first.shape, strict=True)
        if a != b and not isinstance(a, int)
    }
    dims: list[Dim] = []
    for before, held, after in zip(first.shape, inside.shape, outside.shape, strict=True):
        step = space.sub(after, held)
        if step == 0 and held == before:
            dims.append(before)
        elif isinstance(step, int) or not step.free_symbols & changing:
            dims.append(space.add(before, space.mul(trips, step)))
        else:
            dims.append(space.fresh())
    return Info(tuple(dims), dtype, None, nest)


def _length(space: Space, first: Info, inside: Info, outside: Info, trips: Dim) -> Dim | None:
    """Elements of a sequence that every trip lengthens by the same number."""
    if first.length is None or inside.length is None or outside.length is None:
        return None
    step = space.sub(outside.length, inside.length)
    return space.add(first.length, space.mul(trips, step)) if isinstance(step, int) else None


def scan(engine: Engine, node: onnx_ir.Node, call: Call) -> Sequence[Info]:
    """States as they end, and the slices that each trip makes, stacked."""
    body = _graph(call, "body")
    scanned = call.int_attr("num_scan_inputs")
    batched = call.version < 9  # then the first input holds lengths and every tensor a batch axis
    inputs = list(call.inputs[1:] if batched else call.inputs)
    states = len(inputs) - scanned
    if scanned < 1 or states < 0:
        call.fail(f"{scanned} scan inputs among {len(inputs)} inputs")
    lead = 1 if batched else 0
    axes = call.ints_attr("scan_input_axes") or [0] * scanned
    out_axes = call.ints_attr("scan_output_axes") or [0] * max(call.outputs - states, 0)
    trips: Dim | None = None
    batch: Dim | None = None
    given: list[Info] = []
    for index, info in enumerate(inputs):
        info = Info() if info is None else info._replace(values=None)
        if info.shape is None:
            given.append(info)
            continue
        shape = info.shape
        if batched:
            if not shape:
                call.fail("a scalar among the inputs, each has a batch axis")
            batch, shape = shape[0], shape[1:]
        if index >= states:
            place = axes[index - states] if index - states < len(axes) else 0
            axis = call.axis(place, len(shape))
            length = shape[axis]
            if isinstance(trips, int) and isinstance(length, int) and trips != length:
                call.fail(f"scan inputs of {trips} and {length} slices")
            trips = length if trips is None or isinstance(length, int) else trips
            shape = (*shape[:axis], *shape[axis + 1 :])
        given.append(info._replace(shape=shape))
    if trips is None:
        trips = engine.space.fresh("trip", "trips")
    node.meta[TRIP_KEY] = trips
    _bind(engine, body, given)
    made = _walk(engine, body)
    engine.space.where = (call.op, call.name)
    outer = () if not lead else (engine.space.fresh("input") if batch is None else batch,)
    results: list[Info] = []
    for index, info in enumerate(made):
        if info.shape is None:
            results.append(Info(None, info.dtype))
        elif index < states:
            results.append(Info((*outer, *info.shape), info.dtype))
        else:
            place = out_axes[index - states] if index - states < len(out_axes) else 0
            axis = call.axis(place, len(info.shape) + 1)
            shape = (*info.shape[:axis], trips, *info.shape[axis:])
            results.append(Info((*outer, *shape), info.dtype))
    return results


def sequence_map(engine: Engine, node: onnx_ir.Node, call: Call) -> Sequence[Info]:
    """One element of each result per element of the first sequence."""
    body = _graph(call, "body")
    first = call.input(0)
    length = first.length
    if length is None:
        length = engine.space.fresh("trip", "trips")
    node.meta[TRIP_KEY] = length
    given = [
        Info()
        if info is None
        else info._replace(nest=info.nest.removeprefix("s"), values=None, items=None, length=None)
        for info in call.inputs
    ]
    _bind(engine, body, given)
    made = _walk(engine, body)
    return [Info(info.shape, info.dtype, None, "s" + info.nest, None, length) for info in made]


def flex_attention(engine: Engine, node: onnx_ir.Node, call: Call) -> Sequence[Info]:
    """Bind the bodies that change scores or probabilities to scores[batch, heads, query, key]."""
    query, key = call.input(0), call.input(1)
    if (
        query.shape is not None
        and key.shape is not None
        and len(query.shape) == len(key.shape) == 4
    ):
        scores = Info((*query.shape[:3], key.shape[2]), query.dtype)
        for attribute in node.attributes.values():
            if attribute.type is onnx_ir.AttributeType.GRAPH:
                _bind(engine, attribute.as_graph(), [scores])
                _walk(engine, attribute.as_graph())
    return engine.plain(node, call)


CONTROL: dict[str, Callable[[Engine, onnx_ir.Node, Call], Sequence[Info]]] = {
    "If": if_,
    "Loop": loop,
    "Scan": scan,
    "SequenceMap": sequence_map,
    "ai.onnx.preview::FlexAttention": flex_attention,
}
