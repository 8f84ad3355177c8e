"""Which inputs a transformers module needs, and tensors on the meta device for them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from energy_opt.errors import EnergyOptError, ModelError
from energy_opt.frontend.huggingface.modalities import MAKERS, Spec

# Images whose sizes are data (each is cut into another number of patches) are made by a model's own preprocessing.
_GRIDS = frozenset(
    "image_grid_thw grid_thw image_grid_hw spatial_shapes image_position_ids high_res_pixel_values "
    "aspect_ratio_ids".split()
)
_SIZED = frozenset(
    "llava_next llava_next_video llava_onevision mistral3 mistral_large4 lighton_ocr".split()
)
# What a forward declares optional and then cannot do without.
_ALSO = {
    "blip-2": ("input_ids",),
    "bros": ("bbox",),
    "clap": ("input_features",),
    "layoutlm": ("bbox",),
    "layoutlmv3": ("bbox", "pixel_values"),
    "lxmert": ("visual_feats", "visual_pos"),
    "tvp": ("pixel_values",),
    "udop": ("attention_mask",),
    "vilt": ("pixel_values",),
}


def make(module: Any, source: str) -> tuple[dict[str, Any], dict[str, dict[int, str]]]:
    """Tensors on the meta device by name, and the free axes of each: {"input_ids": {0: "batch", 1: "seq"}}.

    Raises:
        ModelError: an input that only the model's own preprocessing can make.
    """
    import torch

    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    tensors: dict[str, Any] = {}
    dynamic: dict[str, dict[int, str]] = {}
    for name, spec in specs(module, source).items():
        shape = [axis if isinstance(axis, int) else axis[1] for axis in spec.axes]
        kind = torch.int64 if spec.whole else dtype
        tensors[name] = torch.empty(shape, dtype=kind, device="meta")
        free = {i: axis[0] for i, axis in enumerate(spec.axes) if not isinstance(axis, int)}
        if free:
            dynamic[name] = free
    return tensors, dynamic


def specs(module: Any, source: str) -> dict[str, Spec]:
    """The inputs that the module needs, by name. See `make`."""
    config = module.config
    parameters = inspect.signature(module.forward).parameters
    wanted = _wanted(module, config, parameters)
    missing = [name for name in wanted if name not in MAKERS]
    if not missing:
        try:
            return {name: MAKERS[name](config, module) for name in wanted}
        except EnergyOptError:
            raise
        except Exception as error:  # noqa: BLE001 - configs hold what they like under any name
            missing = [f"{', '.join(wanted)} ({' '.join(str(error).split())[:200]})"]
    raise ModelError(
        f"{source}: no input can be made for {', '.join(missing)} of {type(module).__name__}; "
        "build the module yourself and give it with example inputs: python:package.module:callable, "
        "or energy_opt.load(module, inputs)"
    )


def _wanted(module: Any, config: Any, parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    wanted = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    main = getattr(module, "main_input_name", "input_ids")
    wanted += [main] if isinstance(main, str) else list(main)
    if getattr(config, "text_config", None) is not None:
        wanted.append("input_ids")
    if takes_images(config, parameters):
        wanted.append("pixel_values")
    if getattr(config, "is_encoder_decoder", False):
        wanted.append("decoder_input_ids")
    wanted += _ALSO.get(config.model_type, ())
    found = [name for name in dict.fromkeys(wanted) if name in parameters]
    return found or [name for name in MAKERS if name in parameters]


def takes_images(config: Any, parameters: Mapping[str, Any]) -> bool:
    """Whether the model looks at images beside its text, and of a size that can be told."""
    parts = (getattr(config, key, None) for key in ("vision_config", "image_config"))
    if config.model_type in _SIZED or all(part is None for part in parts):
        return False
    return not _GRIDS & parameters.keys()
