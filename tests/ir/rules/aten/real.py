"""Real calls of PyTorch's operators: the op as rules see it, its arguments bound as the front-end binds them."""

from __future__ import annotations

from typing import Any

import onnx_ir
import torch
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from energy_opt.frontend.pytorch.schema import Schema
from energy_opt.ir.op import Op, Tensor

_DTYPES = {"FLOAT32": "FLOAT", "FLOAT64": "DOUBLE", "FLOAT8_E4M3FN": "FLOAT8E4M3FN"}


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A tensor without memory."""
    return torch.empty(shape, dtype=dtype, device="meta")


class Called:
    """A call of `torch.ops.aten.name.overload` that was made.

    `op` is what rules see, `is_view` whether its results only give memory another name, `flops` what torch's
    FlopCounterMode counts for it.
    """

    def __init__(self, function: Any, *args: Any, **kwargs: Any) -> None:
        schema = Schema(function)
        tensors, values, _ = schema.bind(args, kwargs, torch.is_tensor)
        memory = {_memory(tensor) for tensor in tensors if tensor is not None}
        with FlopCounterMode(display=False) as counter:
            result = function(*args, **kwargs)
        self.flops = counter.get_total_flops()
        results = [value for value in pytree.tree_leaves(result) if torch.is_tensor(value)]
        self.is_view = (
            bool(results) and not schema.writes and memory.issuperset(map(_memory, results))
        )
        attributes = {
            name: int(value) if isinstance(value, bool) else value
            for name, value in schema.attributes(values).items()
        }
        attributes |= {"is_view": int(self.is_view), "in_place": int(schema.writes)}
        inputs = tuple(None if tensor is None else _tensor(tensor) for tensor in tensors)
        outputs = tuple(map(_tensor, results))
        self.op = Op(schema.domain, schema.name, 1, inputs, outputs, attributes)


def _memory(tensor: Any) -> int:
    return int(tensor.untyped_storage()._cdata)


def _tensor(tensor: Any) -> Tensor:
    name = str(tensor.dtype).removeprefix("torch.").upper()
    return Tensor(tuple(tensor.shape), onnx_ir.DataType[_DTYPES.get(name, name)])
