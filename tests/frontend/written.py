"""Small models in ONNX's text format."""

from __future__ import annotations

import onnx
from onnx import parser

HEADER = '<ir_version: 9, opset_import: ["" : {opset}]>\n'


def text_model(text: str, opset: int = 20) -> onnx.ModelProto:
    return parser.parse_model(HEADER.format(opset=opset) + text)
