"""Ops as PyTorch itself makes them: called on the meta device, their arguments bound by schema."""

from __future__ import annotations

from typing import Any

import onnx_ir
import torch
from torch.utils.flop_counter import FlopCounterMode

from energy_opt.ir.op import Op, Tensor

DTYPES = {
    torch.float32: onnx_ir.DataType.FLOAT,
    torch.float16: onnx_ir.DataType.FLOAT16,
    torch.bfloat16: onnx_ir.DataType.BFLOAT16,
    torch.float8_e4m3fn: onnx_ir.DataType.FLOAT8E4M3FN,
    torch.uint64: onnx_ir.DataType.UINT64,
    torch.int64: onnx_ir.DataType.INT64,
    torch.int32: onnx_ir.DataType.INT32,
    torch.int8: onnx_ir.DataType.INT8,
    torch.uint8: onnx_ir.DataType.UINT8,
    torch.bool: onnx_ir.DataType.BOOL,
}


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A tensor without memory."""
    return torch.empty(shape, dtype=dtype, device="meta")


def called(function: Any, *args: Any, **kwargs: Any) -> tuple[Op, int]:
    """The op of a call of `torch.ops.aten.name.overload`, and the FLOPs that FlopCounterMode counts for it."""
    with FlopCounterMode(display=False) as counter:
        result = function(*args, **kwargs)
    schema = function._schema
    inputs: list[Tensor | None] = []
    attributes: dict[str, Any] = {}
    for index, argument in enumerate(schema.arguments):
        given = (
            args[index] if index < len(args) else kwargs.get(argument.name, argument.default_value)
        )
        if "Tensor" in str(argument.type):
            if isinstance(given, (list, tuple)):
                attributes[argument.name] = len(given)
                inputs += [_tensor(item) for item in given]
            else:
                inputs.append(_tensor(given))
        elif given is not None:
            value = tuple(given) if isinstance(given, list) else given
            attributes[argument.name] = int(value) if isinstance(value, bool) else value
    while inputs and inputs[-1] is None:
        inputs.pop()
    results = result if isinstance(result, (list, tuple)) else (result,)
    outputs = tuple(tensor for item in results if (tensor := _tensor(item)) is not None)
    domain, _, name = schema.name.partition("::")
    return Op(domain, name, 1, tuple(inputs), outputs, attributes), counter.get_total_flops()


def _tensor(value: Any) -> Tensor | None:
    if not isinstance(value, torch.Tensor):
        return None
    return Tensor(tuple(value.shape), DTYPES[value.dtype])
