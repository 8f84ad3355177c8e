"""Which inputs a transformers module needs, and tensors on the meta device for them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from energy_opt.errors import EnergyOptError, ModelError, UsageError
from energy_opt.frontend.huggingface.modalities import MAKERS, OPTIONAL, Spec, takes_images, text

# What a forward declares optional and then cannot do without.
_ALSO = {
    "blip-2": ("input_ids",),
    "bros": ("bbox",),
    "clap": ("input_features",),
    "layoutlm": ("bbox",),
    "layoutlmv3": ("bbox", "pixel_values"),
    "lxmert": ("visual_feats", "visual_pos"),
    "tvp": ("pixel_values",),
    "udop": ("attention_mask", "bbox"),
    "vilt": ("pixel_values",),
}


def make(module: Any, source: str) -> tuple[dict[str, Any], dict[str, dict[int, str]]]:
    """Tensors on the meta device by name, and the free axes of each: {"input_ids": {0: "batch", 1: "seq"}}.

    Raises:
        ModelError: an input that only the model's own preprocessing can make.
    """
    return _made(module, specs(module, source))


def without_image(module: Any, names: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same for these inputs but the image, with a text that holds none."""
    kept = {name: text(module.config) for name in names if name == "input_ids"}
    rest = {name: MAKERS[name](module.config, module) for name in names if name != "pixel_values"}
    return _made(module, {**rest, **kept})


def _made(module: Any, wanted: Mapping[str, Spec]) -> tuple[dict[str, Any], dict[str, Any]]:
    import torch

    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    tensors: dict[str, Any] = {}
    dynamic: dict[str, dict[int, str]] = {}
    for name, spec in wanted.items():
        shape = [axis if isinstance(axis, int) else axis[1] for axis in spec.axes]
        kind = torch.int64 if spec.whole else dtype
        try:
            tensors[name] = torch.empty(shape, dtype=kind, device="meta")
        except (
            RuntimeError,
            TypeError,
        ) as error:  # 2**63 bytes are the most, also of what is not there
            sizes = " x ".join(str(size) for size in shape)
            raise UsageError(
                f"{name} cannot be a tensor of {sizes}; choose smaller sizes"
            ) from error
        free = {i: axis[0] for i, axis in enumerate(spec.axes) if not isinstance(axis, int)}
        if free:
            dynamic[name] = free
    return tensors, dynamic


def firm(dynamic: Mapping[str, Mapping[int, str]]) -> dict[str, dict[int, str]]:
    """The free axes without those of sizes that a module may be recorded at only one by one."""
    return {
        name: {axis: dim for axis, dim in axes.items() if dim not in OPTIONAL}
        for name, axes in dynamic.items()
    }


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
