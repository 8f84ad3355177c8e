from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ir.rules.table import Case, case, op_of, work_of

MS = "com.microsoft::"

CASES = [
    # 2*3*5*4 = 120 multiply-adds of [2*3, 4] by [4, 5]; reads 24 + 20, writes 30 floats
    case("MatMul", "2,3,4 4,5 -> 2,3,5", 240, 0, 176, 120),
    # a bert linear: 2 * 768 * 3072 per token; 3072 bytes per token and 9 MiB of weights in, 12288 out
    case(
        "MatMul",
        "b,s,768 768,3072 -> b,s,3072",
        "4718592*b*s",
        0,
        "3072*b*s + 9437184",
        "12288*b*s",
    ),
    # scores of 12 heads of 64: 2*64*12 = 1536 per pair; each operand 12*64*4 = 3072 bytes a token
    case("MatMul", "b,12,s,64 b,12,64,s -> b,12,s,s", "1536*b*s**2", 0, "6144*b*s", "48*b*s**2"),
    # vectors: a dot product, row by matrix, matrix by column
    case("MatMul", "7 7 -> ()", 14, 0, 56, 4),
    case("MatMul", "7 7,3 -> 3", 42, 0, 112, 12),
    case("MatMul", "3,7 7 -> 3", 42, 0, 112, 12),
    # [5,1] broadcast against [4] batches: 20 products of 2x3 by 3x2
    case("MatMul", "5,1,2,3 4,3,2 -> 5,4,2,2", 480, 0, 4 * 30 + 4 * 24, 4 * 80),
    # Gemm: 2*2*4*3; C adds 8, alpha scales 8, beta scales C 8
    case("Gemm", "2,3 3,4 4 -> 2,4", 48, 8, 4 * (6 + 12 + 4), 32),
    case("Gemm", "3,2 4,3 4 -> 2,4", 48, 24, 88, 32, transA=1, transB=1, alpha=0.5, beta=2.0),
    # activation adds 1 (relu) per result to the bias
    case(MS + "FusedGemm", "2,3 3,4 4 -> 2,4", 48, 16, 88, 32, activation="Relu"),
    # alpha = 1/8 on 2*12*s*s scores, B transposed in the op
    case(
        MS + "FusedMatMul",
        "2,12,s,64 2,12,s,64 -> 2,12,s,s",
        "3072*s**2",
        "24*s**2",
        "12288*s",
        "96*s**2",
        transB=1,
        alpha=0.125,
    ),
    # transBatchA: A is [m=2, batch=5, k=3], B [5, 3, 4] -> 5 * 2*4*3 multiply-adds
    case(MS + "FusedMatMul", "2,5,3 5,3,4 -> 5,2,4", 240, 0, 4 * (30 + 60), 160, transBatchA=1),
    # gelu by tanh is 8, its bias 1
    case(MS + "GemmFastGelu", "2,3 3,4 4 -> 2,4", 48, 72, 88, 32),
    # zero points on both sides: one subtraction per element, 6 + 12; int8 in, int32 out
    case("MatMulInteger", "u8:2,3 i8:3,4 u8:() i8:() -> i32:2,4", 48, 18, 20, 32),
    case("MatMulInteger", "u8:2,3 i8:3,4 -> i32:2,4", 48, 0, 18, 32),
    # zero point of A 6, scale and bias 2 * 8
    case(
        MS + "MatMulIntegerToFloat",
        "u8:2,3 i8:3,4 () () u8:() - 4 -> 2,4",
        48,
        22,
        6 + 12 + 4 + 4 + 1 + 16,
        32,
    ),
    # A: min, max, divide, round, add, saturate = 6 * 6; results scaled 8, bias 8
    case(
        MS + "DynamicQuantizeMatMul",
        "2,3 i8:3,4 () i8:() 4 -> 2,4",
        48,
        52,
        24 + 12 + 4 + 1 + 16,
        32,
    ),
    # requantise 4 * 8
    case(
        "QLinearMatMul",
        "u8:2,3 () u8:() i8:3,4 () i8:() () u8:() -> u8:2,4",
        48,
        32,
        6 + 12 + 12 + 3,
        8,
    ),
    case(
        MS + "QGemm",
        "u8:2,3 () u8:() i8:4,3 () i8:() i32:4 () u8:() -> u8:2,4",
        48,
        40,
        49,
        8,
        transB=1,
    ),
    # 4-bit [64, 2 blocks, 16 bytes] weights = 2048 B, 128 f32 scales = 512 B; dequantise 2 * 64*64
    case(
        MS + "MatMulNBits",
        "5,64 u8:64,2,16 128 -> 5,64",
        40960,
        8192,
        1280 + 2048 + 512,
        1280,
        K=64,
        N=64,
        bits=4,
        block_size=32,
    ),
    case(
        MS + "MatMulNBits",
        "b,s,64 u8:64,2,16 128 - - 64 -> b,s,64",
        "8192*b*s",
        "8192 + 64*b*s",
        "256*b*s + 2816",
        "256*b*s",
        K=64,
        N=64,
        bits=4,
        block_size=32,
    ),
    case(
        MS + "MatMulBnb4",
        "5,64 u8:2048 64 -> 5,64",
        40960,
        8192,
        1280 + 2048 + 256,
        1280,
        K=64,
        N=64,
    ),
    # 5 x 7 pairs of 3-vectors: 2*5*7*3, then 4 per pair and 2 per element of 5x3 and 7x3
    case(MS + "CDist", "5,3 7,3 -> 5,7", 210, 140 + 72, 144, 140),
    # two [4, 6] weights at once: 2*5*8*6; dequantise 2*2*24; silu 5 and product 1 on 20 results
    case(
        MS + "MatMulNBitsMlp",
        "5,6 - - u8:4,1,3 4 - u8:4,1,3 4 - -> 5,4",
        480,
        96 + 120,
        120 + 24 + 32,
        80,
        K=6,
        N=4,
    ),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


@pytest.mark.parametrize(
    ("name", "signature", "attributes", "sizes"),
    [
        # the batch folds into m where the right operand has none
        ("MatMul", "8,128,768 768,768 -> 8,128,768", {}, {"b": 1, "m": 1024, "n": 768, "k": 768}),
        ("MatMul", "8,128,768 1,768,768 -> 8,128,768", {}, {"b": 1, "m": 1024, "n": 768, "k": 768}),
        (
            "MatMul",
            "8,12,128,64 8,12,64,128 -> 8,12,128,128",
            {},
            {"b": 96, "m": 128, "n": 128, "k": 64},
        ),
        ("MatMul", "128,64 8,64,32 -> 8,128,32", {}, {"b": 8, "m": 128, "n": 32, "k": 64}),
        (
            "Gemm",
            "64,10 20,64 -> 10,20",
            {"transA": 1, "transB": 1},
            {"b": 1, "m": 10, "n": 20, "k": 64},
        ),
    ],
)
def test_sizes(
    name: str, signature: str, attributes: dict[str, int], sizes: dict[str, int]
) -> None:
    assert dict(work_of(op_of(name, signature, **attributes)).sizes) == sizes


def test_a_named_and_an_integer_inner_dim_are_the_integer_one() -> None:
    assert work_of(op_of("MatMul", "2,s 4,5 -> 2,5")).matmul_flops == 80


def text(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape)) or "()"


@st.composite
def factors(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes that numpy multiplies: batches that broadcast, vectors on either side."""
    size = st.integers(1, 4)
    batch = draw(st.lists(size, max_size=2))
    k = draw(size)
    left = tuple(
        1 if draw(st.booleans()) else dim for dim in batch[draw(st.integers(0, len(batch))) :]
    )
    right = tuple(
        1 if draw(st.booleans()) else dim for dim in batch[draw(st.integers(0, len(batch))) :]
    )
    a = (k,) if draw(st.booleans()) and not left else (*left, draw(size), k)
    b = (k,) if draw(st.booleans()) and not right else (*right, k, draw(size))
    return a, b


@given(factors())
def test_flops_are_twice_the_products_that_numpy_sums(
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    a, b = shapes
    y = np.matmul(
        np.ones(a), np.ones(b)
    )  # every element of a product of ones is how many terms it sums
    work = work_of(op_of("MatMul", f"{text(a)} {text(b)} -> {text(np.shape(y))}"))
    assert work.matmul_flops == 2 * y.sum()
    assert np.prod([int(size) for _, size in work.sizes]) * 2 == work.matmul_flops
