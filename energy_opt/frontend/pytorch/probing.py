"""A module run at a few sizes -> one recording with symbolic sizes, and which sizes need another.

Every point that is tried must call the same operators on the same tensors. Where one does not, the dim that is to blame
is found by changing it alone, and fixed.
"""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from energy_opt.frontend.pytorch import points
from energy_opt.frontend.pytorch.fit import Point, Unresolved
from energy_opt.frontend.pytorch.inputs import Inputs
from energy_opt.frontend.pytorch.mode import Unrecordable
from energy_opt.frontend.pytorch.recorder import Recorder, Run
from energy_opt.frontend.pytorch.recording import Recording
from energy_opt.frontend.pytorch.sizes import same_course, solve


@dataclass
class Recorded:
    """A recording, and the sizes that need another.

    `structural` are dims of which some sizes, such as 1, or every size but the default (None) is a graph of its own.
    `together` are dims that are no special case at 1 one by one, but are if two of them are.
    """

    recording: Recording
    structural: dict[str, frozenset[int] | None] = field(default_factory=dict)
    together: tuple[str, ...] = ()


class Branches(Exception):
    """Other operators run at other sizes of the dims."""

    def __init__(self, dims: Sequence[str]) -> None:
        super().__init__(f"the operators that run depend on the size of {' and '.join(dims)}")
        self.dims = dims


def record(module: nn.Module, inputs: Inputs) -> Recorded:
    """The recording of a module by running it on the meta device, sizes solved over the inputs' free dims.

    A dim whose size changes which operators run is fixed at the example's size, and named.

    Raises:
        Unresolved: a size is no formula over the dims.
        Unrecordable: the module does what a recorder cannot follow.
        Exception: what the module raises; on the meta device reading a value of a tensor does.
    """
    structural: dict[str, frozenset[int] | None] = {}
    dims = inputs.dims
    with Recorder(module) as recorder:
        found = None
        while found is None:
            try:
                found = _at_any_sizes(recorder, inputs)
            except Branches as branches:
                fixed = {name: int(dims[name].default) for name in branches.dims}
                structural.update(dict.fromkeys(fixed))
                inputs = inputs.fixed(fixed)
    found.recording.dims = dims
    return Recorded(found.recording, {**structural, **found.structural}, found.together)


def _at_any_sizes(recorder: Recorder, inputs: Inputs) -> Recorded:
    failed: Exception | None = None
    examples = {name: int(info.default) for name, info in inputs.dims.items()}
    for tier, sizes in enumerate(points.options(examples)):
        try:
            found = _Probe(recorder, inputs, sizes, examples).found()
        except (Unrecordable, Unresolved, Branches):
            raise
        except Exception as error:  # noqa: BLE001 - some modules take only certain sizes, so others are tried
            failed = failed or error
            continue
        if tier == points.MULTIPLES:
            said = ", ".join(f"{name} of {size}" for name, size in examples.items())
            found.recording.notes.append(f"followed at multiples only: {said}")
        return found
    raise failed or AssertionError("no sizes to try")


class _Probe:
    """The runs of a module at some of these sizes."""

    def __init__(
        self, recorder: Recorder, inputs: Inputs, sizes: points.Options, examples: Point
    ) -> None:
        self._recorder = recorder
        self._inputs = inputs
        self._sizes = sizes
        self._examples = examples
        self._points: list[Point] = []
        self._runs: list[Run] = []

    def found(self) -> Recorded:
        """The recording that holds at all points. Raises Branches, Unresolved, and what the module raises."""
        for point in points.design(self._sizes):
            self._add(point)
        special = {
            name: frozenset(size for size in {1, example} if not self._holds({name: size}))
            for name, example in self._examples.items()
        }
        plain = [name for name, sizes in special.items() if 1 not in sizes]
        together = len(plain) > 1 and not self._holds(dict.fromkeys(plain, 1))
        try:
            recording = solve(self._recorder, self._runs, self._points)
        except Unresolved:  # a square, or a size that only shows at more points
            for point in points.more(self._sizes):
                if point not in self._points:
                    self._add(point)
            recording = solve(self._recorder, self._runs, self._points)
        recording.inputs = [
            (leaf.name, number)
            for leaf, number in zip(self._inputs.leaves, self._runs[0].inputs, strict=True)
        ]
        apart: dict[str, frozenset[int] | None] = {
            n: sizes for n, sizes in special.items() if sizes
        }
        return Recorded(recording, apart, tuple(plain) if together else ())

    def _run(self, point: Point) -> Run:
        args, kwargs = self._inputs.at(point)
        return self._recorder.run(args, kwargs)

    def _add(self, point: Point) -> None:
        run = self._run(point)
        if self._runs and not same_course(self._runs[0], run):
            raise Branches(self._to_blame(point))
        self._points.append(point)
        self._runs.append(run)

    def _to_blame(self, point: Point) -> list[str]:
        """The first dim whose size at the point makes a difference alone; all that were changed if none does."""
        base = self._points[0]
        other = [name for name, size in point.items() if size != base[name]]
        for name in other if len(other) > 1 else ():
            if not same_course(self._runs[0], self._run({**base, name: point[name]})):
                return [name]
        return other

    def _holds(self, given: Point) -> bool:
        """Whether the course is the same with these dims at these sizes. Raises Branches where others are to blame."""
        point = points.changed(self._sizes, given)
        try:
            run = self._run(point)
        except Exception:  # noqa: BLE001 - what does not run there says so when it is asked for
            return False
        if same_course(self._runs[0], run):
            self._points.append(point)
            self._runs.append(run)
            return True
        others = points.changed(self._sizes)
        if others not in self._points:
            self._add(others)
        return False
