"""Front-ends: something that describes a model -> Graph."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from energy_opt.errors import ModelError, UsageError
from energy_opt.ir.graph import Graph

__all__ = ["load"]

_WORD = re.compile(r"[A-Za-z][\w-]*")
"""What may be the name of an architecture rather than of a file: bert, gpt2, bert-base-uncased."""


def load(
    model: Any,
    inputs: Any = None,
    *,
    dynamic: Any = None,
    settings: Mapping[str, Any] | None = None,
) -> Graph:
    """The graph of a model. Weights are not needed: those in a file are skipped, those of a module are not touched.

    `model` is one of: the path of an .onnx file, or an `onnx.ModelProto`; a torch.nn.Module, fx.GraphModule or
    ExportedProgram; a transformers config or model, the path of a config.json or of a directory that holds one,
    `hf:NAME` for the defaults of an architecture; `python:package.module:callable`, which returns a module and inputs.

    `inputs` are the example inputs of a module: a tensor, a sequence in the order of its signature, or a dictionary by
    name. `dynamic` names the axes whose sizes stay free: {"input_ids": {0: "batch", 1: "seq"}}; left out, axis 0 is the
    batch and axis 1 of token ids the sequence; False fixes all. `settings` change fields of a config
    ({"num_hidden_layers": 8}), or are the arguments of the callable.

    Raises:
        ModelError: the model cannot be read or followed; the message says what, where and what to do.
        UsageError: the argument is nothing that can be loaded, or the others do not fit it.
    """
    if isinstance(model, Graph):
        return model
    if isinstance(model, (str, os.PathLike)):
        return _named(os.fspath(model), inputs, settings)
    if _is(model, "torch.nn", "Module") or _is(model, "torch.export", "ExportedProgram"):
        if inputs is None and _is(model, "transformers", "PreTrainedModel"):
            return _config(model, settings)
        _refuse(settings, "settings change a config; this model is already built")
        return _module(model, inputs, dynamic)
    if _is(model, "transformers", "PreTrainedConfig"):
        return _config(model, settings)
    import onnx

    if isinstance(model, onnx.ModelProto):
        from energy_opt.frontend.onnx import load_proto

        return load_proto(model)
    raise UsageError(_unknown(model))


def _module(model: Any, inputs: Any, dynamic: Any) -> Graph:
    from energy_opt.frontend.pytorch.calls import unwrapped
    from energy_opt.frontend.pytorch.modules import load_module

    inner = unwrapped(model)
    name = type(inner).__name__
    if inputs is None and not _is(inner, "torch.export", "ExportedProgram"):
        raise UsageError(
            f"{name} needs example inputs, a tensor or a tuple or dictionary of them: load(module, inputs); "
            "only their shapes and types are looked at"
        )
    notes = []
    if hasattr(model, "_orig_mod"):
        notes = [
            f"compiled: the {name} is priced as it was written; runtime='graph' fuses its operators"
        ]
    elif inner is not model:
        notes = [f"{type(model).__name__}: the {name} in it is priced, on one device"]
    return load_module(inner, inputs, dynamic=dynamic, notes=notes)


def _unknown(model: Any) -> str:
    """What to give instead of something that is no model."""
    whole = (
        "give a torch.nn.Module and example inputs, a transformers config, an onnx.ModelProto, "
        "or the name of a file"
    )
    if isinstance(model, type):
        return (
            f"{model.__name__} is a class; make the model and give that: load({model.__name__}(...), inputs)"
            if hasattr(model, "forward")
            else f"cannot load the class {model.__module__}.{model.__qualname__}; {whole}"
        )
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if isinstance(model, Mapping):
        return f"cannot load a {kind}: weights alone do not say what is computed; {whole}"
    if callable(model):
        return f"cannot load a {kind}: a function is followed as the forward method of a torch.nn.Module; {whole}"
    return f"cannot load a {kind}; {whole}"


def _named(name: str, inputs: Any, settings: Mapping[str, Any] | None) -> Graph:
    from energy_opt.frontend import huggingface, python_object

    _refuse(inputs, f"{name}: example inputs go with a torch module, not with a name")
    if python_object.is_object(name):
        return python_object.load_object(name, settings)
    if name.lower().endswith(".py"):
        module = os.path.splitext(os.path.basename(name))[0]
        raise UsageError(
            f"{name}: a Python file; name the function in it that returns a module and example inputs: "
            f"python:{module}:FUNCTION, in the directory of the file"
        )
    if huggingface.is_config(name):
        return _config(name, settings)
    _refuse(settings, f"{name}: settings change a transformers config; an .onnx file is as it is")
    if not name.strip():
        raise UsageError("the name of the model is empty; give a file, hf:NAME or python:NAME")
    from energy_opt.frontend.onnx import load_onnx

    try:
        return load_onnx(name)
    except ModelError as error:
        if os.path.exists(name) or not _WORD.fullmatch(name):
            raise
        said, architecture = str(error), name.partition("-")[0].lower()
        raise ModelError(
            f"{said}{'' if said.endswith('?') else '.'} For the defaults of an architecture of transformers write "
            f"hf:{architecture}, for a model's own sizes give its config.json"
        ) from error


def _config(source: Any, settings: Mapping[str, Any] | None) -> Graph:
    from energy_opt.frontend import huggingface

    return huggingface.load_config(source, settings)


def _refuse(given: Any, why: str) -> None:
    if given is not None and (not isinstance(given, Mapping) or given):
        raise UsageError(why)


def _is(model: Any, package: str, name: str) -> bool:
    """Whether the model is an instance of a class of a package that somebody has imported; it is not imported here."""
    kind = getattr(sys.modules.get(package), name, None)
    return isinstance(kind, type) and isinstance(model, kind)
