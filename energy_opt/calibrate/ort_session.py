"""Sessions of ONNX Runtime as users have them, with operands that Python need not copy."""
# ruff: noqa: TID253  (this file is imported to time primitives)

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime

from energy_opt.calibrate.ort_models import Composite


def session_options(threads: int) -> Any:
    """Options as a user's session has them, on that many threads; 0 for as many, and where, as it chooses itself."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return options


def opened(made: Composite, options: Any) -> Any:
    """The session; weights stay where they are."""
    if made.weights:
        values = [
            onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in made.weights.values()
        ]
        options.add_external_initializers(list(made.weights), values)
    return onnxruntime.InferenceSession(made.model, options, providers=["CPUExecutionProvider"])


def bound(session: Any, feeds: Mapping[str, Any]) -> Any:
    """Inputs and outputs that ONNX Runtime need not copy from Python."""
    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return binding
