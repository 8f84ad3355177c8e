"""The closed forms of tests/oracles against figures that others published, and against each other."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from tests.oracles import audio, macs, moe, text, vision


def sizes(**given: Any) -> SimpleNamespace:
    return SimpleNamespace(**given)


def shaped_like_llama(
    layers: int, d: int, ffn: int, heads: int, keys: int, width: int, vocabulary: int, **more: int
) -> SimpleNamespace:
    return sizes(
        num_hidden_layers=layers,
        hidden_size=d,
        intermediate_size=ffn,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        head_dim=width,
        vocab_size=vocabulary,
        **more,
    )


BERT = sizes(hidden_size=768, num_hidden_layers=12, intermediate_size=3072)
RESNET50 = sizes(
    num_channels=3, embedding_size=64, hidden_sizes=(256, 512, 1024, 2048), depths=(3, 4, 6, 3)
)
VIT = sizes(
    image_size=224,
    patch_size=16,
    num_channels=3,
    hidden_size=768,
    num_hidden_layers=12,
    intermediate_size=3072,
)
SWIN_TINY = sizes(
    image_size=224,
    patch_size=4,
    num_channels=3,
    embed_dim=96,
    depths=(2, 2, 6, 2),
    window_size=7,
    mlp_ratio=4.0,
)
CONVNEXT_TINY = sizes(
    patch_size=4, num_channels=3, hidden_sizes=(96, 192, 384, 768), depths=(3, 3, 9, 3)
)
T5_SMALL = sizes(
    d_model=512,
    d_kv=64,
    num_heads=8,
    d_ff=2048,
    num_layers=6,
    num_decoder_layers=6,
    vocab_size=32128,
    feed_forward_proj="relu",
)
WHISPER_TINY = sizes(
    d_model=384,
    max_source_positions=1500,
    num_mel_bins=80,
    encoder_layers=4,
    decoder_layers=4,
    encoder_ffn_dim=1536,
    decoder_ffn_dim=1536,
    vocab_size=51865,
)
MAMBA_130M = sizes(
    hidden_size=768,
    intermediate_size=1536,
    time_step_rank=48,
    state_size=16,
    conv_kernel=4,
    num_hidden_layers=24,
    vocab_size=50280,
)
MIXTRAL = shaped_like_llama(
    32, 4096, 14336, 32, 8, 128, 32000, num_local_experts=8, num_experts_per_tok=2
)
DEEPSEEK_V3 = sizes(
    hidden_size=7168,
    intermediate_size=18432,
    moe_intermediate_size=2048,
    num_hidden_layers=61,
    first_k_dense_replace=3,
    num_attention_heads=128,
    q_lora_rank=1536,
    kv_lora_rank=512,
    qk_nope_head_dim=128,
    qk_rope_head_dim=64,
    v_head_dim=128,
    n_routed_experts=256,
    n_shared_experts=1,
    num_experts_per_tok=8,
    vocab_size=129280,
)
WAV2VEC2_BASE = sizes(
    conv_dim=(512,) * 7,
    conv_kernel=(10, 3, 3, 3, 3, 2, 2),
    conv_stride=(5, 2, 2, 2, 2, 2, 2),
    hidden_size=768,
    num_conv_pos_embeddings=128,
    num_conv_pos_embedding_groups=16,
    num_hidden_layers=12,
    intermediate_size=3072,
)


class Published(NamedTuple):
    """A decoder whose parameters its authors counted; the elements of it that multiply nothing."""

    name: str
    sizes: SimpleNamespace
    parameters: int
    idle: int


# A token alone is multiplied once with every element of every matrix, and its core costs 2 * (heads * width) a layer.
# Idle are norms (two a layer, one at the end), biases, and the embedding where logits have a matrix of their own.
PUBLISHED = (
    Published(
        "llama-3.2-1b",
        shaped_like_llama(16, 2048, 8192, 32, 8, 64, 128256),
        1_235_814_400,  # tied
        33 * 2048,
    ),
    Published(
        "llama-2-7b",
        shaped_like_llama(32, 4096, 11008, 32, 32, 128, 32000),
        6_738_415_616,
        65 * 4096 + 32000 * 4096,
    ),
    Published(
        "llama-3-70b",
        shaped_like_llama(80, 8192, 28672, 64, 8, 128, 128256),
        70_553_706_496,
        161 * 8192 + 128256 * 8192,
    ),
    Published(
        "mistral-7b",
        shaped_like_llama(32, 4096, 14336, 32, 8, 128, 32000),
        7_241_732_096,
        65 * 4096 + 32000 * 4096,
    ),
    Published(
        "gemma-7b",
        shaped_like_llama(28, 3072, 24576, 16, 16, 256, 256000),
        8_537_680_896,  # tied
        57 * 3072,
    ),
    Published(
        "qwen2-0.5b",
        shaped_like_llama(24, 896, 4864, 14, 2, 64, 151936),
        494_032_768,  # tied; biases of q, k, v
        49 * 896 + 24 * (896 + 128 + 128),
    ),
    Published(
        "qwen3-8b",
        shaped_like_llama(36, 4096, 12288, 32, 8, 128, 151936),
        8_190_735_360,
        73 * 4096 + 36 * 2 * 128 + 151936 * 4096,  # q and k of a head have norms too
    ),
)


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case.name)
def test_one_token_meets_every_matrix_of_a_decoder_once(case: Published) -> None:
    c = case.sizes
    core = c.num_hidden_layers * 2 * c.num_attention_heads * c.head_dim
    assert text.decoder(c, 1, 1) - core == case.parameters - case.idle


def test_one_token_meets_a_quarter_of_the_experts_of_mixtral() -> None:
    # 46,702,792,704 parameters; 6 of 8 experts, norms and the embedding stay idle; the core is 2 * 4096 a layer.
    idle = 32 * 6 * 3 * 4096 * 14336 + 65 * 4096 + 32000 * 4096
    assert moe.mixtral(MIXTRAL, 1, 1) - 32 * 8192 == 46_702_792_704 - idle


def test_deepseek_v3_activates_37_billion_parameters_a_token() -> None:
    # The report's 37B count the embedding (0.93B) as well; the core of one token is 128 * 320 a layer.
    active = moe.deepseek_v3(DEEPSEEK_V3, 1, 1) - 61 * 128 * 320 + 129280 * 7168
    assert active == pytest.approx(37e9, rel=0.02)
    # 58 layers with 8 + 1 of 257 experts: all of them would be the 671B of the report.
    everything = active + 58 * 248 * 3 * 7168 * 2048
    assert everything == pytest.approx(671e9, rel=0.001)


def test_one_token_meets_every_matrix_of_mamba_once() -> None:
    # mamba-130m has 129,135,360 parameters (logits tied). Idle a layer: biases of the convolution and the time step,
    # D, one norm. A, 1536 * 16, is applied elementwise; the readout C h is as many products. The convolution gives
    # four outputs where one is kept.
    idle = 24 * (3 * 1536 + 768) + 768
    assert text.mamba(MAMBA_130M, 1, 1) == 129_135_360 - idle + 24 * 3 * (1536 * 4)


# (closed form here, the one for the example file of the same model)
TWICE: tuple[tuple[str, Callable[[], int], Callable[[], int]], ...] = (
    ("bert", lambda: text.bert(BERT, 3, 50), lambda: macs.bert_base(3, 50)),
    (
        "distilbert",
        lambda: text.distilbert(sizes(dim=768, n_layers=6, hidden_dim=3072), 3, 50),
        lambda: macs.distilbert(3, 50),
    ),
    (
        "gpt2",
        lambda: text.gpt(sizes(n_embd=768, n_layer=12, vocab_size=50257), 3, 50),
        lambda: macs.gpt2(3, 50),
    ),
    ("llama", lambda: text.decoder(PUBLISHED[0].sizes, 3, 50), lambda: macs.llama_1b(3, 50)),
    ("mixtral", lambda: moe.mixtral(MIXTRAL, 3, 50), lambda: macs.mixtral(3, 50, layers=32)),
    ("t5", lambda: text.t5(T5_SMALL, 3, 50, 7), lambda: macs.t5_small(3, 50, 7)),
    ("whisper", lambda: audio.whisper(WHISPER_TINY, 3, 7), lambda: macs.whisper_tiny(3, 7)),
    ("vit", lambda: vision.vit(VIT, 3, classes=1000), lambda: macs.vit_b16(3)),
    ("resnet", lambda: vision.resnet(RESNET50, 3, 224, classes=1000), lambda: macs.resnet50(3)),
)


@pytest.mark.parametrize(("name", "here", "there"), TWICE, ids=[name for name, _, _ in TWICE])
def test_two_derivations_agree(
    name: str, here: Callable[[], int], there: Callable[[], int]
) -> None:
    assert here() == there()


# Multiply-adds that the papers print, with as many digits; Swin table 1, ConvNeXt table 1.
@pytest.mark.parametrize(
    ("count", "printed"),
    [
        (vision.swin(SWIN_TINY, 1, classes=1000), 4.5e9),
        (vision.convnext(CONVNEXT_TINY, 1, 224, classes=1000), 4.5e9),
    ],
    ids=["swin-t", "convnext-t"],
)
def test_counts_round_to_those_of_the_paper(count: int, printed: float) -> None:
    assert round(count, -8) == printed


def test_wav2vec2_hears_49_frames_in_a_second() -> None:
    # 16000 samples: 3199, 1599, 799, 399, 199, 99, 49 frames by (n - kernel) // stride + 1. One class more is one
    # product of 768 for each frame.
    one = audio.wav2vec2(WAV2VEC2_BASE, 1, 16000, classes=1)
    assert one - audio.wav2vec2(WAV2VEC2_BASE, 1, 16000) == 49 * 768
