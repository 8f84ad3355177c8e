from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from tests.ir.rules.table import Case, case, op_of, work_of

MS = "com.microsoft::"

CASES = [
    # resnet's first: 64*112*112 results of 3*7*7 = 147 multiply-adds
    case(
        "Conv",
        "b,3,224,224 64,3,7,7 -> b,64,112,112",
        "236027904*b",
        0,
        "602112*b + 37632",
        "3211264*b",
        strides=[2, 2],
    ),
    # bias: one sum per result, 2*8*5*5
    case("Conv", "2,4,7,7 8,4,3,3 8 -> 2,8,5,5", 2 * 400 * 36, 400, 4 * (392 + 288 + 8), 1600),
    # depthwise: each of 2*4*25 results meets 9 elements
    case("Conv", "2,4,7,7 4,1,3,3 -> 2,4,5,5", 3600, 0, 4 * (392 + 36), 800, group=4),
    # groups of 2 in, 4 out; 1-D and 3-D
    case("Conv", "2,4,7 8,2,3 -> 2,8,5", 2 * 80 * 6, 0, 4 * (56 + 48), 320, group=2),
    case("Conv", "1,2,4,4,4 3,2,2,2,2 -> 1,3,3,3,3", 2 * 81 * 16, 0, 4 * (128 + 48), 324),
    # same padding counts as work: 7x7 results
    case("Conv", "1,1,7,7 1,1,3,3 -> 1,1,7,7", 882, 0, 4 * (49 + 9), 196, auto_pad="SAME_UPPER"),
    # bias, residual and relu: three per result
    case(
        MS + "FusedConv",
        "2,4,7,7 8,4,3,3 8 2,8,5,5 -> 2,8,5,5",
        28800,
        1200,
        4 * (392 + 288 + 8 + 400),
        1600,
        activation="Relu",
    ),
    # channels last: the same convolution
    case(MS + "NhwcConv", "2,7,7,4 8,3,3,4 8 -> 2,5,5,8", 28800, 400, 4 * (392 + 288 + 8), 1600),
    case(
        "com.ms.internal.nhwc::Conv", "2,7,7,4 8,4,3,3 -> 2,5,5,8", 28800, 0, 4 * (392 + 288), 1600
    ),
    # zero points: one subtraction per element of x (392) and w (288); 8-bit in, 32-bit out
    case(
        "ConvInteger",
        "u8:2,4,7,7 i8:8,4,3,3 u8:() i8:() -> i32:2,8,5,5",
        28800,
        680,
        392 + 288 + 2,
        1600,
    ),
    # requantise 4 and bias 1 per result
    case(
        "QLinearConv",
        "u8:2,4,7,7 () u8:() i8:8,4,3,3 () i8:() () u8:() i32:8 -> u8:2,8,5,5",
        28800,
        2000,
        392 + 288 + 12 + 3 + 32,
        400,
    ),
    case(
        MS + "QLinearConv",
        "u8:2,7,7,4 () u8:() i8:8,4,3,3 () i8:() () u8:() -> u8:2,5,5,8",
        28800,
        1600,
        392 + 288 + 12 + 3,
        400,
        channels_last=1,
    ),
    # transposed: each of 4*3*3 inputs meets 8*2*2 weights, twice (batch 2)
    case(
        "ConvTranspose",
        "2,4,3,3 4,8,2,2 8 -> 2,8,6,6",
        2 * 72 * 32,
        576,
        4 * (72 + 128 + 8),
        2304,
        strides=[2, 2],
    ),
    case(
        "ConvTranspose",
        "1,4,3 4,2,2 -> 1,4,6",
        2 * 12 * 4,
        0,
        4 * (12 + 16),
        96,
        group=2,
        strides=[2],
    ),
    # deformable: 1*8*5*5 results of 36; 1*4*9*25 bilinear samples of 7 and a mask product
    case(
        "DeformConv",
        "1,4,7,7 8,4,3,3 1,18,5,5 - 1,9,5,5 -> 1,8,5,5",
        14400,
        7200,
        4 * (196 + 288 + 450 + 225),
        800,
    ),
    # depthwise in time: b*16*s results of 4, a bias and silu (5)
    case(
        "CausalConvWithState",
        "b,16,s 16,1,4 16 b,16,3 -> b,16,s b,16,3",
        "128*b*s",
        "96*b*s",
        "64*b*s + 256 + 64 + 192*b",
        "64*b*s + 192*b",
        activation="silu",
    ),
    # columns of 2*3 channels are added into the image
    case("Col2Im", "1,12,9 i64:2 i64:2 -> 1,3,4,4", 0, 108, 432, 192),
    # words of 10 letters, 7 windows of 4, 16 filters over 4*8: 2*5*7*16*32, then tanh, maximum and bias
    case(
        MS + "WordConvEmbedding",
        "i32:5,10 16,1,4,8 16 100,8 -> 5,16",
        35840,
        3 * 5 * 7 * 16,
        200 + 2048 + 64 + 3200,
        320,
    ),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


@pytest.mark.parametrize(
    ("name", "signature", "group", "sizes"),
    [
        (
            "Conv",
            "8,64,56,56 128,64,3,3 -> 8,128,56,56",
            1,
            {"b": 1, "m": 25088, "n": 128, "k": 576},
        ),
        ("Conv", "8,64,56,56 64,1,3,3 -> 8,64,56,56", 64, {"b": 64, "m": 25088, "n": 1, "k": 9}),
        (
            MS + "NhwcConv",
            "8,56,56,64 128,3,3,64 -> 8,56,56,128",
            1,
            {"b": 1, "m": 25088, "n": 128, "k": 576},
        ),
        # over input positions: 4 by 8*2*2
        ("ConvTranspose", "2,4,3,3 4,8,2,2 -> 2,8,6,6", 1, {"b": 1, "m": 18, "n": 32, "k": 4}),
    ],
)
def test_implicit_product(name: str, signature: str, group: int, sizes: dict[str, int]) -> None:
    assert sizes.items() <= dict(work_of(op_of(name, signature, group=group)).sizes).items()


@pytest.mark.parametrize(
    ("name", "signature", "plane"),
    [
        # output 28 by 28 over 56 * 56 inputs: a stride shows in the inputs
        ("Conv", "8,64,56,56 128,64,3,3 -> 8,128,28,28", (8, 28, 28, 3136, 3)),
        (MS + "NhwcConv", "8,56,40,64 128,3,3,64 -> 8,56,40,128", (8, 56, 40, 2240, 3)),
        # a kernel of 1 by 7 is not square, and a sequence no plane
        ("Conv", "2,4,8,8 4,4,1,7 -> 2,4,8,2", (2, 8, 2, 64, 1)),
        ("Conv", "2,4,30 4,4,3 -> 2,4,28", (2, 28, 1, 30, 1)),
    ],
)
def test_plane_under_the_kernel(name: str, signature: str, plane: tuple[int, ...]) -> None:
    sizes = dict(work_of(op_of(name, signature)).sizes)
    assert tuple(sizes[n] for n in ("images", "rows", "columns", "inputs", "side")) == plane


@settings(max_examples=25)
@given(
    kind=st.sampled_from(["Conv", "ConvTranspose"]),
    group=st.integers(1, 3),
    inputs=st.integers(1, 2),
    outputs=st.integers(1, 2),
    kernel=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
)
def test_flops_are_twice_the_products_that_onnx_sums(
    kind: str, group: int, inputs: int, outputs: int, kernel: list[int], stride: int, dilation: int
) -> None:
    group = group if kind == "Conv" else 1  # onnx's reference cannot transpose groups
    x = np.ones((2, group * inputs, *(5 for _ in kernel)), np.float32)
    channels = (group * outputs, inputs) if kind == "Conv" else (group * inputs, outputs)
    w = np.ones((*channels, *kernel), np.float32)
    attributes = {
        "group": group,
        "strides": [stride] * len(kernel),
        "dilations": [dilation] * len(kernel),
    }
    node = onnx.helper.make_node(kind, ["x", "w"], ["y"], **attributes)
    (y,) = ReferenceEvaluator(node, opsets={"": 21}).run(None, {"x": x, "w": w})
    shapes = [",".join(map(str, array.shape)) for array in (x, w, y)]
    work = work_of(op_of(kind, f"{shapes[0]} {shapes[1]} -> {shapes[2]}", **attributes))
    # without padding every element of a convolution of ones is how many products it sums
    assert work.matmul_flops == 2 * y.sum()
