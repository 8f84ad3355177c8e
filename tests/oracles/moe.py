"""Multiply-accumulates of mixtures of experts, derived by hand; conventions as in tests/oracles/text.py."""

from __future__ import annotations

from typing import Any

from tests.oracles.text import grouped_attention


def mixtral(c: Any, batch: int, seq: int) -> int:
    """MACs of Mixtral with logits for every position (Jiang et al. 2024): the chosen experts only."""
    d, tokens = c.hidden_size, batch * seq
    router = tokens * d * c.num_local_experts
    experts = c.num_experts_per_tok * 3 * tokens * d * c.intermediate_size  # gate, up, down
    layer = grouped_attention(c, batch, seq) + router + experts
    return c.num_hidden_layers * layer + tokens * d * c.vocab_size


def latent_attention(c: Any, batch: int, seq: int) -> int:
    """MACs of one layer of DeepSeek's latent attention (DeepSeek-V2 2024, section 2.1; V3 alike).

    Keys and values are unfolded from their latent before attention, as in training and prefill.
    """
    d, heads, tokens = c.hidden_size, c.num_attention_heads, batch * seq
    query_key = c.qk_nope_head_dim + c.qk_rope_head_dim  # 128 that carry content and 64 that rotate
    queries = tokens * (d * c.q_lora_rank + c.q_lora_rank * heads * query_key)  # down, up
    # Down to the latent, with one rotary key for all heads beside it; up to keys (no rope) and values.
    latent = tokens * d * (c.kv_lora_rank + c.qk_rope_head_dim)
    unfold = tokens * c.kv_lora_rank * heads * (c.qk_nope_head_dim + c.v_head_dim)
    core = batch * seq * seq * heads * (query_key + c.v_head_dim)  # scores; weighted sum
    return queries + latent + unfold + core + tokens * heads * c.v_head_dim * d  # and the output


def deepseek_v3(c: Any, batch: int, seq: int) -> int:
    """MACs of DeepSeek-V3 with logits for every position (2024, section 2.1 and table of section 4.2).

    The first layers are dense; the others have routed experts and shared ones of the same size. Without the module
    that predicts a second token ahead, which transformers leaves out of the forward pass.
    """
    d, tokens = c.hidden_size, batch * seq
    dense = 3 * tokens * d * c.intermediate_size  # gate, up, down
    router = tokens * d * c.n_routed_experts
    active = c.num_experts_per_tok + c.n_shared_experts
    mixture = router + active * 3 * tokens * d * c.moe_intermediate_size
    layers, first = c.num_hidden_layers, c.first_k_dense_replace
    attention = layers * latent_attention(c, batch, seq)
    return attention + first * dense + (layers - first) * mixture + tokens * d * c.vocab_size
