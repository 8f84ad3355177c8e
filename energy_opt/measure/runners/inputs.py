"""Inputs for a module that is to be run: the user's own where they fit, else random ones that the model accepts."""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from energy_opt.errors import UsageError

_SEED = 20250101
_STANDING = ("image_seq_length", "mm_tokens_per_image", "num_image_tokens")
_IMAGE_TOKENS = ("image_token_id", "image_token_index")


def fill(
    module: nn.Module, wanted: tuple[tuple[Any, ...], dict[str, Any]], example: Any, target: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(args, kwargs) on the target, of the shapes of `wanted`, whose tensors may be on the meta device.

    `example` is a tree like `wanted`. An example with values is taken as it is where its shape is the wanted one; else
    floats are drawn from N(0, 1), never zeros (which draw less power), and whole numbers from the example's range, or
    from the model's vocabulary. Masks are ones.

    Source: zero and random inputs differ by up to 40 % in the power of a matrix product, see docs/measure.md.
    """
    generator = torch.Generator().manual_seed(_SEED)
    names = _names(module, wanted)
    flat, spec = pytree.tree_flatten(wanted)
    examples = pytree.tree_leaves(example)
    if len(examples) != len(flat):
        examples = [None] * len(flat)
    made = [
        _made(module, name, leaf, given, generator).to(target)
        if isinstance(leaf, torch.Tensor)
        else leaf
        for name, leaf, given in zip(names, flat, examples, strict=True)
    ]
    args, kwargs = pytree.tree_unflatten(made, spec)
    return args, kwargs


def from_arrays(
    module: nn.Module, arrays: Mapping[str, Any], target: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(args, kwargs) of arrays by name, as an .npz file holds them.

    Raises:
        UsageError: a name that the module's forward does not take.
    """
    parameters = inspect.signature(module.forward).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in arrays:
        if name not in parameters and not anything:
            raise UsageError(
                f"--inputs: {type(module).__name__} takes no {name!r}; it takes {', '.join(parameters)}"
            )
    return (), {name: torch.as_tensor(value).to(target) for name, value in arrays.items()}


def _made(
    module: nn.Module, name: str, like: torch.Tensor, example: Any, generator: torch.Generator
) -> torch.Tensor:
    real = isinstance(example, torch.Tensor) and not example.is_meta
    if real and example.shape == like.shape:
        return torch.as_tensor(example)
    shape, dtype = tuple(like.shape), like.dtype
    if dtype.is_floating_point or dtype.is_complex:
        if "mask" in name:
            return torch.ones(shape, dtype=dtype)
        drawn = torch.randn(
            shape, generator=generator, dtype=torch.complex64 if dtype.is_complex else torch.float32
        )
        return drawn.to(dtype)
    if dtype is torch.bool or "mask" in name:
        return torch.ones(shape, dtype=dtype)
    if real and example.numel():
        low, high = int(example.min()), int(example.max())
        return torch.randint(low, high + 1, shape, generator=generator).to(dtype)
    if "position" in name and shape:
        return torch.arange(shape[-1]).expand(shape).to(dtype).contiguous()
    if any(word in name for word in ("token_type", "segment", "bbox")):
        return torch.zeros(shape, dtype=dtype)
    ids = torch.randint(0, _vocabulary(module), shape, generator=generator)
    return _with_image_tokens(module, name, ids).to(dtype)


def _vocabulary(module: nn.Module) -> int:
    """How many ids are valid: what the config says, else the smallest table of embeddings, else 2."""
    config = getattr(module, "config", None)
    if config is not None and hasattr(config, "get_text_config"):
        try:
            config = config.get_text_config()
        except ValueError:  # an encoder and a decoder, both of text
            config = getattr(config, "text_encoder", config)
    stated = getattr(config, "vocab_size", None)
    if isinstance(stated, int) and stated > 0:
        return stated
    tables = [m.num_embeddings for m in module.modules() if isinstance(m, nn.Embedding)]
    return min(tables, default=2)


def _with_image_tokens(module: nn.Module, name: str, ids: torch.Tensor) -> torch.Tensor:
    """The ids with as many tokens standing for the image as the model's image has, and no others of that kind."""
    config = getattr(module, "config", None)
    token = next(
        (v for key in _IMAGE_TOKENS if isinstance(v := getattr(config, key, None), int)), None
    )
    if token is None or name != "input_ids":
        return ids
    ids[ids == token] = token - 1 if token else 1
    for part in (
        config,
        getattr(config, "text_config", None),
        getattr(config, "vision_config", None),
    ):
        for key in _STANDING:
            count = getattr(part, key, None)
            if isinstance(count, int) and 0 < count <= ids.shape[-1]:
                ids[..., :count] = token
                return ids
    return ids


def _names(module: nn.Module, wanted: tuple[tuple[Any, ...], dict[str, Any]]) -> list[str]:
    """A name for every leaf of (args, kwargs), from the module's signature."""
    args, kwargs = wanted
    try:
        known = list(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):  # a forward without a signature
        known = []
    names = []
    for i, value in enumerate(args):
        name = known[i] if i < len(known) else f"input_{i}"
        names += [name] * len(pytree.tree_leaves(value))
    for name, value in kwargs.items():
        names += [name] * len(pytree.tree_leaves(value))
    return names
