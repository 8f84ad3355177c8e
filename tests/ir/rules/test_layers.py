"""Recurrent layers, experts, transforms, quantisation, classical models, optimisers, random numbers."""

from __future__ import annotations

from typing import Any

import pytest

from energy_opt.ir.rules import lookup
from tests.ir.rules.table import Case, case, op_of, work_of

MS = "com.microsoft::"
ML = "ai.onnx.ml::"
TRAIN = "ai.onnx.preview.training::"

CASES = [
    # 7 steps of 2 samples: [3 + 5] by 4*5 gates = 160 multiply-adds each; 18 + 4 sums + 8 biases = 30 per unit
    case(
        "LSTM",
        "7,2,3 1,20,3 1,20,5 1,40 -> 7,1,2,5",
        2 * 14 * 160,
        30 * 70,
        4 * (42 + 60 + 100 + 40),
        280,
        hidden_size=5,
    ),
    # both directions; no bias; batch first
    case(
        "LSTM",
        "2,7,3 2,20,3 2,20,5 -> 2,7,2,5",
        4 * 14 * 160,
        22 * 140,
        4 * (42 + 120 + 200),
        560,
        hidden_size=5,
        direction="bidirectional",
        layout=1,
    ),
    # 3 gates: 120 multiply-adds; 14 + 3 + 6 per unit
    case(
        "GRU",
        "7,2,3 1,15,3 1,15,5 1,30 -> 7,1,2,5",
        2 * 14 * 120,
        23 * 70,
        4 * (42 + 45 + 75 + 30),
        280,
    ),
    case(
        "RNN",
        "7,2,3 1,5,3 1,5,5 1,10 -> 7,1,2,5",
        2 * 14 * 40,
        4 * 70,
        4 * (42 + 15 + 25 + 10),
        280,
    ),
    case("LSTM", "s,b,3 1,20,3 1,20,5 -> s,1,b,5", "320*b*s", "110*b*s", "12*b*s + 640", "20*b*s"),
    # state of 4x8 in 2 heads: correction, outer product, read-out = 6 * 2*32; decay 64, correction 32, scale 16
    case(
        "LinearAttention",
        "1,3,8 1,3,8 1,3,16 1,2,4,8 1,3,2 1,3,2 -> 1,3,16 1,2,4,8",
        2 * 3 * 32 * 6,
        3 * (64 + 32 + 16),
        4 * (24 + 24 + 48 + 64 + 6 + 6),
        4 * (48 + 64),
        q_num_heads=2,
        kv_num_heads=2,
        update_rule="gated_delta",
    ),
    case(
        "LinearAttention",
        "1,3,8 1,3,8 1,3,16 -> 1,3,16 1,2,4,8",
        2 * 3 * 32 * 4,
        3 * 16,
        384,
        448,
        q_num_heads=2,
        kv_num_heads=2,
        update_rule="linear",
    ),
    # 5 tokens to 2 of 4 experts: 10 passes of 8*16 + 16*8; router softmax 5*20, relu 160, weighting 2*80.
    # All 4 experts can be met: 4 * 256 weights are read
    case(
        MS + "MoE",
        "5,8 5,4 4,16,8 - 4,8,16 -> 5,8",
        2 * 10 * 256,
        100 + 160 + 160,
        160 + 80 + 4096,
        160,
        k=2,
    ),
    # one token meets 2 experts: half of the weights; 2 biased layers and a third product
    case(
        MS + "MoE",
        "1,8 1,4 4,16,8 4,16 4,8,16 4,8 4,16,8 4,16 -> 1,8",
        2 * 2 * 384,
        20 + 2 * 2 * 16 + 2 * 2 * 8,
        32 + 16 + 2 * 4 * (384 + 16 + 8 + 16),
        32,
        k=2,
        activation_type="relu",
    ),
    # 4-bit weights: the same passes, a quarter byte count; 2 FLOPs to dequantise each weight of 4 experts
    case(
        MS + "QMoE",
        "5,8 5,4 u8:4,16,4 4,16 - u8:4,8,8 4,8 -> 5,8",
        2 * 10 * 256,
        420 + 2 * 4 * 256,
        240 + 4 * (64 + 64 + 64 + 32),
        160,
        k=2,
        expert_weight_bits=4,
    ),
    # 5 n log2 n = 160 for each of 3 complex rows of 8, half for real ones
    case("DFT", "3,8,2 i64:()=8 i64:()=1 -> 3,8,2", 0, 360, 192 + 16, 192, opset=20),
    case("DFT", "3,8,1 -> 3,5,2", 0, 180, 96, 120, opset=17, onesided=1),
    # 2 signals of 3 frames of 16, windowed: 6 * (5*16*4/2 + 16)
    case("STFT", "2,64,1 i64:() 16 i64:()=16 -> 2,3,9,2", 0, 6 * 176, 512 + 8 + 64 + 8, 432),
    case("HannWindow", "i64:() -> 16", 0, 64, 8, 64),
    # divide, round, add, saturate; subtract, multiply; one less without zero point
    case("QuantizeLinear", "2,3 () u8:() -> u8:2,3", 0, 24, 29, 6),
    case("QuantizeLinear", "2,3 () -> u8:2,3", 0, 18, 28, 6),
    case("DequantizeLinear", "i4:2,4 () i4:1 -> 2,4", 0, 16, 9, 32),
    case(MS + "DequantizeLinear", "u8:2,3 () -> 2,3", 0, 6, 10, 24),
    # two dequantised operands, a sum, requantised: 2 + 2 + 1 + 4
    case(MS + "QLinearAdd", "u8:2,3 () u8:() u8:2,3 () u8:() () u8:() -> u8:2,3", 0, 54, 27, 6),
    case(MS + "QLinearSigmoid", "u8:2,3 () u8:() () u8:() -> u8:2,3", 0, 60, 16, 6),
    # weights, gradient and momentum of 6: decay 2, momentum 3, step 2
    case(TRAIN + "Momentum", "() i64:() 2,3 2,3 2,3 -> 2,3 2,3", 0, 42, 12 + 72, 48),
    case(
        TRAIN + "Adam",
        "() i64:() 2,3 5 2,3 5 2,3 5 2,3 5 -> 2,3 5 2,3 5 2,3 5",
        0,
        154,
        12 + 4 * 44,
        132,
    ),
    case(TRAIN + "Adagrad", "() i64:() 2,3 2,3 2,3 -> 2,3 2,3", 0, 54, 84, 48),
    case("RandomNormalLike", "2,3 -> 2,3", 0, 36, 0, 24),
    case("RandomUniform", "-> 2,3", 0, 12, 0, 24, shape=[2, 3]),
    # 3 per class of 2 samples of 8, a search of 3 steps per draw
    case("Multinomial", "2,8 -> i32:2,5", 0, 48 + 30, 64, 40, sample_size=5),
    # 10 samples of 4 features, 3 classes: product, intercept and softmax 5 per score
    case(
        ML + "LinearClassifier",
        "10,4 -> i64:10 10,3",
        240,
        180,
        160 + 48,
        80 + 120,
        coefficients=[0.0] * 12,
        intercepts=[0.0] * 3,
        post_transform="SOFTMAX",
    ),
    case(
        ML + "LinearRegressor",
        "10,4 -> 10,1",
        80,
        10,
        160 + 16,
        40,
        coefficients=[0.0] * 4,
        intercepts=[0.0],
    ),
    # 2 trees of 7 nodes: 3 steps and a leaf each; all 14 nodes can be met
    case(
        ML + "TreeEnsembleRegressor",
        "10,4 -> 10,1",
        0,
        80,
        160 + 14 * 16,
        40,
        nodes_treeids=[0] * 7 + [1] * 7,
    ),
    # one sample meets 6 of them
    case(
        ML + "TreeEnsembleRegressor",
        "1,4 -> 1,1",
        0,
        8,
        16 + 6 * 16,
        4,
        nodes_treeids=[0] * 7 + [1] * 7,
    ),
    case(
        ML + "TreeEnsemble",
        "10,4 -> 10,1",
        0,
        40,
        160 + 7 * 16,
        40,
        nodes_featureids=[0] * 3,
        leaf_targetids=[0] * 4,
        tree_roots=[0],
    ),
    # 5 support vectors of 4: product, 3 for the kernel, 2 for the weighted sum
    case(
        ML + "SVMRegressor",
        "10,4 -> 10,1",
        400,
        250,
        160 + 100,
        40,
        support_vectors=[0.0] * 20,
        coefficients=[0.0] * 5,
        kernel_type="POLY",
    ),
    # differences, squares and sums instead of a product
    case(
        ML + "SVMRegressor",
        "10,4 -> 10,1",
        0,
        600 + 250,
        260,
        40,
        support_vectors=[0.0] * 20,
        coefficients=[0.0] * 5,
        kernel_type="RBF",
    ),
    case(ML + "SVMRegressor", "10,4 -> 10,1", 80, 0, 176, 40, coefficients=[0.0] * 4),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


def test_experts_that_are_read_grow_with_tokens_until_all_are() -> None:
    def read(tokens: int) -> Any:
        return work_of(
            op_of(MS + "MoE", f"{tokens},8 {tokens},64 64,16,8 - 64,8,16 -> {tokens},8", k=2)
        ).bytes_read

    per_token, per_expert = 4 * (8 + 64), 4 * 256
    assert [read(n) - n * per_token for n in (1, 4, 32, 33, 1000)] == [
        per_expert * met for met in (2, 8, 64, 64, 64)
    ]


@pytest.mark.parametrize(
    ("name", "signature", "attributes"),
    [
        ("DFT", "3,8,2 i64:() i64:() -> 3,8,2", {}),  # an axis that nobody knows
        (ML + "TreeEnsembleRegressor", "10,4 -> 10,1", {}),
        (ML + "SVMRegressor", "10,s -> 10,1", {"support_vectors": [0.0] * 20}),
        (MS + "MatMulNBits", "5,64 u8:64,2,16 128 -> 5,64", {"K": 0, "N": 64}),
        ("MaxPool", "1,2,6 -> 1,2,3", {}),
        ("Conv", "2,4,7,7 8,4,3,3 -> 2,8,5,5", {"group": 3}),
        ("MatMul", "? 3,4 -> ?", {}),
        ("LRN", "1,8,2,2 -> 1,8,2,2", {"size": "large"}),
    ],
)
def test_what_cannot_be_counted_is_refused(
    name: str, signature: str, attributes: dict[str, Any]
) -> None:
    op = op_of(name, signature, **attributes)
    entry = lookup(op.domain, op.op_type)
    assert entry is not None
    with pytest.raises(ValueError, match=r".+"):
        entry.rule(op)
