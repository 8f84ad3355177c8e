"""PyTorch profiler traces: the JSON that `torch.profiler.profile(...).export_chrome_trace` writes.

On a GPU a kernel names the launch that it came from (`correlation`) and the operator (`External id`); the launch lies
within the operator's interval on its thread, and that within the module's, if `with_stack=True` recorded modules. On a
CPU the operators' own intervals are the time.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from energy_opt.errors import UsageError
from energy_opt.measure.traces.nesting import Call, Role, Span, Walk, walk
from energy_opt.measure.traces.recorded import MOST_BYTES, Piece, Recorded, Scope

_GPU = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
_LAUNCHES = frozenset({"cuda_runtime", "cuda_driver", "hip_runtime"})
_MODULE = re.compile(r"nn\.Module: (?P<type>.+)_(?P<number>\d+)")
_STEP = "ProfilerStep#"


def read(path: Path) -> Recorded:
    """The trace in a .json or .json.gz file.

    Raises:
        UsageError: it is not such a trace, or holds no operators.
    """
    events = _events(path)
    threads: defaultdict[tuple[Any, Any], list[Span]] = defaultdict(list)
    kernels: list[Mapping[str, Any]] = []
    for event in events:
        if not isinstance(event, dict) or event.get("ph") != "X":
            continue
        if event.get("cat") in _GPU:
            kernels.append(event)
        elif (span := _span(event)) is not None:
            threads[event.get("pid"), event.get("tid")].append(span)
    found = walk(list(threads.values()))
    if not found.calls and not kernels:
        raise UsageError(
            f"{path}: no operators or kernels in it; record with torch.profiler.profile(record_shapes=True, "
            "with_stack=True) and write it with export_chrome_trace"
        )
    trace = Recorded(str(path), "cuda" if kernels else "cpu")
    trace.pieces = _kernels(kernels, found) if kernels else _calls(found)
    _count(trace, found)
    trace.wall_s = _wall(found, kernels)
    if not found.scopes:
        trace.notes.append(
            "the trace names no modules: record with with_stack=True (with_modules alone covers TorchScript only)"
        )
    return trace


def _events(path: Path) -> list[Any]:
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        if zipped:
            with gzip.open(path) as file:
                text = file.read(MOST_BYTES + 1)
        else:
            text = path.read_bytes()
        if len(text) > MOST_BYTES:
            raise UsageError(
                f"{path}: more than {MOST_BYTES / 1e9:.1f} GB unpacked, and traces are read whole; record fewer steps"
            )
        data = json.loads(text)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}: not JSON: {str(error).splitlines()[0][:200]}; was it cut off?"
        ) from error
    events = data.get("traceEvents") if isinstance(data, dict) else data
    if not isinstance(events, list):
        raise UsageError(f"{path}: JSON, but no trace: there is no list of traceEvents in it")
    return events


def _span(event: Mapping[str, Any]) -> Span | None:
    category, name = event.get("cat"), str(event.get("name", ""))
    given = event.get("args") or {}
    role: Role
    scope, key = None, None
    if category == "cpu_op":
        role, key = "op", _int(given.get("External id"))
    elif category in _LAUNCHES:
        role, key = "launch", _int(given.get("correlation"))
    elif category == "user_annotation" and name.startswith(_STEP):
        role = "step"
    elif category == "python_function" and (match := _MODULE.fullmatch(name)):
        role, scope = "module", Scope(match["type"], name)
    else:
        return None
    try:
        start_s, length_s = 1e-6 * float(event["ts"]), 1e-6 * float(event.get("dur", 0))
    except (KeyError, TypeError, ValueError):
        return None
    shapes = _shapes(given.get("Input Dims")) if role == "op" else ()
    return Span(role, name, start_s, start_s + length_s, key, scope, shapes)


def _shapes(dims: Any) -> tuple[tuple[int, ...], ...]:
    """Shapes of the tensors among the inputs; what is not a tensor has an empty list."""
    found: list[tuple[int, ...]] = []
    for each in dims if isinstance(dims, list) else ():
        if isinstance(each, list) and each and all(isinstance(size, int) for size in each):
            found.append(tuple(each))
        elif isinstance(each, list):
            found += _shapes(each)
    return tuple(found)


def _kernels(events: list[Mapping[str, Any]], found: Walk) -> list[Piece]:
    pieces = []
    for event in events:
        given = event.get("args") or {}
        correlation, external = _int(given.get("correlation")), _int(given.get("External id"))
        call = found.by_launch.get(correlation) if correlation is not None else None
        if call is None and external is not None:
            call = found.by_id.get(external)
        if (
            found.steps
            and correlation not in found.launched_in_step
            and not (call and call.in_step)
        ):
            continue
        try:
            seconds = 1e-6 * float(event.get("dur", 0))
        except (TypeError, ValueError):
            continue
        pieces.append(_piece(str(event.get("name", "")), seconds, call))
    return pieces


def _calls(found: Walk) -> list[Piece]:
    return [_piece(call.op, call.seconds, call) for call in found.calls if call.in_step]


def _piece(name: str, seconds: float, call: Call | None) -> Piece:
    if call is None:
        return Piece(name, seconds)
    return Piece(name, seconds, call.op, call.index, call.scopes, call.shapes)


def _count(trace: Recorded, found: Walk) -> None:
    """How many inferences: the profiler's steps, else the calls of the outermost module."""
    if found.steps:
        trace.iterations = len(found.steps)
        return
    roots = Counter(piece.scopes[0] for piece in trace.pieces if piece.scopes)
    if roots:
        trace.iterations = found.scopes[roots.most_common(1)[0][0]]


def _wall(found: Walk, kernels: list[Mapping[str, Any]]) -> float:
    if found.steps:
        return sum(step.end_s - step.start_s for step in found.steps)
    spans = [(call.start_s, call.start_s + call.seconds) for call in found.calls]
    if kernels:
        spans = [
            (1e-6 * float(event["ts"]), 1e-6 * (float(event["ts"]) + float(event.get("dur", 0))))
            for event in kernels
            if "ts" in event
        ]
    return max(end for _, end in spans) - min(start for start, _ in spans) if spans else 0.0


def _int(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
