from __future__ import annotations

import pytest

from energy_opt.ir.signature import price
from tests.ir.rules.table import Case, case, formula, op_of, work_of

A = "aten::"
IMAGE = "b,64,112,112 -> b,64,56,56"

CASES = [
    # 9 elements per result; one size stands for both dims
    case(A + "max_pool2d", IMAGE, 0, "1806336*b", "3211264*b", "802816*b", kernel_size=(3, 3)),
    case(A + "max_pool2d", IMAGE, 0, "1806336*b", "3211264*b", "802816*b", kernel_size=(3,)),
    # places are written too
    case(A + "max_pool2d_with_indices", "1,2,4,4 -> 1,2,2,2 i64:1,2,2,2", 0, 32, 128, 32 + 64, kernel_size=(2,)),
    case(A + "avg_pool1d", "1,2,6 -> 1,2,3", 0, 12, 48, 24, kernel_size=(2,)),
    case(A + "avg_pool3d", "1,1,4,4,4 -> 1,1,2,2,2", 0, 64, 256, 32, kernel_size=(2,)),
    # every input once
    case(A + "adaptive_avg_pool2d", "2,3,4,4 -> 2,3,1,1", 0, 96, 384, 24, output_size=(1, 1)),
    case(A + "max_unpool2d", "1,1,2,2 i64:1,1,2,2 -> 1,1,4,4", 0, 0, 48, 64),
    # 4 taps: 4 products and 3 sums; along one dim 2 and 1; cubic 16 and 15
    case(A + "upsample_bilinear2d", "1,3,4,4 -> 1,3,8,8", 0, 7 * 192, 192, 768),
    case(A + "upsample_linear1d", "1,3,4 -> 1,3,8", 0, 72, 48, 96),
    case(A + "upsample_bicubic2d", "1,3,4,4 -> 1,3,8,8", 0, 31 * 192, 192, 768),
    # nearest reads what it keeps
    case(A + "upsample_nearest2d", "1,3,8,8 -> 1,3,4,4", 0, 0, 192, 192),
    # half the size: kernels of 4 along both dims, 4 products and 3 sums each
    case(A + "_upsample_bilinear2d_aa", "1,3,8,8 -> 1,3,4,4", 0, 14 * 48, 768, 192),
    case(A + "_upsample_bilinear2d_aa", "1,3,4,4 -> 1,3,8,8", 0, 6 * 192, 192, 768),
    # bilinear, nearest
    case(A + "grid_sampler", "1,3,4,4 1,5,5,2 -> 1,3,5,5", 0, 525, 392, 300, interpolation_mode=0),
    case(A + "grid_sampler", "1,3,4,4 1,5,5,2 -> 1,3,5,5", 0, 0, 392, 300, interpolation_mode=1),
    # 2 products and 2 sums for each of 32 coordinates
    case(A + "affine_grid_generator", "1,2,3 -> 1,4,4,2", 0, 128, 24, 128),
    # 8 gradients added to the 4 elements of their kernels
    case(A + "avg_pool2d_backward", "1,2,2,2 1,2,4,4 -> 1,2,4,4", 0, 32, 160, 128, kernel_size=(2,)),
    # 8 gradients and their places
    case(
        A + "max_pool2d_with_indices_backward",
        "1,2,2,2 1,2,4,4 i64:1,2,2,2 -> 1,2,4,4",
        *(0, 8, 32 + 64, 128),
        kernel_size=(2,),
    ),
    # 2x2 samples of 7, and their sum
    case("torchvision::roi_align", "1,2,8,8 3,5 -> 3,2,2,2", 0, 32 * 24, 572, 96, sampling_ratio=2),
    case("torchvision::roi_pool", "1,2,8,8 3,5 -> 3,2,2,2 i32:3,2,2,2", 0, 24, 512 + 60, 192),
]  # fmt: skip


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


def test_a_kernel_may_have_a_named_size() -> None:
    # an average over the whole image: every input once
    work = work_of(op_of(A + "avg_pool2d", "b,8,s,s -> b,8,1,1", kernel_size=("s", "s")))
    assert work.other_flops == formula("8*b*s**2")


@pytest.mark.parametrize("size", [(), (0, 2), (2, "?")])
def test_a_pool_without_a_kernel_is_not_modelled(size: object) -> None:
    assert not price(op_of("aten::max_pool2d", "1,2,4,4 -> 1,2,2,2", kernel_size=size)).modelled
