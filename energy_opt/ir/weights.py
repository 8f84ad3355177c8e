"""Which node is the first to use a weight: what parameters and weight bytes are attributed to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import onnx_ir

from energy_opt.ir.op import bytes_of, is_arithmetic

_MAKERS = frozenset({"Constant", "ConstantOfShape"})  # where some exporters keep weights

_SCALES: dict[str, tuple[int, ...]] = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "DynamicQuantizeMatMul": (2, 3),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "MatMulNBits": (2, 3),
    "MatMulBnb4": (2,),
    "GatherBlockQuantized": (2, 3),
    "QMoE": (3, 6, 9, 11, 12, 13),
}
"""Inputs that hold scales and zero points: bytes, but no parameters of the model that was quantized."""
_BIASES = {"DequantizeLinear": 0, "QLinearConv": 8, "QGemm": 6}
"""Inputs where 32-bit integers are a quantized bias."""
_PACKED = {
    "MatMulNBits": ("bits", 4),
    "MatMulBnb4": ("", 4),
    "GatherBlockQuantized": ("bits", 4),
    "QMoE": ("expert_weight_bits", 4),
}
"""Ops whose weights of type uint8 hold several elements a byte: the attribute that says how wide one is."""


class Weights:
    """Weights as they are claimed by nodes in schedule order; each once, however often it is shared."""

    def __init__(self, types: Mapping[onnx_ir.DataType, onnx_ir.DataType]) -> None:
        self._types = types
        self._seen: set[Any] = set()
        self._moved: dict[onnx_ir.Value, tuple[int, int]] = {}

    def claim(self, node: onnx_ir.Node, folded: bool) -> tuple[int, int]:
        """(parameters, bytes) of the weights that the node is the first to use.

        Parameters are elements of tensors of a floating or quantized type with at least one axis, or of what a PyTorch
        module calls its parameters; integer buffers, scalars that the exporter made, scales and zero points are bytes
        only. What a folded node (a transposed weight) claims passes to the node that uses its result.
        """
        parameters = size = 0
        scales = _SCALES.get(node.op_type, ())
        for index, value in enumerate(node.inputs):
            if value is None:
                continue
            moved = self._moved.pop(value, None) or self._own(value)
            if moved[1] and index not in scales:
                parameters += moved[0] or _bias(node, index, value)
                parameters += moved[0] * (_elements_a_byte(node, value) - 1)
            size += moved[1]
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
        # a module says what its parameters are; in a file, a scalar is the exporter's
        learned = value.meta.get("parameter", len(value.shape) > 0)
        return (numel if learned and is_arithmetic(dtype) else 0), int(bytes_of(numel, dtype))


def _bias(node: onnx_ir.Node, index: int, value: onnx_ir.Value) -> int:
    """Elements of a bias that was quantized to 32 bits, else 0."""
    if value.dtype is not onnx_ir.DataType.INT32 or _BIASES.get(node.op_type) != index:
        return 0
    return math.prod(value.shape.numpy()) if value.shape is not None else 0


def _elements_a_byte(node: onnx_ir.Node, value: onnx_ir.Value) -> int:
    name, usual = _PACKED.get(node.op_type, ("", 8))
    if value.dtype is not onnx_ir.DataType.UINT8 or node.op_type not in _PACKED:
        return 1
    attribute = node.attributes.get(name)
    bits = attribute.value if attribute is not None else usual
    return 8 // bits if bits in (1, 2, 4) else 1
