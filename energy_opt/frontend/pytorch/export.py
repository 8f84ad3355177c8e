"""torch.export as oracle and fallback: exported programs, node for node, into a Recording."""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils import _pytree as pytree

from energy_opt.frontend.pytorch.export_errors import refusal
from energy_opt.frontend.pytorch.export_graph import Reader, Ref, is_ref
from energy_opt.frontend.pytorch.export_sizes import Dynamic, Sizes
from energy_opt.frontend.pytorch.recording import Call, Recording

_KINDS = {InputKind.PARAMETER: True, InputKind.BUFFER: False, InputKind.CONSTANT_TENSOR: False}
_SMALLEST = 3
"""A dim whose example is 0 or 1 would be taken for a constant by torch.export; 2 is a common constant too."""


def export_module(
    module: nn.Module,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    dynamic: Dynamic | None = None,
) -> Recording:
    """What torch.export says that the module does with these inputs, at sizes named by `dynamic`.

    Slower than recording (seconds), but it follows more: control flow as operators, sizes that depend on data.

    Raises:
        ModelError: torch.export cannot take the module, with torch's reason, the line it is about, and what to do.
    """
    kwargs, dynamic = dict(kwargs or {}), dynamic or {}
    if isinstance(module, torch.jit.ScriptModule):
        raise refusal(module, TypeError("it is a torch.jit.ScriptModule"))
    try:
        bound = inspect.signature(module.forward).bind(*args, **kwargs).arguments
        names = _tensor_names(bound)
        defaults = _defaults(names, dynamic)
        grown = {name: _grown(tensor, dynamic.get(name, {})) for name, tensor in names.items()}
        swap = {id(tensor): grown[name] for name, tensor in names.items()}
        new_args, new_kwargs = pytree.tree_map_only(
            torch.Tensor, lambda t: swap.get(id(t), t), (tuple(args), kwargs)
        )
        shapes = {key: _shapes(key, value, dynamic) for key, value in bound.items()}
        wanted = shapes if any(dynamic.values()) else None
        with torch.no_grad():
            program = torch.export.export(
                module, new_args, new_kwargs, dynamic_shapes=wanted, strict=False
            )
    except Exception as error:  # noqa: BLE001 - the module's own code runs here and may raise anything
        raise refusal(module, error) from None
    recording = from_exported(program, dynamic)
    for path, child in module.named_modules():
        if path in recording.modules or path == "":
            recording.modules[path] = type(child).__name__
    for name, size in defaults.items():
        if name in recording.dims:
            recording.dims[name] = _with_default(recording.dims[name], size)
    fixed = sorted(set(defaults) - set(recording.dims))
    if fixed:
        sizes = ", ".join(f"{name} is {defaults[name]}" for name in fixed)
        recording.notes.append(f"the module takes one size only where it was to be free: {sizes}")
    return recording


def from_exported(program: ExportedProgram, dynamic: Dynamic | None = None) -> Recording:
    """The graph of an exported program, with its decompositions or without, node for node.

    Free axes of inputs are called what `dynamic` says, else what the program was exported with (`Dim("seq")`), else
    `batch`, `seq`, or `INPUT_AXIS`. Sizes that depend on data are dims of origin `data`.
    """
    recording = Recording()
    reader = Reader(recording, Sizes(recording, dynamic or {}))
    signature = program.graph_signature
    specs = {spec.arg.name: spec for spec in signature.input_specs if hasattr(spec.arg, "name")}
    tied: dict[Any, Ref] = {}
    given: list[Any] = []
    for node in program.graph.nodes:
        if node.op != "placeholder":
            continue
        fake, spec = node.meta.get("val"), specs.get(node.name)
        if spec is not None and spec.kind in _KINDS:
            key = _identity(program, spec.target)
            if key not in tied:
                tied[key] = reader.weight(spec.target, fake, parameter=_KINDS[spec.kind])
            given.append(tied[key])
        elif isinstance(fake, torch.Tensor):
            whole = not (fake.dtype.is_floating_point or fake.dtype.is_complex)
            reader.sizes.read_input(node.name, fake.shape, integer=whole)
            made = reader.tensor(fake)
            recording.inputs.append((node.name, made.number))
            given.append(made)
        else:
            given.append(reader.tensors(fake))
    results = reader.read(program.graph_module, given)
    for spec, result in zip(signature.output_specs, results, strict=False):
        if spec.kind is OutputKind.USER_OUTPUT and is_ref(result):
            recording.outputs.append(result.number)
    _forget_unused_weights(recording)
    return recording


def _identity(program: ExportedProgram, name: str) -> Any:
    """What tied parameters share."""
    found = program.state_dict.get(name)
    if found is None:
        return name
    storage = found.untyped_storage()._cdata
    return (storage, found.storage_offset(), tuple(found.shape), found.stride())


def _forget_unused_weights(recording: Recording) -> None:
    used = set(recording.outputs)
    for call in _calls(recording):
        used.update(number for number in call.inputs if number is not None)
    for number in [number for number in recording.weights if number not in used]:
        del recording.weights[number]


def _calls(recording: Recording) -> Iterator[Call]:
    for call in recording.calls:
        yield call
        for _, body in call.bodies:
            yield from _calls(body)


# -- inputs ----------------------------------------------------------------------------------------------------------


def _tensor_names(bound: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Tensor inputs by the name of their argument, those of `**kwargs` by their own."""
    found: dict[str, torch.Tensor] = {}
    for key, value in bound.items():
        if isinstance(value, torch.Tensor):
            found[key] = value
        elif isinstance(value, dict):
            found.update({k: v for k, v in value.items() if isinstance(v, torch.Tensor)})
    return found


def _shapes(key: str, value: Any, dynamic: Dynamic) -> Any:
    """What torch.export calls dynamic shapes: for each tensor the axes that it may choose to keep free."""
    if isinstance(value, torch.Tensor):
        return dict.fromkeys(dynamic.get(key, {}), Dim.AUTO) or None
    if isinstance(value, dict):
        return {name: _shapes(name, item, dynamic) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_shapes("", item, dynamic) for item in value)
    return None


def _defaults(names: Mapping[str, torch.Tensor], dynamic: Dynamic) -> dict[str, int]:
    return {
        dim: int(tensor.shape[axis])
        for name, tensor in names.items()
        for axis, dim in dynamic.get(name, {}).items()
    }


def _grown(tensor: torch.Tensor, axes: Mapping[int, str]) -> torch.Tensor:
    """The tensor, or one like it without data where the example of a free axis is too small to stay free."""
    shape = [max(n, _SMALLEST) if axis in axes else n for axis, n in enumerate(tensor.shape)]
    return tensor if shape == list(tensor.shape) else tensor.new_zeros(shape)


def _with_default(info: Any, size: int) -> Any:
    import dataclasses

    return dataclasses.replace(info, default=size)
