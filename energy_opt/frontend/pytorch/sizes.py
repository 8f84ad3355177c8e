"""Runs of one module at several sizes -> one recording whose sizes are formulas over the free dims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from energy_opt.frontend.pytorch.fit import Fit, Point, Unresolved, Values
from energy_opt.frontend.pytorch.mode import Step
from energy_opt.frontend.pytorch.recorder import Recorder, Run
from energy_opt.frontend.pytorch.recording import Call, Recording, Target, Type, Weight
from energy_opt.frontend.pytorch.replay import Replay
from energy_opt.frontend.pytorch.schema import dtype_name
from energy_opt.ir.dims import Dim, ceil_div, floor_div, total

_WINDOWED = ("conv", "pool")


def same_course(a: Run, b: Run) -> bool:
    """Whether two runs called the same operators on the same tensors from the same modules."""
    if len(a.steps) != len(b.steps):
        return False
    for x, y in zip(a.steps, b.steps, strict=True):
        if isinstance(x, Replay) or isinstance(y, Replay):
            if x != y:
                return False
        elif (
            x.schema is not y.schema
            or x.inputs != y.inputs
            or x.outputs != y.outputs
            or x.path != y.path
            or x.reuses != y.reuses
            or len(x.types) != len(y.types)
        ):
            return False
    return a.outputs == b.outputs


def solve(recorder: Recorder, runs: Sequence[Run], points: Sequence[Point]) -> Recording:
    """The recording that holds at every point, with the dims of the points as symbols.

    Raises:
        Unresolved: a size or an argument is not a formula of the dims; the message says which.
    """
    return _Solver(recorder, runs, points).recording()


class _Solver:
    def __init__(self, recorder: Recorder, runs: Sequence[Run], points: Sequence[Point]) -> None:
        self._recorder = recorder
        self._runs = runs
        self._fit = Fit(list(points[0]), points)
        self._types: dict[int, Type] = {}
        self._values: dict[int, tuple[Values, ...]] = {}
        self._targets: dict[Any, Target] = {}
        self._count = runs[0].count
        self._solved: list[Any] = []

    def recording(self) -> Recording:
        """The solved recording."""
        recorder, first = self._recorder, self._runs[0]
        weights = dict(recorder.weights)
        types: dict[int, Type] = {n: _type(t) for n, t in recorder.weight_types.items()}
        for number, constant in first.constants.items():
            weights[number] = Weight(f"constant_{len(weights)}", False)
            types[number] = _type(constant)
        self._types = types
        for number, (_, dtype) in first.inputs.items():
            self._values[number] = tuple(
                zip(*(run.inputs[number][0] for run in self._runs), strict=True)
            )
            types[number] = (tuple(map(self._fit, self._values[number])), dtype_name(dtype))
        columns = zip(*(run.steps for run in self._runs), strict=True)
        self._solved = [self._solve(column) for column in columns]
        calls: list[Call] = []
        self._expand(calls, range(len(first.steps)))
        return Recording(
            calls=calls,
            outputs=list(first.outputs),
            weights=weights,
            types=types,
            modules=dict(recorder.modules),
        )

    # -- one call ----------------------------------------------------------------------------------------------------

    def _solve(self, column: Sequence[Any]) -> Target | None:
        first = column[0]
        if isinstance(first, Replay):
            return None
        try:
            target = self._target(first, [step.values for step in column])
            for place, number in enumerate(first.outputs):
                shapes = [step.types[place][0] for step in column]
                if len({len(shape) for shape in shapes}) > 1:
                    raise Unresolved("its rank depends on the sizes")
                values = tuple(zip(*shapes, strict=True))
                self._values[number] = values
                dims = tuple([self._size(column, place, axis, v) for axis, v in enumerate(values)])
                self._types[number] = (dims, dtype_name(first.types[place][1]))
        except Unresolved as error:
            raise Unresolved(
                f"{first.schema.full_name} in {first.path or 'the root'}: {error}"
            ) from None
        return target

    def _size(self, column: Sequence[Any], place: int, axis: int, values: Values) -> Dim:
        formula = self._window(column, axis, values)  # exact, where a fit could be misled
        if formula is not None and not isinstance(formula, int):
            if len(set(values)) == 1:
                raise Unresolved(
                    f"a size is {values[0]} at the sizes tried, but not at larger ones"
                )
            self._fit.know(values, formula)
            return formula
        return self._fit(values)

    def _window(self, column: Sequence[Step], axis: int, values: Values) -> Dim | None:
        """The output size of a convolution or pool, floor((x + c) / stride) + 1, checked at every point."""
        step = column[0]
        name = step.schema.name
        if name == "unfold":
            return self._unfolded(step, axis, values)
        if name == "slice":
            return self._strided(step, axis, values)
        if "transpose" in name or not any(word in name for word in _WINDOWED):
            return None
        if step.inputs[0] is None:
            return None
        rank = len(step.types[0][0])
        spatial = axis - rank  # from the back
        known = self._types.get(step.inputs[0])
        at = self._values.get(step.inputs[0])
        if known is None or at is None:
            return None
        arguments = dict(zip(step.schema.names, step.values, strict=True))
        if step.inputs[1:] and step.inputs[1] in self._types:
            kernel = self._types[step.inputs[1]][0][spatial]
        else:
            kernel = _nth(arguments.get("kernel_size"), spatial, 1)
        stride = _nth(arguments.get("stride"), spatial, kernel)
        dilation = _nth(arguments.get("dilation"), spatial, 1)
        padding = _nth(arguments.get("padding"), spatial, 0)
        size, sizes = known[0][spatial], at[spatial]
        if not all(isinstance(x, int) for x in (kernel, stride, dilation)):
            return None
        if padding == "same":
            return (
                ceil_div(size, stride) if values == tuple(-(-x // stride) for x in sizes) else None
            )
        padding = padding if isinstance(padding, int) else 0
        offset = 2 * padding - dilation * (kernel - 1) - 1 + stride
        if arguments.get("ceil_mode"):
            if stride + padding > dilation * (kernel - 1) + 1:
                return None  # torch drops a last window that starts behind the input
            offset += stride - 1
        if values != tuple((x + offset) // stride for x in sizes):
            return None
        return floor_div(total((size, offset)), stride)

    def _unfolded(self, step: Step, axis: int, values: Values) -> Dim | None:
        """How many windows Tensor.unfold finds, floor((x - size) / step) + 1, checked at every point."""
        arguments = dict(zip(step.schema.names, step.values, strict=True))
        dimension, width, stride = (arguments[name] for name in ("dimension", "size", "step"))
        known = self._types.get(step.inputs[0] or 0)
        at = self._values.get(step.inputs[0] or 0)
        if known is None or at is None or axis != dimension % len(at):
            return None
        if values != tuple((x - width) // stride + 1 for x in at[axis]):
            return None
        return floor_div(total((known[0][axis], stride - width)), stride)

    def _strided(self, step: Step, axis: int, values: Values) -> Dim | None:
        """What a slice of a whole axis leaves with a step of more than 1, checked at every point."""
        arguments = dict(zip(step.schema.names, step.values, strict=True))
        known, at = self._types.get(step.inputs[0] or 0), self._values.get(step.inputs[0] or 0)
        by = arguments["step"]
        if known is None or at is None or by == 1 or axis != arguments["dim"] % len(at):
            return None
        if arguments["start"] or values != tuple(-(-x // by) for x in at[axis]):
            return None
        return ceil_div(known[0][axis], by)

    def _target(self, first: Step, values: Sequence[tuple[Any, ...]]) -> Target:
        arguments = values[0]
        if any(other != arguments for other in values[1:]):
            arguments = tuple([self._argument(column) for column in zip(*values, strict=True)])
        key = (first.schema, _key(arguments), first.reuses)
        target = self._targets.get(key)
        if target is None:
            schema = first.schema
            target = self._targets[key] = Target(
                schema.domain,
                schema.name,
                schema.overload,
                schema.attributes(arguments),
                first.reuses,
                schema.writes,
            )
        return target

    def _argument(self, column: Sequence[Any]) -> Any:
        first = column[0]
        if all(type(other) is type(first) and other == first for other in column):
            return first
        if all(isinstance(x, tuple) and len(x) == len(first) for x in column):
            return tuple([self._argument(items) for items in zip(*column, strict=True)])
        if all(type(x) is int for x in column):
            return self._fit(tuple(column))
        if all(type(x) is float for x in column):
            return None  # a scale that depends on a size costs the same at any
        raise Unresolved("an argument depends on the sizes")

    # -- repeated layers ---------------------------------------------------------------------------------------------

    def _expand(
        self,
        calls: list[Call],
        places: range,
        renamed: dict[int, int] | None = None,
        old: str = "",
        new: str = "",
    ) -> None:
        """Append the calls of these steps. Inside a replay, `renamed`, tensors and paths have other names."""
        for place in places:
            step = self._runs[0].steps[place]
            if isinstance(step, Replay):
                inner = {a: b if renamed is None else renamed.get(b, b) for a, b in step.entering}
                for first, this in step.leaving:
                    inner[first] = (
                        this if renamed is None else renamed.setdefault(this, self._fresh())
                    )
                where = range(step.start, step.end)
                self._expand(calls, where, inner, step.first, _moved(step.path, old, new))
                continue
            inputs, outputs = step.inputs, step.outputs
            if renamed is not None:
                inputs = tuple([None if i is None else renamed.get(i, i) for i in inputs])
                outputs = tuple([self._named(number, renamed) for number in outputs])
            calls.append(Call(self._solved[place], inputs, outputs, _moved(step.path, old, new)))

    def _named(self, number: int, renamed: dict[int, int]) -> int:
        if number not in renamed:
            renamed[number] = self._fresh()
        self._types[renamed[number]] = self._types[number]
        return renamed[number]

    def _fresh(self) -> int:
        self._count += 1
        return self._count - 1


def _moved(path: str, old: str, new: str) -> str:
    return new + path[len(old) :] if old != new else path


def _type(found: tuple[tuple[int, ...], Any]) -> Type:
    return found[0], dtype_name(found[1])


def _key(value: Any) -> Any:
    """Hashable, and telling 1, 1.0 and True apart."""
    if isinstance(value, tuple):
        return tuple([_key(item) for item in value])
    return (type(value), value)


def _nth(value: Any, spatial: int, default: Any) -> Any:
    """The entry of a per-dimension argument for a dimension counted from the back; short lists repeat."""
    if value is None or value == ():
        return default
    if isinstance(value, tuple):
        return value[spatial] if -spatial <= len(value) else value[0]
    return value
