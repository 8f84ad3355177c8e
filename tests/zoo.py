"""The architectures that the PyTorch front-end is held to, as specs and settings; no weights and no network.

Full sizes are those of the published models where a config's own defaults are others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from energy_opt.frontend.huggingface import Prepared, load_config
from energy_opt.frontend.huggingface import prepare as _prepare
from energy_opt.frontend.huggingface.inputs import firm
from energy_opt.ir.graph import Graph


class Model(NamedTuple):
    spec: str
    full: Mapping[str, Any]
    small: Mapping[str, Any]


_ENCODER = {
    "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64,
    "vocab_size": 101,
}  # fmt: skip
_GPT = {"n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 101}
_DECODER = {**_ENCODER, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
_T5 = {"num_layers": 2, "d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 64, "vocab_size": 101}
_BART = {
    "encoder_layers": 2, "decoder_layers": 2, "d_model": 32, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
}  # fmt: skip
_MIXTURE = {**_DECODER, "num_local_experts": 4, "num_experts_per_tok": 2}
_LATENT = {
    **_ENCODER, "num_attention_heads": 4, "num_key_value_heads": 4, "moe_intermediate_size": 16,
    "first_k_dense_replace": 1, "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1,
    "kv_lora_rank": 16, "q_lora_rank": 24, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
}  # fmt: skip
_PATCHES = {
    "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
_STAGES = {"depths": [1, 2], "hidden_sizes": [16, 32]}

_MODELS: dict[str, Model] = {
    "bert": Model("hf:bert", {}, _ENCODER),
    "distilbert": Model(
        "hf:distilbert", {}, {"n_layers": 2, "dim": 32, "n_heads": 2, "hidden_dim": 64, "vocab_size": 101}
    ),
    "roberta": Model("hf:roberta", {"vocab_size": 50265, "max_position_embeddings": 514}, _ENCODER),
    "gpt2": Model("hf:gpt2", {}, _GPT),
    "openai-gpt": Model("hf:openai-gpt", {}, _GPT),
    "llama-1b": Model(
        "hf:llama",
        {
            "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256, "tie_word_embeddings": True,
            "max_position_embeddings": 131072,
        },
        {**_DECODER, "tie_word_embeddings": True},
    ),
    "llama-7b": Model("hf:llama", {}, {**_DECODER, "num_key_value_heads": 4}),
    "llama-70b": Model(
        "hf:llama",
        {
            "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
            "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
        },
        _DECODER,
    ),
    "mistral": Model("hf:mistral", {}, {**_DECODER, "sliding_window": 48}),
    "gemma": Model("hf:gemma", {}, {**_DECODER, "head_dim": 16}),
    "qwen2": Model(
        "hf:qwen2",
        {
            "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
            "num_key_value_heads": 4, "vocab_size": 152064,
        },
        {key: value for key, value in _DECODER.items() if key != "head_dim"},
    ),
    "qwen3": Model(
        "hf:qwen3",
        {"intermediate_size": 12288, "num_hidden_layers": 36, "num_key_value_heads": 8},
        {**_DECODER, "head_dim": 16},
    ),
    "mixtral": Model("hf:mixtral", {}, _MIXTURE),
    "deepseek_v3": Model("hf:deepseek_v3", {}, _LATENT),
    "mamba": Model(
        "hf:mamba", {"num_hidden_layers": 24}, {"num_hidden_layers": 2, "hidden_size": 32, "vocab_size": 101}
    ),
    "t5": Model(
        "hf:t5", {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12}, _T5
    ),
    "bart": Model("hf:bart", {}, {**_BART, "vocab_size": 101}),
    "whisper": Model("hf:whisper", {}, {**_BART, "max_source_positions": 60, "num_mel_bins": 16}),
    "vit": Model("hf:vit", {"num_labels": 1000}, _PATCHES),
    "swin": Model(
        "hf:swin",
        {"num_labels": 1000},
        {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
    ),
    "convnext": Model("hf:convnext", {"num_labels": 1000}, {**_STAGES, "num_stages": 2, "image_size": 64}),
    "resnet": Model("hf:resnet", {"num_labels": 1000}, {**_STAGES, "embedding_size": 16, "image_size": 32}),
    "clip": Model(
        "hf:clip",
        {},
        {
            "text_config": {**_ENCODER, "projection_dim": 32}, "vision_config": {**_PATCHES, "projection_dim": 32},
            "projection_dim": 32,
        },
    ),
    "detr": Model(
        "hf:detr",
        {"use_timm_backbone": False},
        {
            **_BART, "use_timm_backbone": False, "num_queries": 10, "image_size": 64,
            "backbone_config": {
                "model_type": "resnet", "depths": [1, 2], "hidden_sizes": [16, 32], "embedding_size": 16,
                "out_features": ["stage2"],
            },
        },
    ),
    "wav2vec2": Model(
        "hf:wav2vec2",
        {},
        {
            **_ENCODER, "conv_dim": [16, 16, 16], "conv_stride": [5, 4, 4], "conv_kernel": [10, 4, 4],
            "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
        },
    ),
}  # fmt: skip

NAMES = tuple(_MODELS)


def prepare(name: str, small: bool = True) -> Prepared:
    """The model on the meta device with inputs for it: of two layers and tiny widths, or as published.

    Sizes of images and sounds are fixed, since torch.export cannot leave all of them free.
    """
    model = _MODELS[name]
    made = _prepare(model.spec, model.small if small else model.full)
    return replace(made, dynamic=firm(made.dynamic))


def load(name: str, small: bool = True) -> Graph:
    """The graph of the model, every size free that can be."""
    model = _MODELS[name]
    return load_config(model.spec, model.small if small else model.full)
