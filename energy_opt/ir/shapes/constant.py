"""Constant nodes: a tensor, or numbers and strings written as attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir

from energy_opt.ir.shapes.info import VALUES_LIMIT, Info, tensor_values

_CONSTANTS = {
    "value_float": onnx_ir.DataType.FLOAT,
    "value_floats": onnx_ir.DataType.FLOAT,
    "value_int": onnx_ir.DataType.INT64,
    "value_ints": onnx_ir.DataType.INT64,
    "value_string": onnx_ir.DataType.STRING,
    "value_strings": onnx_ir.DataType.STRING,
}


def constant_info(attrs: Mapping[str, Any]) -> Info | None:
    """The value that a Constant node with these attributes holds; None where it holds none."""
    for name, value in attrs.items():
        if name == "value":
            return Info(tuple(int(dim) for dim in value.shape), value.dtype, tensor_values(value))
        if name == "sparse_value":
            return Info(tuple(int(dim) for dim in value.dims), value.values.dtype)
        kind = _CONSTANTS.get(name)
        if kind is None:
            continue
        scalar = not isinstance(value, (list, tuple))
        items = (value,) if scalar else tuple(value)
        steers = kind is not onnx_ir.DataType.STRING and len(items) <= VALUES_LIMIT
        return Info(() if scalar else (len(items),), kind, items if steers else None)
    return None
