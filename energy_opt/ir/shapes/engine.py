"""Provisional engine."""

from __future__ import annotations

import logging

import onnx_ir

from energy_opt.errors import ModelError


def infer(model: onnx_ir.Model) -> None:
    """Write the shape and dtype of every value, in place. Raises ModelError where the graph contradicts itself."""
    from onnx_shape_inference import infer_symbolic_shapes

    logging.getLogger("onnx_shape_inference").setLevel(logging.ERROR)
    try:
        infer_symbolic_shapes(model, warn_on_missing=False)
    except ValueError as error:
        raise ModelError(str(error)) from error
