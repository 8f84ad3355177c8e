"""Multiply-accumulates of speech models, derived by hand; conventions as in tests/oracles/text.py."""

from __future__ import annotations

from typing import Any

from tests.oracles.text import cross_layers, encoder_layers


def whisper(c: Any, batch: int, decoder_seq: int) -> int:
    """MACs of Whisper over 30 s with logits (Radford et al. 2022, section 2.2)."""
    d, positions = c.d_model, c.max_source_positions
    frames = 2 * positions  # of 10 ms; the second convolution has stride 2
    convolutions = frames * d * (c.num_mel_bins * 3) + positions * d * (d * 3)
    encoder = encoder_layers(
        batch * positions, batch * positions * positions, c.encoder_layers, d, c.encoder_ffn_dim
    )
    decoder = cross_layers(batch, positions, decoder_seq, c.decoder_layers, d, c.decoder_ffn_dim)
    return batch * convolutions + encoder + decoder + batch * decoder_seq * d * c.vocab_size


def wav2vec2(c: Any, batch: int, samples: int, *, classes: int = 0) -> int:
    """MACs of wav2vec 2.0 on raw audio (Baevski et al. 2020, sections 2 and 4.2); `classes` of a CTC head per frame."""
    length, channels, total = samples, 1, 0
    for width, kernel, stride in zip(c.conv_dim, c.conv_kernel, c.conv_stride, strict=True):
        length = (length - kernel) // stride + 1  # no padding
        total += length * width * channels * kernel
        channels = width
    d = c.hidden_size
    total += length * channels * d  # feature projection
    # Relative positions: a grouped convolution as wide as 128 frames. An even kernel with half of it as padding gives
    # one frame too many, which is computed and cut off.
    kernel, groups = c.num_conv_pos_embeddings, c.num_conv_pos_embedding_groups
    outputs = length + 2 * (kernel // 2) - kernel + 1
    total += outputs * d * (d // groups) * kernel
    total += encoder_layers(length, length * length, c.num_hidden_layers, d, c.intermediate_size)
    return batch * (total + length * d * classes)
