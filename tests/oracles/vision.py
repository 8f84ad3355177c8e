"""Multiply-accumulates of vision models, derived by hand; conventions as in tests/oracles/text.py.

A convolution gives (output pixels) * (output channels) * (input channels per group * kernel area).
"""

from __future__ import annotations

from typing import Any

from tests.oracles.text import cross_layers, encoder_layers


def half(size: int) -> int:
    """Pixels after a stride of 2 with "same" padding."""
    return (size + 1) // 2


def vit(c: Any, batch: int, *, pooler: int = 0, classes: int = 0) -> int:
    """MACs of ViT (Dosovitskiy et al. 2021, section 3.1); `pooler`, `classes`: widths read off the class token."""
    d, patch = c.hidden_size, c.patch_size
    patches = (c.image_size // patch) ** 2
    tokens = patches + 1  # and the class token
    embedding = patches * d * (c.num_channels * patch * patch)
    body = encoder_layers(tokens, tokens * tokens, c.num_hidden_layers, d, c.intermediate_size)
    return batch * (embedding + body + d * (pooler + classes))


def swin(c: Any, batch: int, *, classes: int = 0) -> int:
    """MACs of Swin (Liu et al. 2021, section 3.1 and equation 2); attention stays within windows, shifted or not.

    For image sizes that patches, windows and mergings divide, so that nothing is padded.
    """
    size, d = c.image_size // c.patch_size, c.embed_dim
    total = size * size * d * (c.num_channels * c.patch_size**2)
    for stage, depth in enumerate(c.depths):
        tokens, window = size * size, min(c.window_size, size)
        pairs = tokens * window * window  # each token with those of its window
        total += encoder_layers(tokens, pairs, depth, d, int(c.mlp_ratio * d))
        if stage < len(c.depths) - 1:  # patch merging: four neighbours, 4d, to 2d
            size //= 2
            total += size * size * 4 * d * 2 * d
            d *= 2
    return batch * (total + d * classes)


def convnext(c: Any, batch: int, image: int, *, classes: int = 0) -> int:
    """MACs of ConvNeXt (Liu et al. 2022, section 2 and figure 4)."""
    size, channels, total = image // c.patch_size, c.num_channels, 0
    for stage, (d, depth) in enumerate(zip(c.hidden_sizes, c.depths, strict=True)):
        if stage:  # 2x2 convolutions with stride 2 between stages
            size //= 2
        kernel = 2 if stage else c.patch_size
        total += size * size * d * (channels * kernel * kernel)
        total += depth * size * size * (d * 49 + 2 * d * 4 * d)  # depthwise 7x7; two 1x1, 4d wide
        channels = d
    return batch * (total + channels * classes)


def resnet(c: Any, batch: int, height: int, width: int | None = None, *, classes: int = 0) -> int:
    """MACs of bottleneck ResNets, v1.5: the stride is on the 3x3 (He et al. 2016, table 1)."""
    h, w = half(height), half(width or height)
    total = h * w * c.embedding_size * (c.num_channels * 7 * 7)  # stem, stride 2
    h, w, channels = half(h), half(w), c.embedding_size  # max pool, stride 2
    for stage, (out, depth) in enumerate(zip(c.hidden_sizes, c.depths, strict=True)):
        middle, area_in = out // 4, h * w
        if stage:
            h, w = half(h), half(w)
        area = h * w
        # The first block reduces at the size that comes in; its shortcut is a 1x1 convolution.
        total += area_in * channels * middle + area * 9 * middle**2 + area * middle * out
        total += area * channels * out
        total += (depth - 1) * area * (out * middle + 9 * middle**2 + middle * out)
        channels = out
    return batch * (total + channels * classes)


def detr(c: Any, batch: int, height: int, width: int) -> int:
    """MACs of DETR on a ResNet, with both heads (Carion et al. 2020, section 3.2 and appendix A.4)."""
    d, queries, backbone = c.d_model, c.num_queries, c.backbone_config
    h, w = height, width
    for _ in range(5):  # a ResNet's last stage has stride 32
        h, w = half(h), half(w)
    area = h * w
    projection = area * backbone.hidden_sizes[-1] * d
    encoder = encoder_layers(area, area * area, c.encoder_layers, d, c.encoder_ffn_dim)
    decoder = cross_layers(1, area, queries, c.decoder_layers, d, c.decoder_ffn_dim)
    # Classes and "no object"; a perceptron of three layers to four coordinates.
    heads = queries * (d * (c.num_labels + 1) + 2 * d * d + d * 4)
    body = projection + encoder + decoder + heads
    return resnet(backbone, batch, height, width) + batch * body


def clip(c: Any, batch: int, seq: int) -> int:
    """MACs of CLIP for `batch` images and as many texts (Radford et al. 2021, sections 2.3 and 2.4)."""
    text, joint = c.text_config, c.projection_dim
    d = text.hidden_size
    captions = encoder_layers(
        batch * seq, batch * seq * seq, text.num_hidden_layers, d, text.intermediate_size
    )
    # One token of each tower is projected; every text is compared with every image.
    projections = batch * d * joint + batch * c.vision_config.hidden_size * joint
    return captions + vit(c.vision_config, batch) + projections + batch * batch * joint
