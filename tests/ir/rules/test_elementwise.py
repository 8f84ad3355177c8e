from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case, op_of, work_of

MS = "com.microsoft::"

# FLOPs of each formula per element, counted by hand, on 6 floats: 24 bytes in, 24 out.
UNARY = {
    "Relu": 1,  # max
    "Exp": 1,
    "Sqrt": 1,
    "Erf": 1,
    "Cast": 1,
    "Not": 1,
    "LeakyRelu": 2,  # multiply, select
    "Softplus": 3,  # exp, add, log
    "Softsign": 3,  # abs, add, divide
    "Sigmoid": 4,  # negate, exp, add, divide
    "HardSigmoid": 4,  # multiply, add, max, min
    "Elu": 4,  # exp, subtract, multiply, select
    "Mish": 5,  # softplus, tanh, multiply
    "HardSwish": 5,  # hard sigmoid, multiply
    "Swish": 5,  # sigmoid, multiply
    "Gelu": 5,  # divide, erf, add, two products
    MS + "Gelu": 5,
    "Selu": 5,  # elu, multiply
    MS + "QuickGelu": 6,  # multiply, sigmoid, multiply
    "Celu": 7,  # max, divide, exp, subtract, multiply, min, add
    MS + "FastGelu": 8,  # pow, multiply, add, multiply, tanh, add, multiply, multiply
    "Softmax": 5,  # max, subtract, exp, sum, divide
    "LogSoftmax": 5,  # max, subtract, exp, sum, subtract
    "Hardmax": 2,  # max, compare
    "CumSum": 1,
    "DynamicQuantizeLinear": 6,  # min, max, divide, round, add, saturate
    "ai.onnx.ml::Normalizer": 3,  # square, sum, divide
    "ai.onnx.ml::Scaler": 2,  # subtract, multiply
}

CASES = [
    case("Add", "b,s,768 768 -> b,s,768", 0, "768*b*s", "3072*b*s + 3072", "3072*b*s"),
    # broadcasting writes the larger shape: 20 results from 4 + 5 elements
    case("Mul", "4,1 1,5 -> 4,5", 0, 20, 36, 80),
    case("Where", "bool:2,3 2,3 () -> 2,3", 0, 6, 6 + 24 + 4, 24),
    case("Pow", "2,3 () -> 2,3", 0, 6, 28, 24),
    case("Cast", "2,3 -> f16:2,3", 0, 6, 24, 12),
    # the second operand only names the type
    case("CastLike", "2,3 f16:100 -> f16:2,3", 0, 6, 24, 12),
    # three inputs: two sums; the mean divides too
    case("Sum", "2,3 2,3 2,3 -> 2,3", 0, 12, 72, 24),
    case("Mean", "2,3 2,3 2,3 -> 2,3", 0, 18, 72, 24),
    case("Max", "2,3 -> 2,3", 0, 0, 24, 24),
    case("Clip", "2,3 () () -> 2,3", 0, 12, 32, 24),
    case("PRelu", "2,3 3 -> 2,3", 0, 12, 36, 24),
    case("Swish", "2,3 -> 2,3", 0, 36, 24, 24, alpha=1.5),
    case("SwiGLU", "2,3 2,3 -> 2,3", 0, 36, 48, 24),
    # bias, then 5 or 8
    case(MS + "BiasGelu", "2,3 3 -> 2,3", 0, 36, 36, 24),
    case(MS + "FastGelu", "2,3 3 -> 2,3", 0, 54, 36, 24),
    case(MS + "BiasAdd", "2,3 3 2,3 -> 2,3", 0, 12, 60, 24),
    # each result: two biases, gelu, product
    case(MS + "BiasSplitGelu", "2,6 6 -> 2,3", 0, 48, 72, 24),
    # a complex product of 3 pairs: 4 products and 2 sums each
    case(MS + "ComplexMul", "3,2 3,2 -> 3,2", 0, 18, 48, 24),
    # rotation: 2 products and a sum per element of 2*12*5*64; rows of 32 cosines and sines for 10 tokens
    case(
        "RotaryEmbedding",
        "2,12,5,64 99,32 99,32 i64:2,5 -> 2,12,5,64",
        0,
        23040,
        30720 + 80 + 2 * 10 * 128,
        30720,
    ),
    case(
        MS + "RotaryEmbedding",
        "2,5,768 i64:2,5 99,32 99,32 -> 2,5,768",
        0,
        23040,
        30720 + 80 + 2560,
        30720,
        num_heads=12,
    ),
    # half of each head
    case(
        "RotaryEmbedding",
        "2,5,768 2,5,16 2,5,16 -> 2,5,768",
        0,
        11520,
        30720 + 1280,
        30720,
        num_heads=12,
        rotary_embedding_dim=32,
    ),
    # a scalar position: 5 rows from there on
    case(
        MS + "RotaryEmbedding",
        "2,5,768 i64:1 99,32 99,32 -> 2,5,768",
        0,
        23040,
        30720 + 8 + 1280,
        30720,
        num_heads=12,
    ),
    case(MS + "GatedAdd", "2,3 2,3 2,1 -> 2,3", 0, 12, 56, 24),
    # 3 streams of 4: mixed by 3x3 for 2 tokens, then 2 per result
    case(
        MS + "HyperConnectionPostMix",
        "2,3,4 2,4 2,3 2,3,3 -> 2,3,4",
        144,
        48,
        96 + 32 + 24 + 72,
        96,
    ),
    case(MS + "HyperConnectionPreMix", "2,3,4 2,3 -> 2,4", 0, 56, 120, 32),
    # bias, softplus, scale 5; sigmoid 4
    case(MS + "LinearAttentionGate", "2,5,8 8 8 2,5,8 -> 2,5,8 2,5,8", 0, 720, 704, 640),
    case("AffineGrid", "2,2,3 i64:4 -> 2,5,5,2", 0, 400, 48, 400),
    # tables: rows of 16 per query row; 2*16*4 each, sum and 2 sigmoid gates, and the 9 scores of 2 heads
    case(
        MS + "GatedRelativePositionBias",
        "1,3,32 32 1,2,3,3 16,4 4 1,2,1,1 -> 1,2,3,3",
        2 * 6 * 64,
        96 + 6 * 19 + 18,
        384 + 128 + 72 + 256 + 16 + 8,
        72,
        num_heads=2,
    ),
]


@pytest.mark.parametrize(("name", "flops"), UNARY.items())
def test_flops_per_element(name: str, flops: int) -> None:
    case(name, "2,3 -> 2,3", 0, 6 * flops, 24, 24).check()


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


@pytest.mark.parametrize(
    ("fused", "parts"),
    [
        (
            ("Softmax", "2,3 -> 2,3"),
            [
                "ReduceMax 2,3 -> 2,1",
                "Sub 2,3 2,1 -> 2,3",
                "Exp 2,3 -> 2,3",
                "ReduceSum 2,3 -> 2,1",
                "Div 2,3 2,1 -> 2,3",
            ],
        ),
        (
            ("Sigmoid", "2,3 -> 2,3"),
            ["Neg 2,3 -> 2,3", "Exp 2,3 -> 2,3", "Add 2,3 () -> 2,3", "Div () 2,3 -> 2,3"],
        ),
        (
            ("Gelu", "2,3 -> 2,3"),
            [
                "Div 2,3 () -> 2,3",
                "Erf 2,3 -> 2,3",
                "Add 2,3 () -> 2,3",
                "Mul 2,3 2,3 -> 2,3",
                "Mul 2,3 () -> 2,3",
            ],
        ),
        ((MS + "BiasGelu", "2,3 3 -> 2,3"), ["Add 2,3 3 -> 2,3", "Gelu 2,3 -> 2,3"]),
        (
            (MS + "SkipLayerNormalization", "2,3 2,3 3 3 3 -> 2,3"),
            ["Add 2,3 3 -> 2,3", "Add 2,3 2,3 -> 2,3", "LayerNormalization 2,3 3 3 -> 2,3"],
        ),
        (("SwiGLU", "2,3 2,3 -> 2,3"), ["Swish 2,3 -> 2,3", "Mul 2,3 2,3 -> 2,3"]),
    ],
    ids=lambda value: str(value[0]),
)
def test_fusing_leaves_flops_as_they_were(fused: tuple[str, str], parts: list[str]) -> None:
    apart = [work_of(op_of(*part.split(" ", 1))) for part in parts]
    assert work_of(op_of(*fused)).other_flops == sum(work.other_flops for work in apart)


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        *(
            (name, name)
            for name in (
                "Relu",
                "Tanh",
                "Sigmoid",
                "LeakyRelu",
                "Elu",
                "Softplus",
                "Softsign",
                "HardSigmoid",
            )
        ),
        *(
            (name, name)
            for name in (
                "HardSwish",
                "Gelu",
                "Swish",
                "ThresholdedRelu",
                "Softmax",
                "ScaledTanh",
                "Affine",
            )
        ),
        ("silu", "Swish"),
        ("Clip", "Clip"),
        ("FastGelu", MS + "FastGelu"),
        ("QuickGelu", MS + "QuickGelu"),
    ],
)
def test_a_fused_activation_costs_what_the_op_costs(activation: str, name: str) -> None:
    plain, fused = (
        work_of(op_of(MS + "FusedConv", "1,2,5 4,2,1 -> 1,4,5", **attributes)).other_flops
        for attributes in ({}, {"activation": activation})
    )
    assert fused - plain == work_of(op_of(name, "1,4,5 -> 1,4,5")).other_flops
