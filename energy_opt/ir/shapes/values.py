"""The elements of small integer tensors that shapes are computed from."""

from __future__ import annotations

import json

import onnx_ir

from energy_opt.ir.dims import Dim

LIMIT = 64


def known_values(value: onnx_ir.Value) -> tuple[Dim, ...] | None:
    """Elements of a small integer tensor, flattened, ints or dims; None where they are not known."""
    text = value.metadata_props.get("pkg.onnx_shape_inference.sym_data")
    if text is not None:
        items = json.loads(text)
        if len(items) > LIMIT:
            return None
        return tuple(
            item if isinstance(item, int) else onnx_ir.SymbolicDim(item)._expr for item in items
        )
    tensor = value.const_value
    if tensor is None or not tensor.dtype.is_integer() or tensor.size > LIMIT:
        return None
    return tuple(int(item) for item in tensor.numpy().flatten())
