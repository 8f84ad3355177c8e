"""Functions that ONNX and PyTorch both have operators for: the two vocabularies give one answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ir.rules.table import op_of, work_of

PAIRS = [
    ("Gelu", "aten::gelu", "2,3 -> 2,3", {}, {}),
    ("Gelu", "aten::gelu_", "2,3 -> 2,3", {}, {}),
    ("Sigmoid", "aten::sigmoid", "2,3 -> 2,3", {}, {}),
    ("HardSwish", "aten::hardswish", "2,3 -> 2,3", {}, {}),
    ("HardSigmoid", "aten::hardsigmoid", "2,3 -> 2,3", {}, {}),
    ("Mish", "aten::mish", "2,3 -> 2,3", {}, {}),
    ("Swish", "aten::silu", "2,3 -> 2,3", {}, {}),
    ("Elu", "aten::elu", "2,3 -> 2,3", {}, {}),
    ("Selu", "aten::selu", "2,3 -> 2,3", {}, {}),
    ("Celu", "aten::celu", "2,3 -> 2,3", {}, {}),
    ("Softplus", "aten::softplus", "2,3 -> 2,3", {}, {"beta": 1, "threshold": 20}),
    ("LeakyRelu", "aten::leaky_relu", "2,3 -> 2,3", {}, {}),
    ("PRelu", "aten::prelu", "2,3 3 -> 2,3", {}, {}),
    ("Clip", "aten::clamp", "2,3 -> 2,3", {}, {"min": 0, "max": 6}),
    ("Erf", "aten::erf", "2,3 -> 2,3", {}, {}),
    ("Add", "aten::add", "2,3 3 -> 2,3", {}, {"alpha": 1}),
    ("Mod", "aten::remainder", "2,3 3 -> 2,3", {}, {}),
    ("Where", "aten::where", "bool:2,3 2,3 2,3 -> 2,3", {}, {}),
    ("Cast", "aten::to", "2,3 -> f16:2,3", {}, {}),
    ("CumSum", "aten::cumsum", "2,3 -> 2,3", {}, {"dim": 1}),
    ("Softmax", "aten::softmax", "2,3 -> 2,3", {}, {}),
    ("Softmax", "aten::_softmax", "2,3 -> 2,3", {}, {}),
    ("LogSoftmax", "aten::log_softmax", "2,3 -> 2,3", {}, {}),
    ("LayerNormalization", "aten::layer_norm", "2,3 3 3 -> 2,3", {}, {}),
    ("LayerNormalization", "aten::layer_norm", "2,3 3 -> 2,3", {}, {}),
    ("LayerNormalization", "aten::native_layer_norm", "2,3 3 3 -> 2,3 2,1 2,1", {}, {}),
    ("RMSNormalization", "aten::rms_norm", "2,3 3 -> 2,3", {}, {}),
    ("GroupNormalization", "aten::group_norm", "1,4,2 4 4 -> 1,4,2", {"num_groups": 2}, {}),
    ("InstanceNormalization", "aten::instance_norm", "1,4,2 4 4 -> 1,4,2", {}, {}),
    ("BatchNormalization", "aten::batch_norm", "2,3,4 3 3 3 3 -> 2,3,4", {}, {"training": 0}),
    (
        "BatchNormalization",
        "aten::batch_norm",
        "2,3,4 3 3 3 3 -> 2,3,4",
        {"training_mode": 1},
        {"training": 1},
    ),
    ("ReduceSum", "aten::sum", "2,3 -> 2", {}, {}),
    ("ReduceMean", "aten::mean", "2,3 -> 2", {}, {}),
    ("ReduceMax", "aten::amax", "2,3 -> 2", {}, {}),
    ("ReduceL2", "aten::linalg_vector_norm", "2,3 -> 2", {}, {"ord": 2}),
    ("ReduceL1", "aten::linalg_vector_norm", "2,3 -> 2", {}, {"ord": 1}),
    ("ReduceLogSumExp", "aten::logsumexp", "2,3 -> 2", {}, {}),
    ("ArgMax", "aten::argmax", "2,3 -> i64:2", {}, {}),
    ("Det", "aten::linalg_det", "5,3,3 -> 5", {}, {}),
    ("com.microsoft::Inverse", "aten::linalg_inv", "5,3,3 -> 5,3,3", {}, {}),
    (
        "MaxPool",
        "aten::max_pool2d",
        "1,2,6,6 -> 1,2,3,3",
        {"kernel_shape": [2, 2]},
        {"kernel_size": (2,)},
    ),
    (
        "AveragePool",
        "aten::avg_pool1d",
        "1,2,6 -> 1,2,3",
        {"kernel_shape": [2]},
        {"kernel_size": (2,)},
    ),
    ("GlobalAveragePool", "aten::adaptive_avg_pool2d", "2,3,4,4 -> 2,3,1,1", {}, {}),
    ("Resize", "aten::upsample_bilinear2d", "1,3,4,4 -> 1,3,8,8", {"mode": "linear"}, {}),
    ("Resize", "aten::upsample_bicubic2d", "1,3,4,4 -> 1,3,8,8", {"mode": "cubic"}, {}),
    ("Resize", "aten::upsample_nearest2d", "1,3,8,8 -> 1,3,4,4", {"mode": "nearest"}, {}),
    (
        "GridSample",
        "aten::grid_sampler",
        "1,3,4,4 1,5,5,2 -> 1,3,5,5",
        {"mode": "linear"},
        {"interpolation_mode": 0},
    ),
    ("AffineGrid", "aten::affine_grid_generator", "1,2,3 -> 1,4,4,2", {}, {}),
    ("Gather", "aten::embedding", "99,8 i64:2,5 -> 2,5,8", {}, {}),
    ("GatherElements", "aten::gather", "9,9 i64:2,3 -> 2,3", {}, {"dim": 0}),
    ("ScatterElements", "aten::scatter", "9,9 i64:2,3 2,3 -> 9,9", {}, {"dim": 0}),
    (
        "ScatterElements",
        "aten::scatter_add",
        "9,9 i64:2,3 2,3 -> 9,9",
        {"reduction": "add"},
        {"dim": 0},
    ),
    ("NonZero", "aten::nonzero", "3,3 -> i64:2,4", {}, {}),
    ("OneHot", "aten::one_hot", "i64:5 -> 5,10", {}, {}),
    ("Concat", "aten::cat", "2,3 2,5 -> 2,8", {}, {"tensors": 2}),
    ("Tile", "aten::repeat", "2,3 -> 4,3", {}, {}),
    ("Pad", "aten::pad", "2,3 -> 4,5", {}, {}),
    ("Trilu", "aten::tril", "4,4 -> 4,4", {}, {}),
    ("Range", "aten::arange", "-> i64:7", {}, {}),
    ("ConstantOfShape", "aten::full", "-> 4,5", {}, {}),
    ("TopK", "aten::topk", "2,8 -> 2,3 i64:2,3", {}, {"dim": -1}),
    ("Unique", "aten::_unique2", "8 -> 4 i64:8 i64:4", {}, {}),
    ("RandomNormal", "aten::randn", "-> 2,3", {}, {}),
    ("RandomUniform", "aten::rand", "-> 2,3", {}, {}),
    ("Bernoulli", "aten::bernoulli", "2,3 -> 2,3", {}, {}),
    ("Multinomial", "aten::multinomial", "2,8 -> i64:2,5", {}, {}),
    ("Dropout", "aten::dropout", "2,3 -> 2,3", {}, {"train": 0}),
    ("HannWindow", "aten::hann_window", "-> 8", {}, {}),
    ("SoftmaxCrossEntropyLoss", "aten::cross_entropy_loss", "2,5 i64:2 -> ()", {}, {}),
    ("NegativeLogLikelihoodLoss", "aten::nll_loss", "2,5 i64:2 -> ()", {}, {}),
    ("QuantizeLinear", "aten::quantize_per_tensor", "2,3 () i8:() -> i8:2,3", {}, {}),
    ("DequantizeLinear", "aten::dequantize", "i8:2,3 () i8:() -> 2,3", {}, {}),
]


@pytest.mark.parametrize(
    ("onnx", "torchs", "signature", "onnx_attributes", "attributes"),
    PAIRS,
    ids=[f"{onnx}-{torchs}" for onnx, torchs, *_ in PAIRS],
)
def test_one_function_costs_the_same_in_both_vocabularies(
    onnx: str,
    torchs: str,
    signature: str,
    onnx_attributes: dict[str, Any],
    attributes: dict[str, Any],
) -> None:
    ours = work_of(op_of(torchs, signature, **attributes))
    theirs = work_of(op_of(onnx, signature, **onnx_attributes))
    assert (ours.kind, ours.other_flops, ours.bytes_read, ours.bytes_written) == (
        theirs.kind,
        theirs.other_flops,
        theirs.bytes_read,
        theirs.bytes_written,
    )
