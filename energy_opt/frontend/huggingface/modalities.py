"""The sizes of texts, images and sounds that a model reads, from what its config says of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

SEQ = 128
"""Tokens of a text, where the model takes as many."""

_SAMPLES = 16_000  # one second of speech at the rate that speech models are trained on
_FRAMES = 1_000  # ten seconds of mel frames
_IMAGE = 224  # what ImageNet models without a size of their own are trained on
_DETECTED = (800, 1066)  # a 640 x 480 photograph as DETR resizes it; later detectors take a square
_SQUARE = (640, 640)
_REGIONS = 36  # what a detector hands to LXMERT

# Architectures that stand out.
_DETR = frozenset("detr conditional_detr deformable_detr table-transformer".split())
_VIDEO = frozenset("timesformer videomae vivit xclip".split())
_PAIRS = frozenset("efficientloftr superglue lightglue".split())  # two images are matched
# Images whose sizes are data (each is cut into another number of patches) are made by a model's own preprocessing;
# or empty ones among them are left out, by their values.
_GRIDS = frozenset(
    "image_grid_thw grid_thw image_grid_hw spatial_shapes image_position_ids high_res_pixel_values "
    "aspect_ratio_ids".split()
)
_SIZED = frozenset(
    "llava_next llava_next_video llava_onevision mistral3 mistral_large4 lighton_ocr "
    "idefics idefics2 idefics3 smolvlm modernvbert ultravbert granite_docling".split()
)
# Networks of convolutions, which take images of any size; their sizes are solved exactly. Left out are those that pad
# by the remainder of a division (mobilenet), cut into windows (swin) or patches (vit), or branch on the size.
_ANY_IMAGE = frozenset(
    "bit conditional_detr convnext convnextv2 cvt detr dinov3_convnext efficientnet hgnet_v2 regnet resnet "
    "rt_detr_resnet swiftformer table-transformer textnet upernet".split()
)
_ANY_SOUND = frozenset(
    "data2vec-audio hubert sew speecht5 unispeech unispeech-sat wav2vec2 wavlm".split()
)
_MELS_FIRST = frozenset("whisper qwen2_audio qwen2_audio_encoder voxtral voxtral_encoder".split())
_CHANNELS = frozenset(
    "encodec dac mimi mimi_encoder xcodec higgs_audio_v2_tokenizer pe_audio pe_audio_encoder "
    "pocket_tts_audio_tokenizer pocket_tts_audio_tokenizer_encoder vibevoice_acoustic_tokenizer".split()
)
_OFFSET = frozenset(
    "roberta xlm-roberta camembert mpnet longformer data2vec-text luke ibert".split()
)
_NESTED = (
    "vision_config image_config encoder encoder_config audio_config backbone_config text_config decoder"
).split()

Axis = int | tuple[str, int]
"""The size of an axis, or the name of a free dim and the size to begin with."""


OPTIONAL = ("height", "width", "samples")
"""Dims that are free where a module can be recorded with them free, and else stay at their example's size."""


class Spec(NamedTuple):
    """An input: its axes, and whether it holds whole numbers (ids) or the model's own type."""

    axes: tuple[Axis, ...]
    whole: bool = False


_BATCH: Axis = ("batch", 1)


def takes_images(config: Any, parameters: Mapping[str, Any]) -> bool:
    """Whether the model looks at images beside its text, and of a size that can be told."""
    parts = (getattr(config, key, None) for key in ("vision_config", "image_config"))
    if config.model_type in _SIZED or all(part is None for part in parts):
        return False
    return not _GRIDS & parameters.keys() and "pixel_values" in parameters


def _first(config: Any, names: Iterable[str]) -> Any:
    """The first of these that the config or one nested in it states."""
    for each in (config, *(getattr(config, key, None) for key in _NESTED)):
        for name in names:
            if each is not None and (value := getattr(each, name, None)) is not None:
                return value
    return None


def _length(most: int | None) -> int:
    # Longer than its positions, a model with learned ones fails; of rotary ones they are what it was trained for.
    return SEQ if most is None else min(SEQ, most)


def _ids(config: Any, module: Any) -> Spec:
    standing = _first(config, ("image_seq_length", "mm_tokens_per_image", "num_image_tokens"))
    images = takes_images(config, inspect.signature(module.forward).parameters)
    if isinstance(standing, int) and images:
        return Spec((_BATCH, ("seq", standing + SEQ)), whole=True)
    return text(config)


def text(config: Any) -> Spec:
    """The ids of a text without images in it."""
    return Spec((_BATCH, ("seq", _length(positions(config)))), whole=True)


def positions(config: Any) -> int | None:
    """How many tokens of a text the model has positions for, as its config states it."""
    try:
        own = config.get_text_config()
    except ValueError:  # an encoder and a decoder, both of text
        own = getattr(config, "text_encoder", config)
    most = getattr(own, "max_position_embeddings", None) or getattr(
        own, "max_source_positions", None
    )
    if isinstance(most, int) and own.model_type in _OFFSET:
        most -= 2  # its positions are counted from behind the padding
    return most if isinstance(most, int) and most > 0 else None


def decoder_positions(config: Any) -> int | None:
    """The same of a text that is generated."""
    most = _first(config, ("max_target_positions", "max_position_embeddings", "n_positions"))
    return most if isinstance(most, int) and most > 0 else None


def _decoder_ids(config: Any, _module: Any) -> Spec:
    return Spec((_BATCH, ("decoder_seq", _length(decoder_positions(config)))), whole=True)


def _pixels(config: Any, module: Any) -> Spec:
    channels = _first(config, ("num_channels", "in_channels", "in_chans"))
    height, width = _image_size(config, type(module).__name__)
    image: tuple[Axis, ...] = (channels if isinstance(channels, int) else 3, height, width)
    if config.model_type in _ANY_IMAGE:
        image = (image[0], ("height", height), ("width", width))
    frames = _first(config, ("num_frames",)) if config.model_type in _VIDEO else None
    frames = 2 if config.model_type in _PAIRS else frames
    return Spec((_BATCH, frames, *image) if isinstance(frames, int) else (_BATCH, *image))


def _videos(config: Any, module: Any) -> Spec:
    frames = _first(config, ("frames_per_clip", "num_frames"))
    axes = _pixels(config, module).axes
    return Spec((axes[0], frames if isinstance(frames, int) else 16, *axes[-3:]))


def _image_size(config: Any, name: str) -> tuple[int, int]:
    size = _first(config, ("image_size", "img_size", "input_size", "crop_size"))
    if isinstance(size, dict):
        size = size.get("height", _IMAGE), size.get("width", _IMAGE)
    if isinstance(size, (list, tuple)) and size and all(isinstance(n, int) for n in size):
        return size[-2 if len(size) > 1 else 0], size[-1]
    if isinstance(size, int) and size > 0:
        return size, size
    if config.model_type in _DETR:
        return _DETECTED
    return _SQUARE if "Detection" in name or "Segmentation" in name else (_IMAGE, _IMAGE)


def _values(config: Any, _module: Any) -> Spec:
    mels, length = getattr(config, "num_mel_bins", None), getattr(config, "max_length", None)
    if config.model_type == "audio-spectrogram-transformer" and mels and length:
        return Spec((_BATCH, length, mels))
    if config.model_type in _CHANNELS:
        return Spec((_BATCH, getattr(config, "audio_channels", 1), _SAMPLES))
    samples = getattr(config, "samples", _SAMPLES)
    samples = samples if isinstance(samples, int) and samples > 0 else _SAMPLES
    free = config.model_type in _ANY_SOUND
    return Spec((_BATCH, ("samples", samples) if free else samples))


def _features(config: Any, _module: Any) -> Spec:
    names = (
        "num_mel_bins input_feat_per_channel feature_size feature_projection_input_dim input_dim"
    )
    mels = _first(config, names.split())
    mels = mels if isinstance(mels, int) else 80
    if config.model_type == "clap":
        return Spec((_BATCH, 1, 1001, 64))  # ten seconds, as its feature extractor cuts them
    if config.model_type in _MELS_FIRST:  # a window of fixed length: two frames make one position
        positions = _first(config, ("max_source_positions",))
        return Spec((_BATCH, mels, 2 * (positions if isinstance(positions, int) else 1500)))
    return Spec((_BATCH, _FRAMES, mels))


def _boxes(config: Any, module: Any) -> Spec:
    corners = 8 if config.model_type == "bros" else 4
    whole = config.model_type not in ("bros", "udop")
    return Spec((*_ids(config, module).axes, corners), whole=whole)


def _regions(config: Any, _module: Any) -> Spec:
    return Spec((_BATCH, _REGIONS, getattr(config, "visual_feat_dim", 2048)))


def _places(config: Any, _module: Any) -> Spec:
    return Spec((_BATCH, _REGIONS, getattr(config, "visual_pos_dim", 4)))


def _series(config: Any, _module: Any) -> Spec:
    length = _first(config, ("context_length", "prediction_length"))
    channels = getattr(config, "num_input_channels", 1)
    return Spec((_BATCH, length if isinstance(length, int) else 512, channels))


MAKERS: dict[str, Callable[[Any, Any], Spec]] = {
    "input_ids": _ids,
    "pixel_values": _pixels,
    "pixel_values_videos": _videos,
    "input_values": _values,
    "input_features": _features,
    "decoder_input_ids": _decoder_ids,
    "attention_mask": _ids,
    "bbox": _boxes,
    "visual_feats": _regions,
    "visual_pos": _places,
    "past_values": _series,
}
"""How the inputs are sized that can be made, by the name that a forward gives them."""
