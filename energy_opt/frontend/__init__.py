"""Front-ends: something that describes a model -> Graph."""

from __future__ import annotations

import os
from typing import Any

from energy_opt.errors import UsageError
from energy_opt.ir.graph import Graph

__all__ = ["load"]


def load(model: Any) -> Graph:
    """The graph of a model: an .onnx file's path, or an `onnx.ModelProto` in memory.

    Weights are not needed: those inside the file are skipped, external ones are never opened.

    Raises:
        ModelError: the model cannot be read; the message says what, where and what to do.
        UsageError: the argument is nothing that can be loaded.
    """
    if isinstance(model, Graph):
        return model
    if isinstance(model, (str, os.PathLike)):
        from energy_opt.frontend.onnx import load_onnx

        return load_onnx(os.fspath(model))
    import onnx

    if isinstance(model, onnx.ModelProto):
        from energy_opt.frontend.onnx import load_proto

        return load_proto(model)
    raise UsageError(
        f"cannot load a {type(model).__module__}.{type(model).__qualname__}; "
        "give the path of an .onnx file or an onnx.ModelProto (torch modules: export with torch.onnx.export first)"
    )
