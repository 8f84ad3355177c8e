"""Front-ends: something that describes a model -> Graph."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from energy_opt.errors import UsageError
from energy_opt.ir.graph import Graph

__all__ = ["load"]


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
        from energy_opt.frontend.pytorch.modules import load_module

        return load_module(model, inputs, dynamic=dynamic)
    if _is(model, "transformers", "PreTrainedConfig"):
        return _config(model, settings)
    import onnx

    if isinstance(model, onnx.ModelProto):
        from energy_opt.frontend.onnx import load_proto

        return load_proto(model)
    raise UsageError(
        f"cannot load a {type(model).__module__}.{type(model).__qualname__}; give a torch.nn.Module and "
        "example inputs, a transformers config, an onnx.ModelProto, or the name of a file"
    )


def _named(name: str, inputs: Any, settings: Mapping[str, Any] | None) -> Graph:
    from energy_opt.frontend import huggingface, python_object

    _refuse(inputs, f"{name}: example inputs go with a torch module, not with a name")
    if python_object.is_object(name):
        return python_object.load_object(name, settings)
    if huggingface.is_config(name):
        return _config(name, settings)
    _refuse(settings, f"{name}: settings change a transformers config; an .onnx file is as it is")
    from energy_opt.frontend.onnx import load_onnx

    return load_onnx(name)


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
