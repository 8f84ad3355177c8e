from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case, op_of, work_of

A = "aten::"

CASES = [
    # the stem of ResNet: 112*112*64 results of 3*7*7; its bias 1 each
    case(
        A + "conv2d",
        "b,3,224,224 64,3,7,7 64 -> b,64,112,112",
        "2*b*802816*147",
        "802816*b",
        "602112*b + 37632 + 256",
        "3211264*b",
        groups=1,
    ),
    # depthwise: groups follow from weights of one channel each
    case(A + "conv2d", "1,8,6,6 8,1,3,3 -> 1,8,4,4", 2 * 8 * 16 * 9, 0, 1152 + 288, 512),
    case(
        A + "_conv_depthwise2d",
        "1,8,6,6 16,1,3,3 -> 1,16,4,4",
        2 * 16 * 16 * 9,
        0,
        1152 + 576,
        1024,
    ),
    # grouped, along one dim; without a batch
    case(A + "conv1d", "2,6,9 4,3,3 -> 2,4,7", 2 * 2 * 4 * 7 * 9, 0, 4 * (108 + 36), 224),
    case(A + "conv1d", "6,9 4,6,3 4 -> 4,7", 2 * 28 * 18, 28, 4 * (54 + 72 + 4), 112),
    # padding as text: every result meets the kernel of 4
    case(A + "conv1d", "2,6,s 8,6,4 -> 2,8,s", "768*s", 0, "48*s + 768", "64*s", padding="same"),
    case(A + "convolution", "1,2,5,5 3,2,3,3 - -> 1,3,3,3", 2 * 27 * 18, 0, 416, 108, transposed=0),
    # transposed: 81 inputs of 6 channels meet 4 results of 9 each
    case(
        A + "convolution",
        "1,6,9,9 6,4,3,3 4 -> 1,4,17,17",
        2 * 81 * 6 * 36,
        1156,
        4 * (486 + 216 + 4),
        4624,
        transposed=1,
    ),
    case(A + "conv_transpose1d", "2,6,5 6,2,4 -> 2,4,11", 2 * 10 * 6 * 8, 0, 432, 352),
    # bias and relu; an addend that is scaled and added besides
    case(A + "cudnn_convolution_relu", "1,2,5,5 3,2,3,3 3 -> 1,3,3,3", 972, 54, 428, 108),
    case(
        A + "cudnn_convolution_add_relu",
        "1,2,5,5 3,2,3,3 1,3,3,3 3 -> 1,3,3,3",
        972,
        27 * 4,
        428 + 108,
        108,
    ),
    # [t, b, Cin] by [kernel, Cin, Cout]
    case(A + "conv_tbc", "9,2,6 3,6,4 4 -> 7,2,4", 2 * 14 * 4 * 18, 56, 4 * (108 + 72 + 4), 224),
    # 3 sums of 4 products and a mask for every of 2*9 samples per result place; bias 1
    case(
        "torchvision::deform_conv2d",
        "1,2,5,5 3,2,3,3 1,18,3,3 1,9,3,3 3 -> 1,3,3,3",
        972,
        8 * 18 * 9 + 27,
        4 * (50 + 54 + 162 + 81 + 3),
        108,
        use_mask=1,
    ),
    # grad, x, weight: two products, and sums of the bias's gradient; or the weight's product alone
    case(
        A + "convolution_backward",
        "1,3,3,3 1,2,5,5 3,2,3,3 -> 1,2,5,5 3,2,3,3 3",
        2 * 972,
        27,
        4 * (27 + 50 + 54),
        4 * (50 + 54 + 3),
        transposed=0,
        output_mask=(1, 1, 1),
    ),
    case(
        A + "convolution_backward",
        "1,3,3,3 1,2,5,5 3,2,3,3 -> 3,2,3,3",
        972,
        0,
        524,
        216,
        transposed=0,
        output_mask=(0, 1, 0),
    ),
    # windows of 3x3: 18 rows for 9 places; and back with a sum per element
    case(A + "im2col", "1,2,5,5 -> 1,18,9", 0, 0, 200, 648),
    case(A + "col2im", "1,18,9 -> 1,2,5,5", 0, 162, 648, 200),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


def test_sizes_are_those_of_the_implicit_product() -> None:
    work = work_of(op_of(A + "conv2d", "8,64,56,56 128,32,3,3 -> 8,128,56,56"))
    product = {"b": 2, "m": 8 * 56 * 56, "n": 64, "k": 32 * 9}
    # 8 images of 56 by 56, whose 56 * 56 inputs a kernel of 3 by 3 slides over
    plane = {"images": 8, "rows": 56, "columns": 56, "inputs": 3136, "side": 3}
    assert dict(work.sizes) == product | plane
    backward = work_of(
        op_of(
            A + "convolution_backward", "8,128,56,56 8,64,56,56 128,32,3,3 -> 8,64,56,56 128,32,3,3"
        )
    )
    assert dict(backward.sizes)["b"] == 4


@pytest.mark.parametrize(
    "signature",
    ["1,8,6,6 8,3,3,3 -> 1,8,4,4", "8 8,1,3 -> 8,4", "1,s,6,6 8,3,3,3 -> 1,8,4,4"],
)
def test_channels_that_make_no_groups_are_refused(signature: str) -> None:
    with pytest.raises(ValueError, match=r"multiple|rank|channels"):
        work_of(op_of(A + "conv2d", signature))
