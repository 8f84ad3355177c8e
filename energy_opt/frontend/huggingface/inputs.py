"""Inputs for a transformers module, from what its forward takes and what its config says of their sizes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from energy_opt.errors import ModelError

SEQ = 128  # tokens of a text, where the model takes as many
_SAMPLES = 16_000  # one second of speech at the rate that speech models are trained on
_FRAMES = 1_000  # ten seconds of mel frames
_IMAGE = 224  # what ImageNet models without a size of their own are trained on
_DETECTED = (800, 1066)  # a 640 x 480 photograph as detectors of the DETR family resize it

Axis = int | tuple[str, int]
"""The size of an axis, or the name of a free dim and the size to begin with."""


class Spec(NamedTuple):
    """An input: its axes and whether it holds whole numbers (ids) or the model's own type."""

    axes: tuple[Axis, ...]
    whole: bool = False


BATCH: Axis = ("batch", 1)


def make(module: Any, source: str, *, images: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors on the meta device by name, and the free axes of each: {"input_ids": {0: "batch", 1: "seq"}}.

    `images` False leaves out what a model of text and images can do without.

    Raises:
        ModelError: an input that only the model's own preprocessing can make.
    """
    import torch

    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    tensors: dict[str, Any] = {}
    dynamic: dict[str, Any] = {}
    for name, spec in specs(module, source, images=images).items():
        shape = [axis if isinstance(axis, int) else axis[1] for axis in spec.axes]
        kind = torch.int64 if spec.whole else dtype
        tensors[name] = torch.empty(shape, dtype=kind, device="meta")
        free = {i: axis[0] for i, axis in enumerate(spec.axes) if not isinstance(axis, int)}
        if free:
            dynamic[name] = free
    return tensors, dynamic


def specs(module: Any, source: str, *, images: bool = True) -> dict[str, Spec]:
    """The inputs that the module needs. See `make`."""
    config = module.config
    parameters = inspect.signature(module.forward).parameters
    required = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    wanted = dict.fromkeys(required)
    main = getattr(module, "main_input_name", "input_ids")
    if main in parameters:
        wanted[main] = None
    if "input_ids" in parameters and ("input_ids" in wanted or _reads_text(config, main)):
        wanted["input_ids"] = None
    if images and "pixel_values" in parameters and _sees(config):
        wanted["pixel_values"] = None
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in parameters:
        wanted["decoder_input_ids"] = None
    if not wanted:
        wanted = dict.fromkeys(name for name in _MAKERS if name in parameters)
    missing = [name for name in wanted if name not in _MAKERS]
    if missing:
        raise ModelError(
            f"{source}: no input can be made for {', '.join(missing)} of {type(module).__name__}; "
            "build the module yourself and give it with example inputs: python:package.module:callable, "
            "or energy_opt.load(module, inputs)"
        )
    return {name: _MAKERS[name](config, module) for name in wanted}


def _reads_text(config: Any, main: str) -> bool:
    return main != "input_ids" and getattr(config, "text_config", None) is not None


def _sees(config: Any) -> bool:
    return getattr(config, "vision_config", None) is not None


def _first(config: Any, names: Iterable[str]) -> Any:
    """The first of these that the config or one nested in it states."""
    nested = (
        "vision_config",
        "image_config",
        "encoder",
        "audio_config",
        "backbone_config",
        "text_config",
        "decoder",
    )
    for each in (config, *(getattr(config, key, None) for key in nested)):
        for name in names:
            if each is not None and (value := getattr(each, name, None)) is not None:
                return value
    return None


def _length(config: Any, most: Any) -> int:
    # Longer than its positions, a model with learned ones fails; those of rotary models are no limit, but published.
    return min(SEQ, most) if isinstance(most, int) and most > 0 else SEQ


def _ids(config: Any, _module: Any) -> Spec:
    own = config.get_text_config() if hasattr(config, "get_text_config") else config
    most = getattr(own, "max_position_embeddings", None) or getattr(
        own, "max_source_positions", None
    )
    if isinstance(most, int) and own.model_type in _OFFSET:
        most -= 2  # its positions are counted from behind the padding
    return Spec((BATCH, ("seq", _length(config, most))), whole=True)


_OFFSET = {
    "roberta",
    "xlm-roberta",
    "camembert",
    "mpnet",
    "longformer",
    "data2vec-text",
    "luke",
    "ibert",
}


def _decoder_ids(config: Any, _module: Any) -> Spec:
    most = _first(config, ("max_target_positions", "max_position_embeddings", "n_positions"))
    return Spec((BATCH, ("decoder_seq", _length(config, most))), whole=True)


def _pixels(config: Any, module: Any) -> Spec:
    channels = _first(config, ("num_channels", "in_channels", "in_chans"))
    channels = channels if isinstance(channels, int) else 3
    height, width = _image_size(config, type(module).__name__)
    frames = _first(config, ("num_frames",)) if _is_video(config) else None
    image: tuple[Axis, ...] = (channels, height, width)
    return Spec((BATCH, frames, *image) if isinstance(frames, int) else (BATCH, *image))


def _is_video(config: Any) -> bool:
    return config.model_type in ("timesformer", "videomae", "vivit", "vjepa2", "xclip")


def _image_size(config: Any, name: str) -> tuple[int, int]:
    size = _first(config, ("image_size", "img_size", "input_size"))
    if isinstance(size, dict):
        size = size.get("height", _IMAGE), size.get("width", _IMAGE)
    if isinstance(size, (list, tuple)) and len(size) >= 2 and all(isinstance(n, int) for n in size):
        return size[-2], size[-1]
    if isinstance(size, (list, tuple)) and len(size) == 1:
        size = size[0]
    if isinstance(size, int) and size > 0:
        return size, size
    return _DETECTED if "Detection" in name else (_IMAGE, _IMAGE)


def _values(config: Any, _module: Any) -> Spec:
    mels = getattr(config, "num_mel_bins", None)
    if mels is not None and getattr(
        config, "max_length", None
    ):  # a spectrogram, as audio-spectrogram-transformer reads
        return Spec((BATCH, config.max_length, mels))
    if config.model_type in ("encodec", "dac", "mimi", "xcodec", "higgs_audio_v2_tokenizer"):
        return Spec((BATCH, getattr(config, "audio_channels", 1), _SAMPLES))
    if config.model_type == "speecht5":
        return Spec((BATCH, _SAMPLES))
    return Spec((BATCH, _SAMPLES))


def _features(config: Any, _module: Any) -> Spec:
    mels = _first(
        config,
        ("num_mel_bins", "input_feat_per_channel", "feature_size", "feature_projection_input_dim"),
    )
    mels = mels if isinstance(mels, int) else 80
    positions = _first(config, ("max_source_positions",))
    if (
        config.model_type in _MELS_FIRST
    ):  # a window of fixed length: two mel frames make one position
        return Spec((BATCH, mels, 2 * positions if isinstance(positions, int) else 2 * 1500))
    return Spec((BATCH, _FRAMES, mels))


_MELS_FIRST = {"whisper", "qwen2_audio", "qwen2_audio_encoder", "voxtral", "voxtral_encoder"}


def _bytes_of_text(config: Any, module: Any) -> Spec:
    return _ids(config, module)


_MAKERS: dict[str, Callable[[Any, Any], Spec]] = {
    "input_ids": _ids,
    "pixel_values": _pixels,
    "input_values": _values,
    "input_features": _features,
    "decoder_input_ids": _decoder_ids,
}
