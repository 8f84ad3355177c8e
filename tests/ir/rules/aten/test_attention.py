from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case, formula, op_of, work_of

A = "aten::"
SDPA = A + "scaled_dot_product_attention"
BY_HEADS = "2,8,5,16 2,8,7,16 2,8,7,16"
# 2*8*5*7 = 560 scores, each 16 multiply-adds with keys and 16 with values; 1280, 1792 and 1792 floats in
PRODUCTS, SCORES, READ = 560 * 64, 560, 4 * (1280 + 2 * 1792)
# grad beside q, k, v; 5 products of 16 a score: the scores again, dV, dP, dQ, dK
GRADIENTS = 560 * 160
# scale, - lse, exp, - row sum, product, scale; dO * O: a product and a sum for 16 values of 80 queries
AROUND = 6 * 560 + 80 * 32

CASES = [
    # scale 1 and softmax 5 per score
    case(SDPA, f"{BY_HEADS} -> 2,8,5,16", PRODUCTS, 6 * SCORES, READ, 5120, dropout_p=0.0),
    # causal: the same, since shapes know no triangle
    case(SDPA, f"{BY_HEADS} -> 2,8,5,16", PRODUCTS, 6 * SCORES, READ, 5120, is_causal=1),
    # bert: 12 heads of 64; 256 FLOPs and 6 + 1 (mask) per pair and head; 3072 bytes a token and operand
    case(
        SDPA,
        "b,12,s,64 b,12,s,64 b,12,s,64 bool:b,1,s,s -> b,12,s,64",
        "3072*b*s**2",
        "84*b*s**2",
        "9216*b*s + b*s**2",
        "3072*b*s",
    ),
    # 32 query heads share 8 of keys and values: FLOPs of 32, bytes of 8
    case(
        SDPA,
        "f16:b,32,s,128 f16:b,8,s,128 f16:b,8,s,128 -> f16:b,32,s,128",
        "16384*b*s**2",
        "192*b*s**2",
        "8192*b*s + 2*2048*b*s",
        "8192*b*s",
        enable_gqa=1,
    ),
    # one new token meets t keys of a cache
    case(
        SDPA,
        "b,12,1,64 b,12,t,64 b,12,t,64 -> b,12,1,64",
        "3072*b*t",
        "72*b*t",
        "3072*b + 6144*b*t",
        "3072*b",
    ),
    # keys of 16, values of 4; no head dim; mask and dropout: 6 + 1 + 2
    case(
        SDPA,
        "2,5,16 2,7,16 2,7,4 5,7 -> 2,5,4",
        2 * 70 * 20,
        9 * 70,
        4 * (160 + 224 + 56 + 35),
        160,
        dropout_p=0.1,
    ),
    # two dims are one head
    case(SDPA, "5,16 7,16 7,16 -> 5,16", 35 * 64, 210, 4 * (80 + 224), 320),
    # keys of one batch entry for all: the result tells the batch
    case(
        SDPA,
        "2,8,5,16 1,8,7,16 1,8,7,16 -> 2,8,5,16",
        PRODUCTS,
        6 * SCORES,
        4 * (1280 + 1792),
        5120,
    ),
    # the log-sums are written too
    case(
        A + "_scaled_dot_product_flash_attention",
        f"{BY_HEADS} -> 2,8,5,16 2,8,5",
        PRODUCTS,
        6 * SCORES,
        READ,
        5120 + 320,
    ),
    case(
        A + "_scaled_dot_product_efficient_attention",
        f"{BY_HEADS} 2,8,5,7 -> 2,8,5,16 2,8,0",
        PRODUCTS,
        7 * SCORES,
        READ + 2240,
        5120,
    ),
    # the maths variant writes its weights
    case(
        A + "_scaled_dot_product_attention_math",
        f"{BY_HEADS} -> 2,8,5,16 2,8,5,7",
        PRODUCTS,
        6 * SCORES,
        READ,
        5120 + 2240,
    ),
    # how many blocks a mask leaves is data: all of them
    case(
        "higher_order::flex_attention",
        f"{BY_HEADS} i32:1,1,1 i32:1,1,1,1 -> 2,8,5,16 2,8,5",
        PRODUCTS,
        6 * SCORES,
        READ + 8,
        5120 + 320,
    ),
    # by length: [b, q, heads, d]
    case(
        A + "_flash_attention_forward",
        "2,5,8,16 2,7,8,16 2,7,8,16 -> 2,5,8,16 2,8,5",
        PRODUCTS,
        6 * SCORES,
        READ,
        5120 + 320,
        max_q=5,
        max_k=7,
    ),
    # a window of 2 before and none after: 3 keys each, 240 scores
    case(
        A + "_flash_attention_forward",
        "2,5,8,16 2,7,8,16 2,7,8,16 -> 2,5,8,16",
        240 * 64,
        6 * 240,
        READ,
        5120,
        max_q=5,
        max_k=7,
        is_causal=1,
        window_size_left=2,
        window_size_right=-1,
    ),
    # 30 packed tokens meet at most 12 keys each: 30*8*12 scores; ends of 3 sequences
    case(
        A + "_flash_attention_forward",
        "30,8,16 30,8,16 30,8,16 i32:4 i32:4 -> 30,8,16 8,30",
        2880 * 64,
        6 * 2880,
        4 * 3 * 3840 + 32,
        4 * 3840 + 960,
        max_q=12,
        max_k=12,
    ),
    # the buffer at the front is written, not read
    case(
        A + "_flash_attention_forward_no_dropout_inplace",
        f"2,5,8,16 {'2,5,8,16 2,7,8,16 2,7,8,16'} -> 2,8,5",
        PRODUCTS,
        6 * SCORES,
        READ,
        5120 + 320,
        max_k=7,
    ),
    case(
        A + "_efficient_attention_forward",
        "2,5,8,16 2,7,8,16 2,7,8,16 2,8,5,7 -> 2,5,8,16",
        PRODUCTS,
        7 * SCORES,
        READ + 2240,
        5120,
    ),
    case(
        A + "_efficient_attention_forward",
        "1,30,8,16 1,30,8,16 1,30,8,16 - i32:4 i32:4 -> 1,30,8,16",
        2880 * 64,
        6 * 2880,
        4 * 3 * 3840 + 32,
        4 * 3840,
        max_seqlen_q=12,
        max_seqlen_k=12,
    ),
    # 4 keys of a window
    case(
        A + "_efficient_attention_forward",
        "2,5,8,16 2,7,8,16 2,7,8,16 -> 2,5,8,16",
        320 * 64,
        6 * 320,
        READ,
        5120,
        window_size=4,
    ),
    case(
        A + "_cudnn_attention_forward",
        f"{BY_HEADS} 2,8,5,7 -> 2,8,5,16",
        PRODUCTS,
        7 * SCORES,
        READ + 2240,
        5120,
        max_k=7,
    ),
    case(
        A + "_scaled_dot_product_flash_attention_backward",
        f"2,8,5,16 {BY_HEADS} -> {BY_HEADS}",
        GRADIENTS,
        AROUND,
        READ + 5120,
        READ,
    ),
    case(
        A + "_scaled_dot_product_efficient_attention_backward",
        f"2,8,5,16 {BY_HEADS} 2,8,5,7 -> {BY_HEADS}",
        GRADIENTS,
        AROUND + 560,
        READ + 5120 + 2240,
        READ,
    ),
    case(
        A + "_scaled_dot_product_flash_attention_for_cpu_backward",
        f"2,8,5,16 {BY_HEADS} 2,8,5,16 2,8,5 2,8,5,7 -> {BY_HEADS}",
        GRADIENTS,
        AROUND + 560,
        READ + 2 * 5120 + 320 + 2240,
        READ,
    ),
    case(
        "higher_order::flex_attention_backward",
        f"{BY_HEADS} 2,8,5,16 2,8,5 2,8,5,16 -> {BY_HEADS}",
        GRADIENTS,
        AROUND,
        READ + 2 * 5120 + 320,
        READ,
    ),
    case(
        A + "_flash_attention_backward",
        "2,5,8,16 2,5,8,16 2,7,8,16 2,7,8,16 -> 2,5,8,16 2,7,8,16 2,7,8,16",
        GRADIENTS,
        AROUND,
        READ + 5120,
        READ,
        max_k=7,
    ),
    case(
        A + "_efficient_attention_backward",
        "2,5,8,16 2,5,8,16 2,7,8,16 2,7,8,16 2,8,5,7 -> 2,5,8,16 2,7,8,16 2,7,8,16",
        GRADIENTS,
        AROUND + 560,
        READ + 5120 + 2240,
        READ,
    ),
    # 2 samples of 5 tokens of 16 = 4 heads of 4: four projections of 16x16 for 10 tokens, 200 scores of 2*4.
    # Around: 6 per score, biases of 3*16 and 16 a token, averaging the weights of 4 heads
    case(
        A + "_native_multi_head_attention",
        "2,5,16 2,5,16 2,5,16 48,16 48 16,16 16 -> 2,5,16 2,5,5",
        2 * 10 * 4 * 256 + 200 * 16,
        6 * 200 + 10 * 64 + 200,
        4 * (3 * 160 + 768 + 48 + 256 + 16),
        4 * (160 + 50),
        num_head=4,
        need_weights=1,
    ),
    case(
        A + "_native_multi_head_attention",
        "2,5,16 2,5,16 2,5,16 48,16 48 16,16 16 -> 2,5,16",
        2 * 10 * 4 * 256 + 200 * 16,
        6 * 200 + 10 * 64,
        4 * (3 * 160 + 768 + 48 + 256 + 16),
        640,
        num_head=4,
        need_weights=0,
    ),
    # the same, then 16 to 32 and back (bias 32 and 16, gelu 5 * 32), two skips 2 * 16, two norms 2 * 7 * 16
    case(
        A + "_transformer_encoder_layer_fwd",
        "2,5,16 48,16 48 16,16 16 16 16 16 16 32,16 32 16,32 16 -> 2,5,16",
        2 * 10 * 4 * 256 + 200 * 16 + 2 * 10 * 2 * 512,
        6 * 200 + 10 * 64 + 10 * (32 + 16 + 160 + 32 + 224),
        4 * (160 + 768 + 48 + 256 + 16 + 64 + 512 + 32 + 512 + 16),
        640,
        num_heads=4,
        use_gelu=1,
    ),
    case(A + "_fused_sdp_choice", f"{BY_HEADS} -> ", 0, 0, 0, 0),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


def test_sizes_are_those_of_the_onnx_rule() -> None:
    ours = op_of(SDPA, "2,32,5,16 2,8,7,16 2,8,7,16 -> 2,32,5,16")
    onnx = op_of("Attention", "2,32,5,16 2,8,7,16 2,8,7,16 -> 2,32,5,16")
    assert work_of(ours).sizes == work_of(onnx).sizes
    sizes = {"b": 64, "q": 5, "kv": 7, "d": 16, "dv": 16, "b_kv": 16, "batch": 2}
    assert dict(work_of(ours).sizes) == sizes


def test_a_causal_mask_is_a_size_and_reduces_no_flops() -> None:
    whole = work_of(op_of(SDPA, "2,32,5,16 2,8,7,16 2,8,7,16 -> 2,32,5,16"))
    causal = work_of(op_of(SDPA, "2,32,5,16 2,8,7,16 2,8,7,16 -> 2,32,5,16", is_causal=1))
    assert dict(causal.sizes) == {**dict(whole.sizes), "causal": 1}
    assert causal.matmul_flops == whole.matmul_flops


def test_packed_sequences_of_unknown_length_are_refused() -> None:
    with pytest.raises(ValueError, match="max_k"):
        work_of(op_of(A + "_flash_attention_forward", "9,8,16 9,8,16 9,8,16 i32:4 i32:4 -> 9,8,16"))


def test_the_longest_of_packed_sequences_may_be_a_name() -> None:
    op = op_of(
        A + "_flash_attention_forward", "t,8,16 t,8,16 t,8,16 i32:4 i32:4 -> t,8,16", max_k="s + 1"
    )
    # 8 heads of 16 + 16, for each of t queries and s + 1 keys
    assert formula("512*t*(s + 1)") - work_of(op).matmul_flops == 0
