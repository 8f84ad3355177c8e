"""Who is inside whom: intervals of one thread, walked in the order of time with a stack."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from energy_opt.measure.traces.recorded import Scope, kind_of

Role = Literal["op", "module", "launch", "step"]
_TOLERANCE = 1e-9  # seconds: times are rounded when they are written


@dataclass(slots=True)
class Span:
    """An interval on a thread, in seconds. `key` is the id by which kernels refer to a launch or an operator."""

    role: Role
    name: str
    start_s: float
    end_s: float
    key: int | None = None
    scope: Scope | None = None
    shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(slots=True)
class Call:
    """The outermost call of an operator that has a rule, with the modules around it: what a prediction prices."""

    op: str
    index: int
    seconds: float
    scopes: tuple[Scope, ...]
    shapes: tuple[tuple[int, ...], ...]
    in_step: bool
    start_s: float = 0.0


@dataclass
class Walk:
    """What a walk finds: calls, and the call that each launch and each operator's id belongs to."""

    calls: list[Call] = field(default_factory=list)
    by_launch: dict[int, Call | None] = field(default_factory=dict)
    by_id: dict[int, Call] = field(default_factory=dict)
    steps: list[Span] = field(default_factory=list)
    scopes: dict[Scope, int] = field(default_factory=dict)
    launched_in_step: set[int] = field(default_factory=set)
    starts_s: list[float] = field(default_factory=list)


def walk(threads: Iterable[list[Span]]) -> Walk:
    """Walk the spans of every thread.

    PyTorch's recorder and its profiler see the same calls: an operator inside another is part of it. Where the outer
    one has no rule, its parts speak for themselves, and what they leave of its time is its own.
    """
    found = Walk()
    steps: list[Span] = []
    for spans in threads:
        steps += [span for span in spans if span.role == "step"]
    found.steps = sorted(steps, key=lambda step: step.start_s)
    found.starts_s = [step.start_s for step in found.steps]
    for spans in threads:
        _thread(sorted(spans, key=lambda span: (span.start_s, -span.end_s)), found)
    found.calls.sort(key=lambda call: call.start_s)
    for index, call in enumerate(found.calls):
        call.index = index
    return found


@dataclass(slots=True)
class _Open:
    span: Span
    owner: Call | None
    covered_s: float = 0.0


def _thread(spans: list[Span], found: Walk) -> None:
    stack: list[_Open] = []
    for span in spans:
        while stack and stack[-1].span.end_s <= span.start_s + _TOLERANCE:
            _close(stack, found)
        owner = stack[-1].owner if stack else None
        if span.role == "op" and owner is None and kind_of(span.name) is not None:
            owner = _call(span, stack, found)
        if span.role == "op" and span.key is not None and owner is not None:
            found.by_id[span.key] = owner
        if span.role == "launch" and span.key is not None:
            found.by_launch[span.key] = owner
            if _in_step(span, found):
                found.launched_in_step.add(span.key)
        if span.role == "module" and span.scope is not None:
            found.scopes[span.scope] = found.scopes.get(span.scope, 0) + 1
        if span.role in ("op", "module"):
            stack.append(_Open(span, owner))
    while stack:
        _close(stack, found)


def _call(span: Span, stack: list[_Open], found: Walk) -> Call:
    scopes = tuple(each.span.scope for each in stack if each.span.scope is not None)
    seconds = span.end_s - span.start_s
    call = Call(span.name, -1, seconds, scopes, span.shapes, _in_step(span, found), span.start_s)
    found.calls.append(call)
    for each in stack:
        each.covered_s += seconds
    return call


def _close(stack: list[_Open], found: Walk) -> None:
    closed = stack.pop()
    span = closed.span
    if span.role != "op" or closed.owner is not None:
        return
    # An operator without a rule, whose parts that have one were counted: the rest is its own.
    rest = span.end_s - span.start_s - closed.covered_s
    if rest <= 0 or any(each.span.role == "op" for each in stack):
        return
    scopes = tuple(each.span.scope for each in stack if each.span.scope is not None)
    found.calls.append(
        Call(span.name, -1, rest, scopes, span.shapes, _in_step(span, found), span.start_s)
    )
    if span.key is not None:
        found.by_id.setdefault(span.key, found.calls[-1])


def _in_step(span: Span, found: Walk) -> bool:
    if not found.steps:
        return True
    # Steps follow one another: only the last that began before can hold it.
    place = bisect.bisect_right(found.starts_s, span.start_s + _TOLERANCE) - 1
    return place >= 0 and span.start_s <= found.steps[place].end_s
