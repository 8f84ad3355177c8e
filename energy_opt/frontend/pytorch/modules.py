"""A PyTorch module and example inputs -> Graph: recorded; exported where recording cannot follow, which is said.

A module is run on the meta device at a few sizes, batch = 1 and seq = 1 among them. Nothing is computed, no weight is
copied, and the module is left as it was.
"""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn

from energy_opt.errors import DimError, ModelError, UsageError
from energy_opt.frontend.control import assign_trips
from energy_opt.frontend.pytorch import points
from energy_opt.frontend.pytorch.fit import Point, Unresolved
from energy_opt.frontend.pytorch.inputs import Inputs
from energy_opt.frontend.pytorch.lower import lower
from energy_opt.frontend.pytorch.mode import Unrecordable
from energy_opt.frontend.pytorch.recorder import Recorder, Run
from energy_opt.frontend.pytorch.recording import Recording
from energy_opt.frontend.pytorch.sizes import same_course, solve
from energy_opt.frontend.pytorch.traced import scoped
from energy_opt.ir.graph import Graph
from energy_opt.ir.verify import verify


def load_module(
    module: Any,
    inputs: Any = None,
    *,
    dynamic: Any = None,
    source: str | None = None,
    notes: Sequence[str] = (),
) -> Graph:
    """The graph of a module's forward in evaluation mode, in the `aten` vocabulary.

    `module` is an nn.Module, a torch.fx.GraphModule or an ExportedProgram (which needs no inputs). `inputs` are example
    inputs: a tensor, a sequence in the order of the signature, or a dictionary by name. `dynamic`: see `Inputs`.

    Raises:
        ModelError: the module fails on the inputs, or its course depends on the values of tensors.
        UsageError: the inputs do not fit the module, or `dynamic` does not fit the inputs.
    """
    from energy_opt.frontend.pytorch import export

    name = source or f"{type(module).__name__} in memory"
    if isinstance(module, torch.export.ExportedProgram):
        recording = export.from_exported(module)
    elif isinstance(module, torch.jit.ScriptModule):
        raise UsageError(
            f"{name}: a TorchScript module has no Python to follow; give the nn.Module that it was made from, "
            "or export that to ONNX"
        )
    elif isinstance(module, nn.Module):
        if isinstance(module, torch.fx.GraphModule):
            module = scoped(module)
        return _graph(module, Inputs(module, inputs, dynamic), name, notes)
    else:
        raise UsageError(f"{name} is no nn.Module and no ExportedProgram")
    recording.notes[:0] = notes
    return _lowered(recording, name)


def _lowered(recording: Recording, name: str) -> Graph:
    graph = lower(recording, name)
    verify(graph.model, name)
    if any(call.bodies for call in recording.calls):
        assign_trips(graph)
    return graph


def _graph(module: nn.Module, inputs: Inputs, name: str, notes: Sequence[str]) -> Graph:
    """The graph, recorded or exported, with the means to make it for sizes that change which operators run."""
    try:
        recording, structural = record(module, inputs)
    except Unresolved as error:
        recording, structural = _with_fewer_dims(module, inputs, error)
    except Exception as error:  # noqa: BLE001 - a module is anybody's code, and the meta device has no values
        recording, structural = _exported(module, inputs, error), {}
    recording.notes[:0] = notes
    graph = _lowered(recording, name)
    if structural:
        graph.variant = _Variants(module, inputs, name, notes, structural)
    return graph


class _Variants:
    """Graphs of a module for sizes at which it runs other operators than elsewhere, made when they are asked for.

    `structural` says of a dim that every size is a graph of its own (None), or only a size of 1.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Inputs,
        name: str,
        notes: Sequence[str],
        structural: Mapping[str, int | None],
    ) -> None:
        self._make = (module, inputs, name, notes)
        self._structural = structural
        self._made: dict[tuple[tuple[str, int], ...], Graph] = {}

    def __call__(self, graph: Graph, sizes: Mapping[str, Any]) -> Graph:
        """The graph for these sizes of dims. Raises DimError where an array of sizes needs many graphs."""
        wanted: dict[str, int] = {}
        for name, only in self._structural.items():
            size = sizes.get(name, graph.dims[name].default)
            if (
                isinstance(size, int) and size != graph.dims[name].default
                if only is None
                else size == only
            ):
                wanted[name] = size
            elif only is None and not isinstance(size, int):
                raise DimError(
                    f"the operators of {graph.source} depend on the size of {name!r}: give one size at a time"
                )
        key = tuple(sorted(wanted.items()))
        if not key:
            return graph
        if key not in self._made:
            module, inputs, source, notes = self._make
            made = self._made[key] = _graph(module, inputs.fixed(wanted), source, notes)
            made.dims = {
                n: replace(info, default=wanted[n]) if n in wanted else info
                for n, info in graph.dims.items()
            }
        return self._made[key]


class Recorded(NamedTuple):
    """A recording, and the dims of which some sizes (1), or all (None), need another."""

    recording: Recording
    structural: dict[str, int | None]


def record(module: nn.Module, inputs: Inputs) -> Recorded:
    """The recording of a module by running it on the meta device, sizes solved over the inputs' free dims.

    A dim whose size changes which operators run is fixed at the example's size, and named.

    Raises:
        Unresolved: a size is no formula over the dims.
        Unrecordable: the module does what a recorder cannot follow.
        Exception: what the module raises; on the meta device reading a value of a tensor does.
    """
    structural: dict[str, int | None] = {}
    dims = inputs.dims
    with Recorder(module) as recorder:
        found = None
        while found is None:
            try:
                found = _at_any_sizes(recorder, inputs)
            except Branches as branches:
                structural[branches.dim] = None
                inputs = inputs.fixed({branches.dim: int(dims[branches.dim].default)})
    recording, run, ones = found
    recording.inputs = [(leaf.name, n) for leaf, n in zip(inputs.leaves, run.inputs, strict=True)]
    recording.dims = dims
    return Recorded(recording, {**structural, **dict.fromkeys(ones, 1)})


class Branches(Exception):
    """Other operators run at another size of the dim."""

    def __init__(self, dim: str) -> None:
        super().__init__(f"the operators that run depend on the size of {dim}")
        self.dim = dim


def _at_any_sizes(recorder: Recorder, inputs: Inputs) -> tuple[Recording, Run, list[str]]:
    failed: Exception | None = None
    for sizes in points.options({name: int(info.default) for name, info in inputs.dims.items()}):
        try:
            recording, run, ones = _solved(recorder, inputs, sizes)
            if failed is not None:
                multiples = (f"{name} of {info.default}" for name, info in inputs.dims.items())
                recording.notes.append(f"followed at multiples only: {', '.join(multiples)}")
            return recording, run, ones
        except (Unrecordable, Unresolved, Branches):
            raise
        except Exception as error:  # noqa: BLE001 - some modules take only certain sizes, so others are tried
            failed = failed or error
    raise failed or AssertionError("no sizes to try")


def _solved(
    recorder: Recorder, inputs: Inputs, sizes: points.Options
) -> tuple[Recording, Run, list[str]]:
    """The recording, one of its runs, and the dims of which 1 is a course of its own."""

    def run(point: Point) -> Run:
        args, kwargs = inputs.at(point)
        return recorder.run(args, kwargs)

    tried: list[Point] = []
    runs: list[Run] = []

    def add(point: Point) -> None:
        made = run(point)
        if runs and not same_course(runs[0], made):
            raise Branches(next(name for name, size in point.items() if size != tried[0][name]))
        tried.append(point)
        runs.append(made)

    for point in points.design(sizes):
        add(point)
    special: list[str] = []
    for name, point in points.ones(sizes):
        try:
            add(point)
        except Branches:
            special.append(name)
        except Exception:  # noqa: BLE001 - what does not run at 1 says so when it is asked for
            special.append(name)
    if special and len(sizes) == 2:
        add({name: choices[2] for name, choices in sizes.items()})
    try:
        return solve(recorder, runs, tried), runs[0], special
    except Unresolved:  # a square, or a size that only shows at more points
        for point in points.more(sizes):
            add(point)
        return solve(recorder, runs, tried), runs[0], special


def _exported(module: nn.Module, inputs: Inputs, reason: Exception) -> Recording:
    """The recording of torch.export, with a note that says why. Raises ModelError with torch's reason."""
    from energy_opt.frontend.pytorch import export

    recording = export.export_module(module, inputs, reason=reason)
    said = _why(reason)
    recording.notes.append(f"exported with torch.export, since recording could not follow: {said}")
    return recording


def _why(reason: Exception) -> str:
    """In a few words, what the recorder could not follow; torch's own are long."""
    text = str(reason)
    if "igher order operator" in text or "HOP:" in text:
        return "control flow written as operators (torch.cond and the like)"
    if "register_meta function for" in text:
        name = text.partition("register_meta function for ")[2].partition("()")[0]
        return f"the size of what {name} gives depends on data"
    return textwrap.shorten(text, 160, placeholder=" ...") or type(reason).__name__


def _with_fewer_dims(module: nn.Module, inputs: Inputs, reason: Unresolved) -> Recorded:
    """torch.export's recording where sizes have no simple formula; else each size of one dim is a graph of its own."""
    try:
        recording = _exported(module, inputs, reason)
        if set(recording.dims) >= set(inputs.dims):
            return Recorded(recording, {})
    except ModelError:
        pass  # then it is worth saying only if nothing else helps
    dims = inputs.dims
    for name in reversed(dims):
        try:
            recording, structural = record(module, inputs.fixed({name: int(dims[name].default)}))
        except Unresolved:
            continue
        recording.dims = dims
        return Recorded(recording, {**structural, name: None})
    return Recorded(_exported(module, inputs, reason), {})
