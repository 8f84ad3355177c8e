from __future__ import annotations

import pytest
import sympy

from tests.ir.rules.table import Case, case, op_of, work_of

A = "aten::"

CASES = [
    # 2*3*5*4 = 120 multiply-adds of [2*3, 4] by [4, 5]; reads 24 + 20, writes 30 floats
    case(A + "matmul", "2,3,4 4,5 -> 2,3,5", 240, 0, 176, 120),
    # vectors: a dot product, row by matrix, matrix by column, row by a batch
    case(A + "matmul", "7 7 -> ()", 14, 0, 56, 4),
    case(A + "matmul", "7 7,3 -> 3", 42, 0, 112, 12),
    case(A + "matmul", "3,7 7 -> 3", 42, 0, 112, 12),
    case(A + "matmul", "7 2,7,3 -> 2,3", 84, 0, 4 * (7 + 42), 24),
    # [5,1] broadcast against [4] batches: 20 products of 2x3 by 3x2
    case(A + "linalg_matmul", "5,1,2,3 4,3,2 -> 5,4,2,2", 480, 0, 4 * 30 + 4 * 24, 4 * 80),
    # scores of 12 heads of 64: 2*64*12 = 1536 per pair; each operand 12*64*4 = 3072 bytes a token
    case(
        A + "matmul", "b,12,s,64 b,12,64,s -> b,12,s,s", "1536*b*s**2", 0, "6144*b*s", "48*b*s**2"
    ),
    case(A + "mm", "2,3 3,4 -> 2,4", 48, 0, 72, 32),
    case(A + "bmm", "b,2,3 b,3,4 -> b,2,4", "48*b", 0, "72*b", "32*b"),
    case(A + "mv", "2,3 3 -> 2", 12, 0, 36, 8),
    case(A + "dot", "5 5 -> ()", 10, 0, 40, 4),
    case(A + "_int_mm", "i8:32,16 i8:16,8 -> i32:32,8", 2 * 32 * 16 * 8, 0, 640, 1024),
    # a bert linear: 2 * 768 * 3072 per token, its bias 3072; 3072 bytes per token, 9 MiB of weights and the bias in
    case(
        A + "linear",
        "b,s,768 3072,768 3072 -> b,s,3072",
        "4718592*b*s",
        "3072*b*s",
        "3072*b*s + 9437184 + 12288",
        "12288*b*s",
    ),
    case(A + "linear", "2,3 4,3 -> 2,4", 48, 0, 72, 32),
    # complex numbers: 4 real multiply-adds each, 8 bytes
    case(A + "bmm", "c64:5,2,3 c64:5,3,4 -> c64:5,2,4", 4 * 240, 0, 8 * 90, 8 * 40),
    case(A + "einsum", "c64:2,3 c64:3,4 -> c64:2,4", 4 * 48, 0, 144, 64, equation="ij,jk->ik"),
    # weight[k]: a dot product per row
    case(A + "linear", "2,5,3 3 -> 2,5", 60, 0, 132, 40),
    # C adds 8; alpha scales 8 products, beta scales 8 of C
    case(A + "addmm", "4 2,3 3,4 -> 2,4", 48, 8, 16 + 72, 32, alpha=1, beta=1),
    case(A + "addmm_", "2,4 2,3 3,4 -> 2,4", 48, 24, 32 + 72, 32, alpha=0.5, beta=2),
    # beta 0 (bloom's scores): C is neither read nor added; alpha scales 2*3*4 results
    case(A + "baddbmm", "2,3,4 2,3,5 2,5,4 -> 2,3,4", 240, 24, 4 * 70, 96, alpha=0.125, beta=0),
    case(A + "addmv", "2 2,3 3 -> 2", 12, 2, 44, 8),
    # tanh Gelu 8 and C 1 on 8 results; Relu 1
    case(A + "_addmm_activation", "4 2,3 3,4 -> 2,4", 48, 72, 88, 32, use_gelu=1),
    case(A + "_addmm_activation", "4 2,3 3,4 -> 2,4", 48, 16, 88, 32, use_gelu=0),
    # 5 products of 2x3 by 3x4, summed: 5 * 24 multiply-adds; C adds 8
    case(A + "addbmm", "2,4 5,2,3 5,3,4 -> 2,4", 240, 8, 4 * (8 + 30 + 60), 32),
    # a product and a sum per pair
    case(A + "addr", "2,3 2 3 -> 2,3", 0, 12, 4 * 11, 24),
    case(A + "outer", "2 3 -> 2,3", 0, 6, 20, 24),
    case(A + "kron", "2,2 3,1 -> 6,2", 0, 12, 28, 48),
    # [2,5,3] with [4,3]: 40 dot products of 3
    case(A + "inner", "2,5,3 4,3 -> 2,5,4", 240, 0, 4 * 42, 160),
    case(A + "inner", "2,3 () -> 2,3", 0, 6, 28, 24),
    case(A + "linalg_vecdot", "2,5,3 5,3 -> 2,5", 60, 0, 180, 40, dim=-1),
    case(A + "linalg_vecdot", "2,5,3 2,5,3 -> 2,3", 60, 0, 240, 24, dim=1),
    # sums over 3*4: m = 2, n = 5
    case(
        A + "tensordot",
        "2,3,4 4,5,3 -> 2,5",
        240,
        0,
        4 * 84,
        40,
        dims_self=(1, 2),
        dims_other=(2, 0),
    ),
    # (10x2 2x30) is 600 then 30x5 1500; 2x30x5 first is 300, then 10x2x5 100: 400 multiply-adds
    case(A + "linalg_multi_dot", "10,2 2,30 30,5 -> 10,5", 800, 0, 4 * 230, 200, tensors=3),
    # vectors at both ends: the matrix by the right one is 24 and then 4; the left one first would be 24 and then 6
    case(A + "chain_matmul", "4 4,6 6 -> ()", 2 * 28, 0, 4 * 34, 4),
    # three squarings and, for the bits of 11 = 0b1011, two products of 4x4 by 4x4
    case(A + "linalg_matrix_power", "3,4,4 -> 3,4,4", 5 * 3 * 2 * 64, 0, 192, 192, n=11),
    case(A + "linalg_matrix_power", "3,4,4 -> 3,4,4", 0, 0, 192, 192, n=1),
    # attention scores
    case(
        A + "einsum",
        "b,s,12,64 b,t,12,64 -> b,12,s,t",
        "1536*b*s*t",
        0,
        "3072*b*s + 3072*b*t",
        "48*b*s*t",
        equation="bqhd,bkhd->bhqk",
    ),
    # left to right: 2*3 by 3*4 (24), then 2*4 by 4*5 (40); by path the last two first: 60, then 30
    case(A + "einsum", "2,3 3,4 4,5 -> 2,5", 128, 0, 4 * 38, 40, equation="ij,jk,kl->il"),
    case(
        A + "einsum",
        "2,3 3,4 4,5 -> 2,5",
        180,
        0,
        4 * 38,
        40,
        equation="ij,jk,kl->il",
        path=(1, 2, 0, 1),
    ),
    case(A + "einsum", "2,3 2,3 -> 2,3", 0, 6, 48, 24, equation="ij,ij->ij"),
    case(A + "einsum", "2,3 -> 3,2", 0, 0, 24, 24, equation="ij->ji"),
    # x1 by w: 2 * 4 rows * 5*7 * 6, then by x2: 2 * 4 * 5*7; the bias 4*5
    case(A + "bilinear", "4,6 4,7 5,6,7 5 -> 4,5", 1680 + 280, 20, 4 * (24 + 28 + 210 + 5), 80),
    # the same as torch spells it: [n, -, i, -], [-, o, i, j], [n, -, -, j], summed over i and j
    case(
        A + "_trilinear",
        "4,6 5,6,7 4,7 -> 4,5",
        1680 + 280,
        0,
        4 * 262,
        80,
        expand1=(1, 3),
        expand2=(0,),
        expand3=(1, 2),
        sumdim=(2, 3),
    ),
    # x.grad and weight.grad 2*2*4*3 each, bias 2*4 sums
    case(
        A + "linear_backward",
        "2,3 2,4 4,3 -> 2,3 4,3 4",
        96,
        8,
        4 * (6 + 8 + 12),
        4 * (6 + 12 + 4),
        output_mask=(1, 1, 1),
    ),
    case(A + "linear_backward", "2,3 2,4 4,3 -> 2,3", 48, 0, 104, 24, output_mask=(1, 0, 0)),
    case(A + "matmul_backward", "2,4 2,3 3,4 -> 2,3 3,4", 96, 0, 104, 72, mask=(1, 1)),
    # float8 in principle: scales are operands; one scale per result
    case(A + "_scaled_mm", "i8:16,32 i8:32,8 () () -> f16:16,8", 8192, 128, 512 + 256 + 8, 256),
    case(
        A + "_scaled_mm",
        "i8:16,32 i8:32,8 () () f16:8 -> f16:16,8",
        8192,
        256,
        512 + 256 + 8 + 16,
        256,
    ),
    case(
        A + "_scaled_mm_v2",
        "i8:16,32 i8:32,8 16,1 1,8 f16:8 -> f16:16,8",
        8192,
        256,
        768 + 64 + 32 + 16,
        256,
        scale_a=1,
        scale_b=1,
    ),
    case(A + "_weight_int8pack_mm", "f16:2,32 i8:8,32 f16:8 -> f16:2,8", 1024, 16, 128 + 272, 32),
    # 8 rows of 32 4-bit weights, dequantised (2) once; as int32 [1, 1, 32, 1]
    case(
        A + "_weight_int4pack_mm",
        "f16:2,32 i32:1,1,32,1 f16:1,8,2 -> f16:2,8",
        1024,
        512,
        128 + 128 + 32,
        32,
        qGroupSize=32,
    ),
    # one scale per result and the bias
    case(A + "_mixed_dtypes_linear", "f16:2,32 i8:32,8 f16:8 f16:8 -> f16:2,8", 1024, 32, 416, 32),
    # range and quantisation 6 of 64 inputs, a scale of 16 results
    case(A + "_dyn_quant_matmul_4bit", "2,32 u8:160 -> 2,8", 1024, 400, 416, 64),
    # the unpacked weight is not read
    case(
        A + "fbgemm_linear_int8_weight",
        "2,32 i8:8,32 u8:300 i32:8 8 -> 2,8",
        1024,
        6 * 64 + 32,
        256 + 300 + 32 + 32,
        64,
    ),
    case(A + "fbgemm_linear_fp16_weight", "2,32 f16:256 8 -> 2,8", 1024, 16, 256 + 512 + 32, 64),
    # bias and relu
    case("mkldnn::_linear_pointwise", "2,3 4,3 4 -> 2,4", 48, 16, 88, 32, attr="relu"),
    # 256 bytes of a weight that is no operand; input quantised 6, result scaled 1 and biased 1, relu 1
    case("quantized::linear_relu_dynamic", "2,32 -> 2,8", 1024, 384 + 48, 256 + 256, 64),
    case("quantized::linear", "u8:2,32 -> u8:2,8", 1024, 64 + 16, 64 + 256, 16),
    case("quantized::linear_dynamic_fp16", "2,32 -> 2,8", 1024, 16, 256 + 512, 64),
    # 2:4 sparse: 16 of 32 products each
    case(
        A + "_sparse_semi_structured_linear",
        "f16:2,32 f16:8,16 i32:8,1 f16:8 -> f16:2,8",
        512,
        16,
        128 + 256 + 32 + 16,
        32,
    ),
    case(
        A + "_sparse_semi_structured_mm",
        "f16:8,16 i32:8,1 f16:32,2 -> f16:8,2",
        512,
        0,
        256 + 32 + 128,
        32,
    ),
    # 30 rows each: by a product; 4 per pair and a square and a sum per element of both
    case(A + "cdist", "2,30,3 2,30,3 -> 2,30,30", 10800, 7200 + 720, 1440, 7200, p=2.0),
    # few rows, or another p: subtract, square (or size), sum for 3 elements of 20 pairs, and a root
    case(A + "cdist", "4,3 5,3 -> 4,5", 0, 180 + 20, 108, 80, p=2.0),
    case(A + "cdist", "4,3 5,3 -> 4,5", 0, 180, 108, 80, p=1.0),
    # absolute difference, pow, sum; a root
    case(A + "_cdist_forward", "30,3 30,3 -> 30,30", 0, 900 * 13, 720, 3600, p=3.0),
    case(A + "_euclidean_dist", "4,3 5,3 -> 4,5", 120, 80 + 54, 108, 80),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


def test_sizes_are_those_of_the_product() -> None:
    # weights without batch fold the batch into m, so that tiles are counted over all rows
    assert dict(work_of(op_of(A + "linear", "8,128,768 3072,768 -> 8,128,3072")).sizes) == {
        "b": 1, "m": 1024, "n": 3072, "k": 768,
    }  # fmt: skip
    assert dict(work_of(op_of(A + "addmm", "4 2,3 3,4 -> 2,4")).sizes) == {
        "b": 1, "m": 2, "n": 4, "k": 3,
    }  # fmt: skip
    assert dict(work_of(op_of(A + "bmm", "6,2,3 6,3,4 -> 6,2,4")).sizes)["b"] == 6


def test_the_best_order_of_a_chain_of_names_is_a_minimum() -> None:
    work = work_of(op_of(A + "linalg_multi_dot", "b,2 2,30 30,s -> b,s"))
    # (b*2*30 + b*30*s) or (2*30*s + b*2*s), times 2
    expected = 2 * min(10 * 60 + 10 * 30 * 5, 60 * 5 + 10 * 2 * 5)
    names = {symbol.name: symbol for symbol in sympy.sympify(work.matmul_flops).free_symbols}
    assert work.matmul_flops.subs({names["b"]: 10, names["s"]: 5}) == expected  # type: ignore[union-attr]


@pytest.mark.parametrize("path", [(0, 5, 0, 1), (1, 1, 0, 1), (-1, 0, 0, 1)])
def test_an_impossible_path_is_refused(path: tuple[int, ...]) -> None:
    op = op_of(A + "einsum", "2,3 3,4 4,5 -> 2,5", equation="ij,jk,kl->il", path=path)
    with pytest.raises(ValueError, match="path"):
        work_of(op)
