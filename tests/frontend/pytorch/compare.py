"""Two recordings of one module, call by call: what differs, in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import sympy

from energy_opt.frontend.pytorch.recording import Call, Recording
from energy_opt.ir.dims import evaluate

_MOST = 12
_END = 2**63 - 1
_FUSED = ("scaled_dot_product_attention",)
_LAYOUT = ("transpose", "contiguous", "reshape", "view", "permute", "flatten", "clone")


def differences(
    a: Recording,
    b: Recording,
    bind: Mapping[str, int] | None = None,
    tied: Mapping[str, str] | None = None,
) -> list[str]:
    """What differs in operators, arguments, shapes, scopes, views and dataflow; nothing where the recordings agree.

    `bind` gives sizes to the dims: without it they are compared as formulas. `tied` maps the names of a tied parameter
    to one of them. Slices that take everything are passed over: torch.export writes those of a free axis only, and a
    run at fixed sizes an alias in the place of the last. So is making contiguous what is.
    """
    return list(_Comparison(a, b, bind or {}, tied or {}).found())


class _Comparison:
    def __init__(
        self, a: Recording, b: Recording, bind: Mapping[str, int], tied: Mapping[str, str]
    ) -> None:
        self.a, self.b, self.bind, self.tied = a, b, bind, tied
        self.renamed: dict[int, int] = {}
        self.fused: set[int] = set()  # what attention gave, and the same in other shapes
        self.names = (dict(a.weights), dict(b.weights))

    def found(self) -> Iterator[str]:
        if [name for name, _ in self.a.inputs] != [name for name, _ in self.b.inputs]:
            yield f"inputs: {self.a.inputs} and {self.b.inputs}"
            return
        for (_, x), (_, y) in zip(self.a.inputs, self.b.inputs, strict=True):
            self.renamed[x] = y
        problems = list(self.body(self.a, self.b))
        yield from problems[:_MOST]
        if len(problems) > _MOST:
            yield f"and {len(problems) - _MOST} more"

    def body(self, a: Recording, b: Recording) -> Iterator[str]:
        ours, theirs = list(self.calls(a)), list(self.calls(b))
        if [_name(call) for call in ours] != [_name(call) for call in theirs]:
            yield from _diff([_name(call) for call in ours], [_name(call) for call in theirs])
            return
        for place, (x, y) in enumerate(zip(ours, theirs, strict=True)):
            for problem in self.call(x, y, a, b):
                yield f"call {place}, {_name(x)} in {x.path!r}: {problem}"
        for x, y in zip(a.outputs, b.outputs, strict=True):
            if not self.same(x, y):
                yield f"output {x} is not {y}"

    def calls(self, recording: Recording) -> Iterator[Call]:
        """The calls, with slices of everything left out: who read their result reads their operand."""
        passed: dict[int, int] = {}
        for call in recording.calls:
            inputs = tuple([passed.get(i, i) if i is not None else None for i in call.inputs])
            if self.takes_all(call, recording):
                passed[call.outputs[0]] = inputs[0]
            else:
                yield call._replace(inputs=inputs)
        recording.outputs = [passed.get(number, number) for number in recording.outputs]

    def takes_all(self, call: Call, recording: Recording) -> bool:
        if call.target.name == "contiguous":  # a run does not call it on what is contiguous
            return call.target.reuses == 0
        if call.target.name not in ("slice", "alias"):
            return False
        given = call.target.attributes
        whole = given.get("start", 0) == 0 and given.get("step", 1) == 1
        types = [self.type(recording, number) for number in (call.inputs[0], call.outputs[0])]
        return whole and types[0] == types[1]

    def call(self, x: Call, y: Call, a: Recording, b: Recording) -> Iterator[str]:
        if x.path != y.path:
            yield f"scope {x.path!r} and {y.path!r}"
        elif a.modules.get(x.path) != b.modules.get(y.path):
            yield f"class {a.modules.get(x.path)} and {b.modules.get(y.path)}"
        ours, theirs = (
            {name: self.value(value) for name, value in _given(call).items()} for call in (x, y)
        )
        if ours != theirs or [*map(type, ours.values())] != [type(theirs[name]) for name in ours]:
            yield f"arguments {ours} and {theirs}"
        if x.target.name in _FUSED or any(i in self.fused for i in x.inputs):
            # torch.export lays attention out as its math does, the recorder knows how kernels do: what
            # follows is a copy for the one and a view for the other.
            if x.target.name in (*_FUSED, *_LAYOUT):
                self.fused.update(x.outputs)
            memory = (x.target.writes,), (y.target.writes,)
        else:
            memory = (x.target.reuses, x.target.writes), (y.target.reuses, y.target.writes)
        if memory[0] != memory[1]:
            yield (
                f"memory of input {x.target.reuses} and {y.target.reuses}, "
                f"written {x.target.writes} and {y.target.writes}"
            )
        if [i is None for i in x.inputs] != [i is None for i in y.inputs]:
            yield f"inputs {x.inputs} and {y.inputs}"
        else:
            for i, j in zip(x.inputs, y.inputs, strict=True):
                if i is not None and j is not None and not self.same(i, j):
                    yield f"reads tensor {i}, which is {self.renamed.get(i)}, and {j}"
        if len(x.outputs) != len(y.outputs):
            yield f"{len(x.outputs)} results and {len(y.outputs)}"
            return
        for i, j in zip(x.outputs, y.outputs, strict=True):
            self.renamed[i] = j
            types = self.type(a, i), self.type(b, j)
            if types[0] != types[1]:
                yield f"result {types[0]} and {types[1]}"
        if [name for name, _ in x.bodies] != [name for name, _ in y.bodies]:
            yield f"bodies {x.bodies} and {y.bodies}"
            return
        for (_, inner), (_, other) in zip(x.bodies, y.bodies, strict=True):
            yield from self.body(inner, other)

    def same(self, i: int, j: int) -> bool:
        """Whether two tensors are the same one; weights and constants are met here for the first time."""
        known = self.renamed.get(i)
        if known is not None:
            return known == j
        ours, theirs = self.names[0].get(i), self.names[1].get(j)
        if ours is None or theirs is None or self.type(self.a, i) != self.type(self.b, j):
            return False
        self.renamed[i] = j
        named = [self.tied.get(weight.name, weight.name) for weight in (ours, theirs)]
        constants = named[0].startswith("constant_") and not theirs.parameter
        return ours.parameter == theirs.parameter and (named[0] == named[1] or constants)

    def type(self, recording: Recording, number: int) -> Any:
        found = recording.types.get(number)
        if found is None:
            found = self.a.types.get(number) or self.b.types[number]
        return self.value(found[0]), found[1]

    def value(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple([self.value(item) for item in value])
        if isinstance(value, sympy.Expr):
            return int(evaluate(value, self.bind)) if self.bind else sympy.expand(value)
        return value


def _given(call: Call) -> Mapping[str, Any]:
    """The arguments; of a slice with its ends, which may be left open."""
    if call.target.name == "slice":
        return {"start": 0, "end": _END, **call.target.attributes}
    return call.target.attributes


def _name(call: Call) -> str:
    target = call.target
    overload = f".{target.overload}" if target.overload else ""
    return f"{target.domain}::{target.name}{overload}"


def _diff(ours: list[str], theirs: list[str]) -> Iterator[str]:
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    for what, a, b, c, d in matcher.get_opcodes():
        if what != "equal":
            yield f"operators {a}-{b}: {', '.join(ours[a:b])} | {', '.join(theirs[c:d])}"
