"""Ops of ONNX Runtime and rarer ones: one row for every rule that the other tables leave out."""

from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case

MS = "com.microsoft::"
NHWC = "com.ms.internal.nhwc::"
NCHWC = "com.microsoft.nchwc::"
ML = "ai.onnx.ml::"

CASES = [
    # 3 products of [4, 16] by [16, 16] and 2 of 2 heads; after each projection a bias and 4 to requantise, scores
    # are scaled, softmaxed and requantised (10), values requantised
    case(
        MS + "QOrderedAttention",
        "i8:1,4,16 () () () () i8:16,16 i8:16,16 i8:16,16 () () () 16 16 16 () () () -> i8:1,4,16",
        2 * 4 * 16 * 48 + 2 * 2 * 16 * 16,
        10 * 32 + 5 * 192 + 4 * 64,
        64 + 768 + 10 * 4 + 3 * 64,
        64,
        num_heads=2,
    ),
    # as Longformer: projections, 8 keys of a window for each query; bias and requantise 5 per projected, 4 per result
    case(
        MS + "QOrderedLongformerAttention",
        "i8:1,32,16 () i8:16,48 () 48 () () 1,32 i8:16,48 -> i8:1,32,16",
        4 * 32 * 768 + 2 * 2 * 32 * 8 * 16,
        7 * 512 + 5 * 32 * 96 + 4 * 512,
        512 + 768 * 2 + 16 + 192 + 128,
        512,
        num_heads=2,
        window=4,
    ),
    # each of 6 tokens meets 5 selected keys of 2 sequences
    case(
        MS + "SparsePagedAttention",
        "6,16 6,16 6,16 10,4,2,8 10,4,2,8 i32:3 i32:2 i32:2,3 - i32:6,5 -> 6,16 10,4,2,8 10,4,2,8",
        2 * 2 * 30 * 16,
        6 * 60,
        3 * 384 + 2 * 2 * 5 * 64,
        384 + 2 * 384,
        num_heads=2,
        kv_num_heads=2,
    ),
    # 4 queries meet 5 selected keys and 3 of the window; 8 rows of either cache are read, 4 written
    case(
        MS + "DynamicSparseAttention",
        "1,4,16 1,4,16 1,4,16 1,2,64,8 1,2,64,8 - - i32:4,5 -> 1,4,16 1,2,64,8 1,2,64,8",
        2 * 2 * 4 * 8 * 16,
        6 * 64,
        3 * 256 + 80 + 2 * 512,
        256 + 2 * 256,
        num_heads=2,
        kv_num_heads=2,
        attention_mode="local_plus_selected",
        local_window_size=3,
    ),
    # 4 queries of 2 heads score 6 pooled keys: ReLU and sum per score; norm 4 and rotation 3 per query element
    case(
        MS + "SparseAttentionIndexer",
        "1,4,16 1,4,8 8 8 9,4 9,4 -> i32:1,4,5 1,12,8",
        2 * 8 * 6 * 8,
        2 * 48 + 7 * 64,
        4 * (64 + 32 + 16 + 72),
        80 + 384,
        compress_ratio=2,
    ),
    case(MS + "MurmurHash3", "i32:6 -> i32:6", 0, 66, 24, 24),
    case("DisentangledAttention_TRT", "1,4,4 1,4,4 1,4,4 -> 1,4,4", 0, 48, 192, 64),
    # sine and cosine of 20 angles; 3 per element of both results
    case(
        MS + "GemmaRotaryEmbedding",
        "1,5,4 1,2,5,4 1,2,5,4 1,2,5,4 1,2,5,4 -> 1,2,5,4 1,2,5,4",
        0,
        40 + 240,
        720,
        320,
    ),
    # 16 pairs of positions, 5 each; the table of 32 buckets
    case(MS + "RelativePositionBias", "32,2 i64:1 i64:1 -> 1,2,4,4", 0, 80, 256, 128),
    # windows of 3 over 10 tokens: product and exclusive-or each; a modulo per hash
    case(
        MS + "NGramHashMapping",
        "i64:2,5 i64:3 i64:4 -> i64:2,5,4",
        0,
        60 + 40,
        80 + 24 + 32,
        320,
        max_ngram_size=3,
    ),
    case(MS + "NGramRepeatBlock", "i64:2,5 2,100 -> 2,100", 0, 30, 880, 800, ngram_size=3),
    case(
        MS + "BifurcationDetector",
        "i64:9 i64:4 i64:() -> i64:p i64:()",
        0,
        27,
        72 + 32 + 8,
        "8*p + 8",
    ),
    # each of 72 inputs meets 32 weights; the bias comes after the pads
    case(
        MS + "ConvTransposeWithDynamicPads",
        "2,4,3,3 4,8,2,2 i64:4 8 -> 2,8,6,6",
        4608,
        576,
        4 * (72 + 128 + 8) + 32,
        2304,
    ),
    case(
        NHWC + "QLinearConvTranspose",
        "u8:2,3,3,4 () u8:() i8:4,8,2,2 () i8:() () u8:() -> u8:2,6,6,8",
        4608,
        4 * 576,
        72 + 128 + 12 + 3,
        576,
    ),
    case(MS + "UnfoldTensor", "10 -> 4,4", 0, 0, 40, 64, dim=0, size=4, step=2),
    case(NCHWC + "ReorderInput", "1,8,4,4 -> 1,8,4,4", 0, 0, 512, 512),
    case(ML + "LabelEncoder", "i64:6 -> 6", 0, 6, 48, 24),
    case(ML + "OneHotEncoder", "i64:6 -> 6,3", 0, 18, 48, 72),
    # 48 FLOPs of the product, a scale and the bias for 8 results
    case(MS + "GemmFloat8", "2,3 3,4 4 -> 2,4", 48, 16, 88, 32),
    case(MS + "QOrderedMatMul", "i8:2,3 () i8:3,4 () () 4 -> i8:2,4", 48, 40, 6 + 12 + 12 + 16, 8),
    # packed weights of [4, 6]: dequantised 2 * 24
    case(MS + "MatMulFpQ4", "2,6 u8:20 i64:2 -> 2,4", 96, 48, 48 + 20 + 16, 32),
    case(
        MS + "MatMulBlockQuantizedFp4Weight",
        "2,6 u8:4,3 4 () () 4 -> 2,4",
        96,
        56,
        48 + 12 + 16 + 8 + 16,
        32,
        block_size=6,
    ),
    case(
        MS + "MatMulBlockQuantizedFp8Weight",
        "2,6 u8:4,6 4 -> 2,4",
        96,
        48,
        48 + 24 + 16,
        32,
        block_size=6,
    ),
    # 5 rows of 6 by [4 + 2 + 2, 6]: skip 1 and norm 4 per element, a bias for q
    case(
        MS + "MatMulNBitsQkv",
        "5,6 5,6 6 u8:4,1,3 4 4 u8:2,1,3 2 - u8:2,1,3 2 - -> 5,4 5,2 5,2",
        2 * 5 * 8 * 6,
        2 * 48 + 20 + 150,
        120 + 120 + 24 + 24 + 32 + 16,
        160,
        K=6,
        Nq=4,
        Nkv=2,
    ),
    case("Trilu", "4,4 -> 4,4", 0, 0, 64, 64),
    case(MS + "BiasSoftmax", "2,8 2,8 -> 2,8", 0, 96, 128, 64),
    # dequantise 2, softmax 5, quantise 4
    case(MS + "QLinearSoftmax", "u8:2,8 () u8:() () u8:() -> u8:2,8", 0, 176, 16 + 10, 16),
    # sum, subtract, square, sum, divide
    case("MeanVarianceNormalization", "1,2,3,3 -> 1,2,3,3", 0, 90, 72, 72),
    case(MS + "BranchwiseRMSNorm", "1,2,8 2,8 -> 1,2,8", 0, 64, 128, 64),
    # scale of the input, 7, quantise 4
    case(
        MS + "QOrderedLayerNormalization", "i8:2,8 () 8 8 () -> i8:2,8", 0, 12 * 16, 16 + 64 + 8, 16
    ),
    # norm 4, silu 5, product
    case(MS + "GatedRMSNorm", "2,8 8 2,8 -> 2,8", 0, 160, 160, 64),
    # 3 rows of 4 bytes for 10 tokens, dequantised (2) and added; norm 7; two ids of 4 bytes
    case(
        MS + "QEmbedLayerNormalization",
        "i32:2,5 i32:2,5 u8:99,4 u8:50,4 u8:2,4 u8:4 u8:4 -> 2,5,4",
        0,
        40 * (6 + 2 + 7),
        120 + 80,
        160,
    ),
    # key and query: norm 4 and 1 of the dot product; gate 1; the normed output 4 more
    case(
        MS + "EngramGate",
        "1,2,3,4 1,2,3,4 1,2,4 3,4 3,4 -> 1,2,3,4",
        0,
        10 * 24 + 24,
        96 * 2 + 32 + 96,
        96,
    ),
    case(
        MS + "EngramGate",
        "1,2,3,4 1,2,3,4 1,2,4 3,4 3,4 3,4 -> 1,2,3,4 1,2,3,4",
        0,
        240 + 5 * 24,
        96 * 2 + 32 + 144,
        192,
    ),
    case(NCHWC + "MaxPool", "1,8,4,4 -> 1,8,2,2", 0, 128, 512, 128, kernel_shape=[2, 2]),
    case(NCHWC + "GlobalAveragePool", "1,8,4,4 -> 1,8,1,1", 0, 128, 512, 32),
    case(NHWC + "AveragePool", "1,4,4,8 -> 1,2,2,8", 0, 128, 512, 128, kernel_shape=[2, 2]),
    case(NHWC + "GlobalMaxPool", "1,4,4,8 -> 1,1,1,8", 0, 128, 512, 32),
    case(
        MS + "MaxpoolWithMask",
        "1,8,4,4 i32:1,8,4,4 -> 1,8,2,2",
        0,
        256,
        1024,
        128,
        kernel_shape=[2, 2],
    ),
    case("GlobalLpPool", "1,8,4,4 -> 1,8,1,1", 0, 264, 512, 32),
    # kernel of 4, requantise 4 per result
    case(
        MS + "QLinearAveragePool",
        "u8:1,8,4,4 () u8:() () u8:() -> u8:1,8,2,2",
        0,
        256,
        138,
        32,
        kernel_shape=[2, 2],
    ),
    case(
        MS + "QLinearGlobalAveragePool",
        "u8:1,8,4,4 () u8:() () u8:() -> u8:1,8,1,1",
        0,
        160,
        138,
        8,
    ),
    case("MaxRoiPool", "1,8,4,4 3,5 -> 3,8,2,2", 0, 96, 512 + 60, 384),
    case(MS + "QuantizeWithOrder", "2,3 () -> i8:2,3", 0, 18, 28, 6),
    case(MS + "DequantizeWithOrder", "i8:2,3 () -> 2,3", 0, 6, 10, 24),
    case(MS + "DequantizeBFP", "u8:12 i64:2 i64:2 -> 2,3", 0, 6, 44, 24),
    # dequantise 2, select 1, quantise 4
    case(
        MS + "QLinearWhere",
        "bool:2,3 u8:2,3 () u8:() u8:2,3 () u8:() () u8:() -> u8:2,3",
        0,
        42,
        6 + 12 + 15,
        6,
    ),
    case(MS + "QLinearLeakyRelu", "u8:2,3 () u8:() () u8:() -> u8:2,3", 0, 48, 16, 6),
    # scale, gelu 5, divide, round, saturate
    case(MS + "QOrderedGelu", "i8:2,3 () () -> i8:2,3", 0, 54, 14, 6),
    case(
        MS + "QLinearConcat",
        "() u8:() u8:2,3 () u8:() u8:2,1 () u8:() -> u8:2,4",
        0,
        48,
        4 + 1 + 6 + 5 + 2 + 5,
        8,
    ),
    case(MS + "QuantizeBFP", "2,3 -> u8:12 i64:2 i64:2", 0, 24, 24, 44),
    case("Bernoulli", "2,3 -> 2,3", 0, 6, 24, 24),
    # bias and residual; in training compare, scale, multiply
    case(MS + "BiasDropout", "2,3 3 2,3 -> 2,3 bool:2,3", 0, 12, 60, 30),
    case(MS + "BiasDropout", "2,3 3 2,3 () bool:()=1 -> 2,3 bool:2,3", 0, 30, 65, 30),
    case(MS + "IsAllFinite", "2,3 -> bool:()", 0, 6, 24, 1),
    case("ReduceLogSum", "2,3 -> 2", 0, 8, 24, 8),
    # 6 sums, then divide and requantise for 2 results
    case(MS + "QLinearReduceMean", "u8:2,3 () u8:() () u8:() -> u8:2", 0, 16, 6, 2),
    case(MS + "DynamicTimeWarping", "4,5 -> i32:2,p", 0, 80, 80, "8*p"),
    # 14 rows of [3 + 5] by 20 gates; inputs quantised 6 * 8 per row; 18 + 4 * (2 sums, 1 scale) + 8 biases per unit
    case(
        MS + "DynamicQuantizeLSTM",
        "7,2,3 i8:1,3,20 i8:1,5,20 1,40 -> 7,1,2,5",
        2 * 14 * 160,
        14 * 48 + 70 * 38,
        168 + 60 + 100 + 160,
        280,
    ),
    # the LSTM, then per row: query 5x6, 4 scores of 6 and their context of 3, attention layer of 8x5; memory layer
    # 2*4*3*6 once; tanh and sum (12) and softmax (5) per score
    case(
        MS + "AttnLSTM",
        "7,2,3 1,20,3 1,20,5 1,40 - - - - 1,5,6 1,3,6 1,6 2,4,3 - 1,8,5 -> 7,1,2,5",
        2 * 14 * 160 + 2 * 14 * (30 + 4 * 9 + 40) + 2 * 2 * 4 * 3 * 6,
        30 * 70 + 14 * 4 * 17,
        4 * (42 + 60 + 100 + 40 + 30 + 18 + 6 + 24 + 40),
        280,
    ),
    # 5 tokens, 2 heads of 4x8: correction, outer product, read-out; decay, correction 2 and scale per value
    case(
        MS + "GatedDeltaNet",
        "5,2,4 5,2,4 5,2,8 - 5,2 5,2 1,2,8,4 -> 5,2,8 1,2,8,4",
        2 * 5 * 32 * 6,
        5 * (64 + 8 * 6),
        4 * (40 + 40 + 80 + 10 + 10 + 64),
        4 * (80 + 64),
    ),
    # packed rows of 2*2*4 + 2*8
    case(
        MS + "GatedDeltaNet",
        "5,32 - - - - - 1,2,8,4 -> 5,2,8 1,2,8,4",
        1920,
        560,
        4 * (160 + 64),
        576,
    ),
    case("BlackmanWindow", "i64:() -> 16", 0, 112, 8, 64),
    case("MelWeightMatrix", "i64:() i64:() i64:() () () -> 9,8", 0, 288, 32, 288),
    # half of 5 * 16 * 4, 3 times
    case(MS + "Rfft", "3,16 -> 3,9,2", 0, 480, 192, 216),
    case(MS + "Irfft", "3,9,2 -> 3,16", 0, 480, 216, 192),
    case("Unique", "8 -> p", 0, 24, 32, "4*p"),
    # 2 classes of 8 boxes: 16 * 3 comparisons, 12 per overlap
    case("EfficientNMS_TRT", "1,8,4 1,8,2 -> i32:1,1", 0, 48 + 192, 192, 4),
    case(ML + "ZipMap", "2,3 -> ?", 0, 0, 24, 24),
    case(ML + "DictVectorizer", "? -> 1,3", 0, 0, 12, 12),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()
