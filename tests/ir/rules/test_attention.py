from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case, op_of, work_of

MS = "com.microsoft::"

CASES = [
    # per head and pair of positions: 2*64 for the score, 2*64 for the value; scale and softmax are 6 per score
    case(
        "Attention",
        "b,12,s,64 b,12,s,64 b,12,s,64 -> b,12,s,64",
        "3072*b*s**2",
        "72*b*s**2",
        "9216*b*s",
        "3072*b*s",
    ),
    # the same packed in 3-D
    case(
        "Attention",
        "b,s,768 b,s,768 b,s,768 -> b,s,768",
        "3072*b*s**2",
        "72*b*s**2",
        "9216*b*s",
        "3072*b*s",
        q_num_heads=12,
        kv_num_heads=12,
    ),
    # a mask adds 1; causality halves nothing
    case(
        "Attention",
        "2,12,8,64 2,12,8,64 2,12,8,64 8,8 -> 2,12,8,64",
        2 * 12 * 64 * 256,
        7 * 2 * 12 * 64,
        3 * 49152 + 256,
        49152,
        is_causal=1,
    ),
    # 8 query heads share 2 key heads; values are 16 wide; q 5, kv 7: 2*8*5*7*(32+16)
    case(
        "Attention",
        "1,5,256 1,7,64 1,7,32 -> 1,5,128",
        26880,
        6 * 280,
        4 * (1280 + 448 + 224),
        2560,
        q_num_heads=8,
        kv_num_heads=2,
    ),
    # a past of p keys: s + p are attended to, past read, present written
    case(
        "Attention",
        "b,8,s,64 b,2,s,64 b,2,s,64 - b,2,p,64 b,2,p,64 -> b,8,s,64 b,2,t,64 b,2,t,64",
        "2048*b*s*t",
        "48*b*s*t",
        "3072*b*s + 1024*b*p",
        "2048*b*s + 1024*b*t",
    ),
    # softcap: divide, tanh, multiply
    case("Attention", "1,1,4,8 1,1,4,8 1,1,4,8 -> 1,1,4,8", 512, 9 * 16, 384, 128, softcap=30.0),
    # a causal window: each query meets itself and 3 before it
    case(
        "Attention",
        "1,1,64,8 1,1,64,8 1,1,64,8 -> 1,1,64,8",
        2 * 64 * 4 * 16,
        6 * 256,
        6144,
        2048,
        left_window_size=3,
        is_causal=1,
    ),
    # bert's fused attention: projection 2*768*2304 and bias 2304 per token; a mask adds 1 per score
    case(
        MS + "Attention",
        "b,s,768 768,2304 2304 i32:b,s -> b,s,768",
        "3538944*b*s + 3072*b*s**2",
        "2304*b*s + 84*b*s**2",
        "3076*b*s + 7077888 + 9216",
        "3072*b*s",
        num_heads=12,
    ),
    # q, k of 16 and v of 32 over 2 heads: 2*20*10*64 + 2*2*2*100*(8+16)
    case(
        MS + "Attention",
        "2,10,32 32,64 64 -> 2,10,32",
        81920 + 2 * 2 * 2 * 100 * 24,
        1280 + 6 * 400,
        4 * (640 + 2048 + 64),
        2560,
        num_heads=2,
        qkv_hidden_sizes=[16, 16, 32],
    ),
    # past of 6 joins 4 new: 10 keys
    case(
        MS + "Attention",
        "1,4,16 16,48 48 - 2,1,2,6,8 -> 1,4,16 2,1,2,10,8",
        6144 + 2 * 2 * 40 * 16,
        192 + 480,
        4 * (64 + 768 + 48 + 192),
        4 * (64 + 320),
        num_heads=2,
    ),
    # three products of [h, h] and the scale of the integer product
    case(
        MS + "QAttention",
        "u8:1,4,16 i8:16,48 48 () () -> 1,4,16",
        6144 + 2 * 2 * 16 * 16,
        384 + 192,
        64 + 768 + 192 + 8,
        256,
        num_heads=2,
    ),
    # q, k, v apart, with their bias: 3 * 16 per token
    case(
        MS + "MultiHeadAttention",
        "b,s,16 b,t,16 b,t,16 48 -> b,s,16",
        "64*b*s*t",
        "12*b*s*t + 16*b*s + 32*b*t",
        "64*b*s + 128*b*t + 192",
        "64*b*s",
        num_heads=2,
    ),
    # packed [b, s, heads, 3, d]; keys and values packed; 4-D keys of a cross attention
    case(MS + "MultiHeadAttention", "1,5,2,3,8 -> 1,5,16", 1600, 300, 960, 320, num_heads=2),
    case(
        MS + "MultiHeadAttention",
        "1,5,16 1,7,2,2,8 -> 1,5,16",
        2240,
        420,
        320 + 896,
        320,
        num_heads=2,
    ),
    case(
        MS + "MultiHeadAttention",
        "1,5,16 1,2,7,8 1,2,7,8 -> 1,5,16",
        2240,
        420,
        320 + 896,
        320,
        num_heads=2,
    ),
    # one new token in a shared buffer of 32: all 32 rows are read, one is written to each
    case(
        MS + "DecoderMaskedMultiHeadAttention",
        "2,1,16 2,1,16 2,1,16 - - 2,2,32,8 2,2,32,8 -> 2,1,16 2,2,32,8 2,2,32,8",
        4096,
        768,
        3 * 128 + 2 * 4096,
        128 + 2 * 128,
        num_heads=2,
        past_present_share_buffer=1,
    ),
    # grouped queries, a new present of t keys
    case(
        MS + "GroupQueryAttention",
        "b,s,2048 b,s,512 b,s,512 b,8,p,64 b,8,p,64 i32:b i32:() -> b,s,2048 b,8,t,64 b,8,t,64",
        "8192*b*s*t",
        "192*b*s*t",
        "12288*b*s + 4096*b*p + 4*b + 4",
        "8192*b*s + 4096*b*t",
        num_heads=32,
        kv_num_heads=8,
    ),
    # a shared buffer of 1024: read whole, written for the new tokens only
    case(
        MS + "GroupQueryAttention",
        "b,1,2048 b,1,512 b,1,512 b,8,1024,64 b,8,1024,64 -> b,1,2048 b,8,1024,64 b,8,1024,64",
        "8388608*b",
        "196608*b",
        "12288*b + 4194304*b",
        "8192*b + 4096*b",
        num_heads=32,
        kv_num_heads=8,
    ),
    # packed q, k, v of (8 + 2*2) * 16; rotation is 3 per element of q and k; 5 rows of each table are read
    case(
        MS + "GroupQueryAttention",
        "1,5,192 - - - - - - 99,8 99,8 -> 1,5,128",
        2 * 8 * 25 * 32,
        1200 + 3 * 5 * 160,
        960 * 4 + 320,
        2560,
        num_heads=8,
        kv_num_heads=2,
        do_rotary=1,
    ),
    # a window of 16 in a buffer of 64: the token meets 16 keys; 17 rows can be touched
    case(
        MS + "GroupQueryAttention",
        "1,1,16 1,1,16 1,1,16 1,2,64,8 1,2,64,8 -> 1,1,16 1,2,64,8 1,2,64,8",
        2 * 2 * 16 * 16,
        6 * 32,
        192 + 2 * 1088,
        64 + 2 * 64,
        num_heads=2,
        kv_num_heads=2,
        local_window_size=16,
    ),
    # 20 tokens of sequences up to 8 long
    case(
        MS + "PackedAttention",
        "20,16 16,48 48 i32:4,8 i32:5 -> 20,16",
        2 * 20 * 768 + 2 * 2 * 160 * 16,
        960 + 1920,
        4 * (320 + 768 + 48 + 32 + 5),
        1280,
        num_heads=2,
    ),
    case(
        MS + "PackedMultiHeadAttention",
        "20,2,3,8 - - - i32:4,8 i32:5 -> 20,16",
        10240,
        1920,
        3840 + 148,
        1280,
        num_heads=2,
    ),
    # 3 non-zero blocks of 16 in 2 rows of blocks: 24 keys on average
    case(
        MS + "SparseAttention",
        "1,32,16 1,32,16 1,32,16 1,2,32,8 1,2,32,8 i32:1,3 i32:1,3 i32:() i32:1 -> 1,32,16 1,2,32,8 1,2,32,8",
        2 * 2 * 32 * 24 * 16,
        6 * 2 * 32 * 24,
        3 * 2048 + 2 * 2048 + 12 + 12 + 4 + 4,
        3 * 2048,
        num_heads=2,
        kv_num_heads=2,
        sparse_block_size=16,
    ),
    # 6 tokens of 2 sequences, each with 3 pages of 4 keys; 6 rows are written to either cache
    case(
        MS + "PagedAttention",
        "6,16 6,16 6,16 10,4,2,8 10,4,2,8 i32:3 i32:2 i32:2,3 -> 6,16 10,4,2,8 10,4,2,8",
        2 * 2 * 72 * 16,
        6 * 144,
        3 * 384 + 2 * 2 * 12 * 64,
        384 + 2 * 384,
        num_heads=2,
        kv_num_heads=2,
    ),
    # windows of 4 on either side and global projections
    case(
        MS + "LongformerAttention",
        "1,32,16 16,48 48 1,32 16,48 48 i32:1,32 -> 1,32,16",
        4 * 32 * 768 + 2 * 2 * 32 * 8 * 16,
        7 * 2 * 32 * 8 + 2 * 32 * 48,
        4 * (512 + 2 * 816 + 64),
        2048,
        num_heads=2,
        window=4,
    ),
    # [t, b, h] keys: 5 queries and 7 keys in 2 sequences; projections of 16 to 16 and to 32
    case(
        MS + "DecoderAttention",
        "5,2,16 7,2,16 16,16 16,32 48 -> 5,2,16",
        2 * 10 * 256 + 2 * 14 * 512 + 2 * 4 * 35 * 16,
        6 * 4 * 35 + 10 * 16 + 14 * 32,
        4 * (160 + 224 + 768 + 48),
        640,
        num_heads=2,
    ),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


def test_sizes() -> None:
    work = work_of(
        op_of(
            "Attention",
            "4,128,2048 4,256,512 4,256,512 -> 4,128,2048",
            q_num_heads=32,
            kv_num_heads=8,
        )
    )
    assert dict(work.sizes) == {
        "b": 128,
        "q": 128,
        "kv": 256,
        "d": 64,
        "dv": 64,
        "b_kv": 32,
        "batch": 4,
    }


def test_fused_attention_is_the_projection_and_the_attention() -> None:
    fused = work_of(op_of(MS + "Attention", "b,s,768 768,2304 2304 -> b,s,768", num_heads=12))
    parts = [
        op_of("MatMul", "b,s,768 768,2304 -> b,s,2304"),
        op_of("Add", "b,s,2304 2304 -> b,s,2304"),
        op_of("MatMul", "b,12,s,64 b,12,64,s -> b,12,s,s"),
        op_of("Div", "b,12,s,s () -> b,12,s,s"),
        op_of("Softmax", "b,12,s,s -> b,12,s,s"),
        op_of("MatMul", "b,12,s,s b,12,s,64 -> b,12,s,64"),
    ]
    apart = [work_of(op) for op in parts]
    assert fused.matmul_flops - sum(work.matmul_flops for work in apart) == 0
    assert fused.other_flops - sum(work.other_flops for work in apart) == 0
