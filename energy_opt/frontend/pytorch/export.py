"""torch.export as oracle and fallback: exported programs, node for node, into a Recording."""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import contextlib
import inspect
import io
import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils import _pytree as pytree

from energy_opt.frontend.pytorch.export_errors import refusal
from energy_opt.frontend.pytorch.export_graph import Reader
from energy_opt.frontend.pytorch.export_memory import Ref, is_ref
from energy_opt.frontend.pytorch.export_sizes import Sizes
from energy_opt.frontend.pytorch.inputs import Inputs, Leaf
from energy_opt.frontend.pytorch.recording import Call, Recording

_KINDS = {InputKind.PARAMETER: True, InputKind.BUFFER: False, InputKind.CONSTANT_TENSOR: False}
_SMALLEST = 3
"""A dim whose example is 0 or 1 would be taken for a constant by torch.export; 2 is a common constant too."""


def export_module(
    module: nn.Module, inputs: Inputs, name: str = "", reason: BaseException | None = None
) -> Recording:
    """What torch.export says that the module does in evaluation mode, at the free sizes of `inputs`.

    Slower than recording (seconds), but it follows more: control flow as operators, sizes that depend on data. `reason`
    is why the module could not be recorded, if that was tried.

    Raises:
        ModelError: torch.export cannot take the module, with torch's reason, the line it is about, and what to do.
    """
    wanted = inputs.dims
    try:
        try:
            program = _program(module, inputs)
        except Exception:  # it may be the guessed dims that it does not take; without them it tells
            if not (inputs.guessed and wanted):
                raise
            inputs = inputs.fixed({dim: int(info.default) for dim, info in wanted.items()})
            program = _program(module, inputs)
    except Exception as error:  # noqa: BLE001 - the module's own code runs here and may raise anything
        raise refusal(name or type(module).__name__, error, reason) from None
    recording = from_exported(program, inputs.leaves)
    recording.modules.setdefault("", type(module).__name__)
    fixed = [f"{dim} = {info.default}" for dim, info in wanted.items() if dim not in recording.dims]
    if fixed:
        recording.notes.append(f"the module runs at one size only: {', '.join(fixed)}")
    recording.dims = {dim: wanted.get(dim, info) for dim, info in recording.dims.items()}
    return recording


def _program(module: nn.Module, inputs: Inputs) -> ExportedProgram:
    with _evaluating(module), torch.no_grad(), _quiet():
        args, kwargs = _examples(module, inputs)
        shapes = _dynamic_shapes(module, inputs)
        return torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=False)


def from_exported(program: ExportedProgram, leaves: Sequence[Leaf] = ()) -> Recording:
    """The graph of an exported program, with torch's decompositions or without, node for node.

    Free axes of inputs are called what `leaves` (the tensor inputs, in order) say, else what the program was exported
    with (`Dim("seq")`), else `batch`, `seq`, or `INPUT_AXIS`. Sizes that depend on data are dims of origin `data`.
    """
    recording = Recording()
    reader = Reader(recording, Sizes(recording))
    signature = program.graph_signature
    specs = {spec.arg.name: spec for spec in signature.input_specs if hasattr(spec.arg, "name")}
    told = iter(leaves)
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
            leaf = next(told, None)
            name, axes = (leaf.name, leaf.axes) if leaf is not None else (node.name, {})
            whole = not (fake.dtype.is_floating_point or fake.dtype.is_complex)
            reader.sizes.read_input(name, fake.shape, axes, integer=whole)
            made = reader.tensor(fake)
            recording.inputs.append((name, made.number))
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


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    training = [child for child in module.modules() if child.training]
    for child in training:
        child.training = False
    try:
        yield
    finally:
        for child in training:
            child.training = True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch also writes to stderr what it raises, at length: tracebacks, and the graph up to there."""
    before = logging.root.manager.disable
    # its loggers, some of them made on the way, have handlers of their own
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _examples(module: nn.Module, inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The inputs where the module is, and large enough: a free axis of 0 or 1 is a constant to torch.export."""
    weight = next(itertools.chain(module.parameters(), module.buffers()), None)
    sizes = {name: max(int(info.default), _SMALLEST) for name, info in inputs.dims.items()}

    def placed(tensor: torch.Tensor) -> torch.Tensor:
        if weight is None or tensor.device == weight.device:
            return tensor
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device=weight.device)

    examples = inputs.at(sizes, real=True)
    args, kwargs = pytree.tree_map_only(torch.Tensor, placed, examples)
    return args, kwargs


def _dynamic_shapes(module: nn.Module, inputs: Inputs) -> Any:
    """What torch.export calls dynamic shapes: by argument, for each tensor the axes that it may keep free."""
    if not inputs.dims:
        return None
    leaves = iter(inputs.leaves)

    def free(_: torch.Tensor) -> Any:
        return dict.fromkeys(next(leaves).axes, Dim.AUTO) or None

    flat, spec = pytree.tree_flatten((inputs.args, inputs.kwargs))
    shapes = [free(leaf) if isinstance(leaf, torch.Tensor) else None for leaf in flat]
    args, kwargs = pytree.tree_unflatten(shapes, spec)
    return inspect.signature(module.forward).bind(*args, **kwargs).arguments
