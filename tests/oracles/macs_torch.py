"""What the models of tests/zoo.py multiply: the closed form for each name, with the sizes that its inputs fix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.oracles import audio, moe, text, vision


class Case(NamedTuple):
    """`count(config, **dims)` gives multiply-adds; `sizes` are dims to compare at: short and long, small and large."""

    count: Callable[..., int]
    sizes: tuple[dict[str, int], ...]


TEXT = (
    {"batch": 1, "seq": 17},
    {"batch": 1, "seq": 384},
    {"batch": 8, "seq": 17},
    {"batch": 8, "seq": 384},
)
# Every length of Mamba is a graph of its own, since its scan is a loop of Python: a few operators for each token.
STEPS = tuple({"batch": batch, "seq": seq} for batch in (1, 8) for seq in (9, 33))
CAPTIONS = tuple({"batch": batch, "seq": seq} for batch in (1, 4) for seq in (9, 77))
PAIRS = tuple(
    {"batch": batch, "seq": seq, "decoder_seq": seq // 2} for batch in (1, 8) for seq in (17, 384)
)
SPEECH = tuple({"batch": batch, "decoder_seq": seq} for batch in (1, 4) for seq in (9, 200))
BATCH = ({"batch": 1}, {"batch": 8})


def _vit(c: Any, batch: int) -> int:
    return vision.vit(c, batch, classes=c.num_labels)


def _swin(c: Any, batch: int) -> int:
    return vision.swin(c, batch, classes=c.num_labels)


def _convnext(c: Any, batch: int) -> int:
    return vision.convnext(c, batch, 224, classes=c.num_labels)


def _resnet(c: Any, batch: int) -> int:
    return vision.resnet(c, batch, 224, classes=c.num_labels)


def _detr(c: Any, batch: int) -> int:
    return vision.detr(c, batch, 800, 1066)


def _wav2vec2(c: Any, batch: int) -> int:
    return audio.wav2vec2(c, batch, 16_000, classes=c.vocab_size)


CASES: dict[str, Case] = {
    "bert": Case(text.bert, TEXT),
    "distilbert": Case(text.distilbert, TEXT),
    "roberta": Case(text.bert, TEXT),
    "gpt2": Case(text.gpt, TEXT),
    "openai-gpt": Case(text.gpt, TEXT),
    "llama-1b": Case(text.decoder, TEXT),
    "llama-7b": Case(text.decoder, TEXT),
    "llama-70b": Case(text.decoder, TEXT),
    "mistral": Case(text.decoder, (*TEXT, {"batch": 1, "seq": 5000})),  # its window is 4096
    "gemma": Case(text.decoder, TEXT),
    "qwen2": Case(text.decoder, TEXT),
    "qwen3": Case(text.decoder, TEXT),
    "mixtral": Case(moe.mixtral, TEXT),
    "deepseek_v3": Case(moe.deepseek_v3, TEXT),
    "mamba": Case(text.mamba, STEPS),
    "t5": Case(text.t5, PAIRS),
    "bart": Case(text.bart, PAIRS),
    "whisper": Case(audio.whisper, SPEECH),
    "vit": Case(_vit, BATCH),
    "swin": Case(_swin, BATCH),
    "convnext": Case(_convnext, BATCH),
    "resnet": Case(_resnet, BATCH),
    "clip": Case(vision.clip, CAPTIONS),
    "detr": Case(_detr, BATCH),
    "wav2vec2": Case(_wav2vec2, BATCH),
}
