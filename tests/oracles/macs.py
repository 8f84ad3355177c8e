"""Multiply-accumulates of well-known architectures, derived by hand from their papers and configs.

Counted: matrix products only (linear layers, convolutions, attention scores and attention-weighted
sums), each y[m, n] = x[m, k] w[k, n] at m*n*k. Attention scores are counted as the whole square:
the exported graphs compute it and mask afterwards, causal or not. Nothing here uses energy_opt.

The two building blocks, for `d` model width, `n` query tokens, `m` key tokens of one sequence:
  attention core   scores q.k (n*m*d over all heads together) + weights.v (n*m*d) = 2*n*m*d
  projections      q and o act on queries (2*n*d*d), k and v on keys (2*m*d*d)
"""

from __future__ import annotations


def bert_base(batch: int, seq: int) -> int:
    """MACs of BERT base with its pooler (Devlin et al. 2019: L=12, H=768, A=12, FFN 4H)."""
    d, ffn, layers = 768, 3072, 12
    tokens = batch * seq
    projections = 4 * tokens * d * d  # q, k, v, o
    core = 2 * batch * seq * seq * d
    feed_forward = 2 * tokens * d * ffn  # in and out
    pooler = batch * d * d  # the first token only
    return layers * (projections + core + feed_forward) + pooler


def distilbert(batch: int, seq: int) -> int:
    """MACs of DistilBERT (Sanh et al. 2019): BERT base with six layers and no pooler."""
    d, ffn, layers = 768, 3072, 6
    tokens = batch * seq
    return layers * (4 * tokens * d * d + 2 * batch * seq * seq * d + 2 * tokens * d * ffn)


def gpt2(batch: int, seq: int) -> int:
    """MACs of GPT-2 small with logits for every position (Radford et al. 2019, 124M)."""
    d, layers, vocabulary = 768, 12, 50257
    tokens = batch * seq
    # c_attn d -> 3d and c_proj d -> d make 4; the MLP d -> 4d -> d makes 8
    layer = 12 * tokens * d * d + 2 * batch * seq * seq * d
    return layers * layer + tokens * d * vocabulary


def vit_b16(batch: int) -> int:
    """MACs of ViT-B/16 at 224 x 224 with its classifier (Dosovitskiy et al. 2021, table 1)."""
    d, ffn, layers, classes = 768, 3072, 12, 1000
    patches = (224 // 16) ** 2  # 196
    tokens = patches + 1  # and the class token: 197
    embedding = patches * d * (3 * 16 * 16)  # a 16x16 convolution with stride 16
    layer = 4 * tokens * d * d + 2 * tokens * tokens * d + 2 * tokens * d * ffn
    return batch * (embedding + layers * layer + d * classes)  # the classifier sees one token


def resnet50(batch: int) -> int:
    """MACs of ResNet-50 v1.5 at 224 x 224 (He et al. 2016, table 1; stride on the 3x3).

    By hand, per image: stem 118,013,952; stages 667,942,912 + 1,027,604,480 + 1,464,336,384 +
    809,238,528; classifier 2,048,000; together 4,089,184,256.
    """
    stem = 112 * 112 * 64 * (3 * 7 * 7)  # 7x7, stride 2: 224 -> 112; the max pool halves again
    total = stem
    width_in = 64
    for blocks, width, size in ((3, 64, 56), (4, 128, 28), (6, 256, 14), (3, 512, 7)):
        out, area = 4 * width, size * size
        # the first block's 1x1 still runs at the incoming size: 2 * size, but 56 in the first stage
        area_in = area if width == 64 else 4 * area
        first = area_in * width_in * width + area * 9 * width * width + area * width * out
        shortcut = area * width_in * out
        other = area * out * width + area * 9 * width * width + area * width * out
        total += first + shortcut + (blocks - 1) * other
        width_in = out
    return batch * (total + 2048 * 1000)


def t5_small(batch: int, seq: int, decoder_seq: int) -> int:
    """MACs of T5 small with logits (Raffel et al. 2020: d 512, 8 heads of 64, FFN 2048, 6 + 6)."""
    d, ffn, layers, vocabulary = 512, 2048, 6, 32128
    source, target = batch * seq, batch * decoder_seq
    # heads * head width = 8 * 64 = 512 = d, so the projections are square
    encoder = 4 * source * d * d + 2 * batch * seq * seq * d + 2 * source * d * ffn
    self_attention = 4 * target * d * d + 2 * batch * decoder_seq * decoder_seq * d
    cross_attention = 2 * target * d * d + 2 * source * d * d + 2 * batch * decoder_seq * seq * d
    decoder = self_attention + cross_attention + 2 * target * d * ffn
    return layers * (encoder + decoder) + target * d * vocabulary


def whisper_tiny(batch: int, decoder_seq: int) -> int:
    """MACs of Whisper tiny over 30 s with logits (Radford et al. 2022: d 384, 6 heads, 4 + 4)."""
    d, ffn, layers, vocabulary, mels = 384, 1536, 4, 51865, 80
    frames = 3000  # of 10 ms; the second convolution halves them
    positions = frames // 2
    convolutions = frames * d * (mels * 3) + positions * d * (d * 3)
    encoder = 4 * positions * d * d + 2 * positions * positions * d + 2 * positions * d * ffn
    t = decoder_seq
    self_attention = 4 * t * d * d + 2 * t * t * d
    cross_attention = 2 * t * d * d + 2 * positions * d * d + 2 * t * positions * d
    decoder = self_attention + cross_attention + 2 * t * d * ffn
    return batch * (convolutions + layers * (encoder + decoder) + t * d * vocabulary)


def llama_1b(batch: int, seq: int) -> int:
    """MACs of Llama 3.2 1B with logits for every position (its published config.json)."""
    d, ffn, layers, vocabulary = 2048, 8192, 16, 128256
    keys = 8 * 64  # 8 key-value heads of 64; 32 query heads of 64 fill d
    tokens = batch * seq
    projections = tokens * d * (d + keys + keys + d)
    core = 2 * batch * seq * seq * d  # keys are shared by four query heads, work is not
    feed_forward = 3 * tokens * d * ffn  # gate, up, down
    return layers * (projections + core + feed_forward) + tokens * d * vocabulary


def mixtral(batch: int, seq: int, layers: int = 2) -> int:
    """MACs of Mixtral 8x7B cut to `layers` (Jiang et al. 2024, table 1): active experts, 2 of 8."""
    d, ffn, experts, active, vocabulary = 4096, 14336, 8, 2, 32000
    keys = 8 * 128  # 8 key-value heads of 128; 32 query heads of 128 fill d
    tokens = batch * seq
    projections = tokens * d * (d + keys + keys + d)
    core = 2 * batch * seq * seq * d
    router = tokens * d * experts
    feed_forward = active * 3 * tokens * d * ffn  # gate, up, down of each chosen expert
    return layers * (projections + core + router + feed_forward) + tokens * d * vocabulary
