"""Parameters of quantized models: those of the model that was quantized, whatever its format."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

import energy_opt as eo

HEADER = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>\n'


def load(body: str, **weights: np.ndarray) -> onnx.ModelProto:
    proto = parser.parse_model(f"{HEADER}g (float[N, 8] x) => (float[N, 4] y) {{ {body} }}")
    for name, array in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return proto


SCALE, ZERO = np.float32(0.1), np.uint8(3)

# A linear layer of 8 * 4 weights and 4 biases: 36 parameters in every format; scales and zero points are none.
FORMATS = {
    "float": (
        "y = Gemm(x, w, b)",
        {"w": np.zeros((8, 4), np.float32), "b": np.zeros(4, np.float32)},
        4 * 36,
    ),
    "QDQ, a scale per channel": (
        "wf = DequantizeLinear<axis = 1>(w, s, z)  bf = DequantizeLinear<axis = 0>(b, s)  y = Gemm(x, wf, bf)",
        {
            "w": np.zeros((8, 4), np.int8),
            "s": np.ones(4, np.float32),
            "z": np.zeros(4, np.int8),
            "b": np.zeros(4, np.int32),
        },
        32 + 16 + 4 + 16,
    ),
    "QOperator": (
        """q = QuantizeLinear(x, one, zero)
        y = com.microsoft.QGemm(q, one, zero, w, one, zero, b)""",
        {
            "one": np.array(SCALE),
            "zero": np.array(ZERO),
            "w": np.zeros((8, 4), np.uint8),
            "b": np.zeros(4, np.int32),
        },
        4 + 1 + 32 + 16,
    ),
    # 4 rows of 8, two to a byte, with a scale and a zero point each
    "4 bits": (
        "m = com.microsoft.MatMulNBits<K = 8, N = 4, bits = 4, block_size = 16>(x, w, s, z)  y = Add(m, b)",
        {
            "w": np.zeros((4, 1, 4), np.uint8),
            "s": np.ones(4, np.float32),
            "z": np.zeros(4, np.uint8),
            "b": np.zeros(4, np.float32),
        },
        16 + 16 + 4 + 16,
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_quantized_layer_has_the_parameters_of_the_layer(name: str) -> None:
    body, weights, size = FORMATS[name]
    work = eo.workload(eo.load(load(body, **weights)))
    assert (work.parameters, work.weight_bytes) == (36, size)
