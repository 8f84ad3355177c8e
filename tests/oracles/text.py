"""Multiply-accumulates of text models, derived by hand from papers and configs; `c` holds a config's sizes.

Counted as in tests/oracles/macs.py: matrix products and convolutions, y[m, n] = x[m, k] w[k, n] at m*n*k, attention
scores as the whole square (masks come after the product, causal and sliding ones too). Nothing here uses energy_opt,
torch or transformers. Lookups (embeddings, T5's relative positions) and rotary embeddings, which transformers works out
elementwise, multiply no matrices.

  attention core   scores q.k take n*m*(heads * head width), the weighted sum of values as much; n queries, m keys
"""

from __future__ import annotations

from typing import Any


def encoder_layers(tokens: int, pairs: int, layers: int, d: int, ffn: int) -> int:
    """MACs of plain transformer layers; `pairs` is queries times keys, summed over sequences."""
    projections = 4 * tokens * d * d  # q, k, v, o
    core = 2 * pairs * d
    feed_forward = 2 * tokens * d * ffn  # in and out
    return layers * (projections + core + feed_forward)


def bert(c: Any, batch: int, seq: int) -> int:
    """MACs of BERT with its pooler (Devlin et al. 2019, section 3); RoBERTa is the same (Liu et al. 2019)."""
    d = c.hidden_size
    body = encoder_layers(
        batch * seq, batch * seq * seq, c.num_hidden_layers, d, c.intermediate_size
    )
    return body + batch * d * d  # the pooler sees the first token only


def distilbert(c: Any, batch: int, seq: int) -> int:
    """MACs of DistilBERT (Sanh et al. 2019): BERT with half the layers and no pooler."""
    return encoder_layers(batch * seq, batch * seq * seq, c.n_layers, c.dim, c.hidden_dim)


def gpt(c: Any, batch: int, seq: int) -> int:
    """MACs of GPT and GPT-2 with logits for every position (Radford et al. 2018 and 2019)."""
    d, tokens = c.n_embd, batch * seq
    body = encoder_layers(tokens, batch * seq * seq, c.n_layer, d, 4 * d)  # c_attn is q, k and v
    return body + tokens * d * c.vocab_size


def grouped_attention(c: Any, batch: int, seq: int) -> int:
    """MACs of one layer's attention with key-value heads shared by groups (Ainslie et al. 2023)."""
    d, tokens = c.hidden_size, batch * seq
    width = getattr(c, "head_dim", None) or d // c.num_attention_heads
    queries = c.num_attention_heads * width  # Gemma 7B: 16 heads of 256 are wider than d
    keys = c.num_key_value_heads * width
    projections = tokens * d * (queries + keys + keys + queries)  # q, k, v, o
    core = 2 * batch * seq * seq * queries  # keys are shared by a group, work is not
    return projections + core


def decoder(c: Any, batch: int, seq: int) -> int:
    """MACs of Llama with logits for every position (Touvron et al. 2023), and of those shaped like it.

    Mistral (its sliding window masks the same square), Gemma, Qwen2 (biases, no products), Qwen3 (norms on q and k).
    """
    d, tokens = c.hidden_size, batch * seq
    feed_forward = 3 * tokens * d * c.intermediate_size  # gate, up, down
    layer = grouped_attention(c, batch, seq) + feed_forward
    return c.num_hidden_layers * layer + tokens * d * c.vocab_size


def mamba(c: Any, batch: int, seq: int) -> int:
    """MACs of Mamba with logits for every position (Gu & Dao 2023, figure 3 and algorithm 2).

    The recurrence h = dA h + dB x is elementwise; the readout y = C h of every step is a product of the state.
    """
    d, inner, rank, state = c.hidden_size, c.intermediate_size, c.time_step_rank, c.state_size
    tokens = batch * seq
    # Depthwise; causal by padding k - 1 on both sides and cutting the tail, which was computed: seq + k - 1 outputs.
    convolution = batch * (seq + c.conv_kernel - 1) * inner * c.conv_kernel
    layer = (
        tokens * d * 2 * inner  # in_proj: x and the gate
        + convolution
        + tokens * inner * (rank + 2 * state)  # x_proj: the time step's low rank, B, C
        + tokens * rank * inner  # dt_proj
        + tokens * inner * state  # C h
        + tokens * inner * d  # out_proj
    )
    return c.num_hidden_layers * layer + tokens * d * c.vocab_size


def t5(c: Any, batch: int, seq: int, decoder_seq: int) -> int:
    """MACs of T5 with logits (Raffel et al. 2020, section 2.1; v1.1 gates its feed-forward layers)."""
    d, inner = c.d_model, c.num_heads * c.d_kv  # T5 11B: 128 heads of 128 are 16 times as wide as d
    matrices = 3 if c.feed_forward_proj.startswith("gated") else 2
    source, target = batch * seq, batch * decoder_seq
    encoder = (
        4 * source * d * inner + 2 * batch * seq * seq * inner + matrices * source * d * c.d_ff
    )
    self_attention = 4 * target * d * inner + 2 * batch * decoder_seq * decoder_seq * inner
    # q and o on the target, k and v on the source
    cross_attention = (
        2 * target * d * inner + 2 * source * d * inner + 2 * batch * decoder_seq * seq * inner
    )
    decoder_layer = self_attention + cross_attention + matrices * target * d * c.d_ff
    return c.num_layers * encoder + c.num_decoder_layers * decoder_layer + target * d * c.vocab_size


def cross_layers(batch: int, source: int, target: int, layers: int, d: int, ffn: int) -> int:
    """MACs of decoder layers that attend to themselves and to `source` positions; per-sequence sizes."""
    itself = encoder_layers(batch * target, batch * target * target, layers, d, ffn)
    projections = 2 * target * d * d + 2 * source * d * d  # q and o; k and v
    return itself + layers * batch * (projections + 2 * target * source * d)


def bart(c: Any, batch: int, seq: int, decoder_seq: int) -> int:
    """MACs of BART with logits (Lewis et al. 2020: 12 + 12 layers for large)."""
    d = c.d_model
    encoder = encoder_layers(batch * seq, batch * seq * seq, c.encoder_layers, d, c.encoder_ffn_dim)
    layers = cross_layers(batch, seq, decoder_seq, c.decoder_layers, d, c.decoder_ffn_dim)
    return encoder + layers + batch * decoder_seq * d * c.vocab_size
