"""Small models in ONNX's text format, and the shapes that are inferred for them."""

from __future__ import annotations

import onnx_ir
from onnx import parser

from energy_opt.ir import shapes
from energy_opt.ir.dims import symbol
from energy_opt.ir.symbolic import dim_of

BATCH, SEQ, H, W = (symbol(name) for name in ("batch", "seq", "H", "W"))


def model(text: str, opset: int = 18) -> onnx_ir.Model:
    """A model of ONNX's text format; no shapes of computed values are declared unless written."""
    head = f'<ir_version: 9, opset_import: ["" : {opset}, "com.microsoft" : 1, "local" : 1]>\n'
    return onnx_ir.from_proto(parser.parse_model(head + text))


def dims(value: onnx_ir.Value) -> list[object] | None:
    """The shape as ints and sympy expressions."""
    if value.shape is None:
        return None
    return [dim_of(dim) for dim in value.shape.dims]


def output(text: str, opset: int = 18) -> list[object] | None:
    """The inferred shape of the first output."""
    parsed = model(text, opset)
    shapes.infer(parsed)
    return dims(parsed.graph.outputs[0])
