"""Which node is the first to use a weight: what parameters and weight bytes are attributed to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import onnx_ir

from energy_opt.ir.op import bytes_of, is_arithmetic

_MAKERS = frozenset({"Constant", "ConstantOfShape"})  # where some exporters keep weights


class Weights:
    """Weights as they are claimed by nodes in schedule order; each once, however often it is shared."""

    def __init__(self, types: Mapping[onnx_ir.DataType, onnx_ir.DataType]) -> None:
        self._types = types
        self._seen: set[Any] = set()
        self._moved: dict[onnx_ir.Value, tuple[int, int]] = {}

    def claim(self, node: onnx_ir.Node, folded: bool) -> tuple[int, int]:
        """(parameters, bytes) of the weights that the node is the first to use.

        Parameters are elements of tensors of a floating or quantized type with at least one axis; integer buffers and
        scalars that the exporter made are bytes only. What a folded node (a transposed weight) claims passes to the
        node that uses its result.
        """
        parameters = size = 0
        for value in node.inputs:
            if value is None:
                continue
            moved = self._moved.pop(value, None) or self._own(value)
            parameters, size = parameters + moved[0], size + moved[1]
        if node.op_type in _MAKERS and not node.domain and node.outputs:
            parameters, size = self._size(node.outputs[0])
        if folded and size:
            self._moved[node.outputs[0]] = (parameters, size)
            return 0, 0
        return parameters, size

    def _own(self, value: onnx_ir.Value) -> tuple[int, int]:
        if value in self._seen or not value.is_initializer():
            return 0, 0
        self._seen.add(value)
        place = value.meta.get("weights")
        if place is not None and place.length and place.field != "stripped":
            if place in self._seen:  # two names for the same bytes are one weight
                return 0, 0
            self._seen.add(place)
        return self._size(value)

    def _size(self, value: onnx_ir.Value) -> tuple[int, int]:
        if value.shape is None or value.dtype is None or not value.shape.is_static():
            return 0, 0
        dtype = self._types.get(value.dtype, value.dtype)
        numel = math.prod(value.shape.numpy())
        learned = len(value.shape) > 0 and is_arithmetic(dtype)
        return (numel if learned else 0), int(bytes_of(numel, dtype))
