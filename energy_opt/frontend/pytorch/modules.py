"""A PyTorch module and example inputs -> Graph: recorded; exported where recording cannot follow, which is said.

A module is run on the meta device at a few sizes, batch = 1 and seq = 1 among them. Nothing is computed, no weight is
copied, and the module is left as it was.
"""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from energy_opt.errors import EnergyOptError, ModelError, UsageError
from energy_opt.frontend.control import assign_trips
from energy_opt.frontend.pytorch import points
from energy_opt.frontend.pytorch.calls import unwrapped
from energy_opt.frontend.pytorch.fit import Point, Unresolved
from energy_opt.frontend.pytorch.inputs import Inputs
from energy_opt.frontend.pytorch.lower import lower
from energy_opt.frontend.pytorch.probing import Recorded, record
from energy_opt.frontend.pytorch.recording import Recording
from energy_opt.frontend.pytorch.traced import scoped
from energy_opt.frontend.pytorch.variants import Variants
from energy_opt.ir.dims import evaluate
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
        module = unwrapped(module)
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
        found = record(module, inputs)
    except Unresolved as error:
        found = _with_fewer_dims(module, inputs, error)
    except Exception as error:  # noqa: BLE001 - a module is anybody's code, and the meta device has no values
        found = Recorded(_exported(module, inputs, error))
    found.recording.notes[:0] = notes
    graph = _lowered(found.recording, name)
    if found.structural or found.together:
        graph.variant = Variants(
            lambda sizes: _graph(module, inputs.fixed(sizes), name, notes),
            found.structural,
            found.together,
        )
    return graph


def _exported(module: nn.Module, inputs: Inputs, reason: Exception) -> Recording:
    """The recording of torch.export, with a note that says why. Raises ModelError with torch's reason."""
    from energy_opt.frontend.pytorch import export

    try:
        recording = export.export_module(module, inputs, reason=reason)
    except ModelError as error:
        for path, part in module.named_modules():
            if isinstance(part, torch.jit.ScriptModule):
                raise ModelError(
                    f"{error}; its part {path!r} is TorchScript, which has no Python to follow: "
                    "give the module with the nn.Module that the part was made from"
                ) from None
        raise
    said = _why(reason)
    recording.notes.append(f"exported with torch.export, since recording could not follow: {said}")
    return recording


def _why(reason: Exception) -> str:
    """In a few words, what the recorder could not follow; torch's own are long."""
    text = str(reason)
    if any(word in text for word in ("igher order operator", "HOP:", "Current active mode")):
        return "control flow written as operators (torch.cond and the like)"
    if "register_meta function for" in text:
        name = text.partition("register_meta function for ")[2].partition("()")[0]
        return f"the size of what {name} gives depends on data"
    return textwrap.shorten(text, 160, placeholder=" ...") or type(reason).__name__


def _with_fewer_dims(module: nn.Module, inputs: Inputs, reason: Unresolved) -> Recorded:
    """torch.export's recording where sizes have no simple formula; else each size of one dim is a graph of its own."""
    dims = inputs.dims
    try:
        exported = _exported(module, inputs, reason)
        if set(exported.dims) >= set(dims):
            return _verified(exported, module, inputs)
    except (ModelError, Unresolved):
        pass  # then it is worth saying only if nothing else helps
    for name in reversed(dims):
        try:
            found = record(module, inputs.fixed({name: int(dims[name].default)}))
        except Unresolved:
            continue
        found.recording.dims = dims
        found.structural[name] = None
        return found
    fixed = {name: int(info.default) for name, info in dims.items()}
    found = record(module, inputs.fixed(fixed))
    found.recording.dims = dims
    found.structural.update(dict.fromkeys(fixed))
    return found


def _verified(exported: Recording, module: nn.Module, inputs: Inputs) -> Recorded:
    """The exported recording if its sizes are those of runs: torch.export may take a size that varies for a constant.

    Raises:
        Unresolved: they are not.
    """

    def holds(point: Point) -> bool:
        run = record(module, inputs.fixed(point)).recording
        return _work(exported, point) == _work(run, {})

    examples = {name: int(info.default) for name, info in inputs.dims.items()}
    for sizes in points.options(examples):
        try:
            if not all(holds(point) for point in points.design(sizes)):
                break
        except EnergyOptError:
            raise
        except Exception:  # noqa: BLE001 - some modules take only certain sizes, so others are tried
            continue
        found = Recorded(exported)
        for name in sizes:
            try:
                if holds(points.changed(sizes, {name: 1})):
                    continue
            except Exception:  # noqa: BLE001 - what does not run at 1 says so when it is asked for
                pass
            found.structural[name] = frozenset({1})
        found.together = tuple(name for name in sizes if name not in found.structural)
        return found
    raise Unresolved("torch.export says that there are other sizes than there are")


def _work(recording: Recording, sizes: Point) -> Counter[tuple[str, tuple[int, ...]]]:
    """How often each operator gives a tensor of each shape; those that only look at one aside."""
    found: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for call in recording.calls:
        for number in call.outputs if call.target.reuses is None else ():
            shape = tuple(int(evaluate(dim, sizes)) for dim in recording.types[number][0])
            found[call.target.name, shape] += 1
    return found
