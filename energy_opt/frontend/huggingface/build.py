"""A config -> its module on the meta device: shapes and dtypes of the weights, and no weights."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
from collections.abc import Iterator
from typing import Any

from energy_opt.errors import EnergyOptError, ModelError, UsageError, one_line

# Where a config does not name its class, the first of these that has the architecture is taken. The head is part of
# what a model is for (generating, detecting, classifying images); an encoder of text has no head of its own.
_GENERATORS = ("SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ")
_TASKS = (
    "CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "OBJECT_DETECTION", "IMAGE_CLASSIFICATION",
    "UNIVERSAL_SEGMENTATION", "SEMANTIC_SEGMENTATION", "DEPTH_ESTIMATION", "VIDEO_CLASSIFICATION", "CTC",
    "AUDIO_CLASSIFICATION", "SPEECH_SEQ_2_SEQ", "SEQ_TO_SEQ_CAUSAL_LM",
)  # fmt: skip
_BASE_FIRST = ("ZERO_SHOT_IMAGE_CLASSIFICATION", "MASKED_LM")


def model_class(config: Any, source: str) -> Any:
    """The class of the model: the one in `architectures`, or else the usual one of the architecture.

    That is ...ForCausalLM, ...ForConditionalGeneration, ...ForImageClassification, ...ForObjectDetection where there is
    one, and the base model of encoders of text and of pairs of encoders (bert, clip).

    Raises:
        ModelError, UsageError: `architectures` names nothing that transformers can make from this config.
    """
    import transformers
    from transformers.models.auto import modeling_auto

    named = getattr(config, "architectures", None)
    if isinstance(named, str):
        named = [named]
    if named:
        return _named_class(config, str(named[0]), source)
    model_type = config.model_type

    def mapped(task: str) -> str | None:
        name = "MODEL_MAPPING_NAMES" if not task else f"MODEL_FOR_{task}_MAPPING_NAMES"
        found = getattr(modeling_auto, name, {}).get(model_type)
        return found[0] if isinstance(found, (tuple, list)) else found

    order: list[str] = []
    if getattr(config, "is_encoder_decoder", False):
        order += _GENERATORS
    order += ["" if any(mapped(task) for task in _BASE_FIRST) and mapped("") else _TASKS[0]]
    order += [*_TASKS, ""]
    names = [found for task in order if (found := mapped(task))]
    own = _classes_of(config)
    # The mappings also list a part of a model (clip_text_model) under the class of the whole, and a whole under the
    # class of its part (qwen3_5 under the one that generates from text alone).
    for name in dict.fromkeys([*names, *own]):
        try:
            found = getattr(transformers, name, None) or getattr(_modeling(config), name, None)
            made_from = getattr(found, "config_class", None)
        except ImportError:  # a stand-in for what a missing package would make
            continue
        if made_from is not None and isinstance(config, made_from) and _runs(found):
            return found
    raise ModelError(
        f"{source}: transformers has no model for {type(config).__name__} alone; "
        "name a class with --set architectures='[\"...\"]', or give python:package.module:callable"
    )


def _runs(found: Any) -> bool:
    """Whether the class has a forward of its own: those that only generate have none."""
    import torch

    return getattr(found, "forward", None) is not torch.nn.Module.forward


def _modeling(config: Any) -> Any:
    """The module that defines the models of this config; None if it cannot be told or imported."""
    name = type(config).__module__.replace(".configuration_", ".modeling_")
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _classes_of(config: Any) -> list[str]:
    names = getattr(_modeling(config), "__all__", [])
    return [str(name) for name in names if not name.endswith(("PreTrainedModel", "Layer"))]


def _named_class(config: Any, name: str, source: str) -> Any:
    import transformers

    found = getattr(transformers, name, None)
    made_from = getattr(found, "config_class", None)
    if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel) and made_from:
        if isinstance(config, made_from):
            return found
        own = _classes_of(config)
        raise UsageError(
            f"{source}: {name} is made from a {made_from.__name__}, this is a {type(config).__name__}"
            + (f"; its classes are {', '.join(own)}" if own else "")
        )
    own = _classes_of(config)
    near = difflib.get_close_matches(name, own, n=3, cutoff=0.6) or own
    raise ModelError(
        f"{source}: architectures names {name}, which transformers {transformers.__version__} does not have; "
        + (
            f"choose with --set architectures='[\"{near[0]}\"]' (of {', '.join(near)}), or "
            if near
            else ""
        )
        + "upgrade transformers, or give python:package.module:callable"
    )


def build(config: Any, source: str, *, changed: bool = False) -> Any:
    """The module, on the meta device and in evaluation mode; no cache of keys and values is made when it runs.

    `changed` says that a person's settings are in the config.

    Raises:
        ModelError, UsageError: no class for it, or sizes that its layers cannot have.
    """
    import torch

    chosen = model_class(config, source)
    no_cache(config)
    for key in ("image_token_id", "image_token_index"):
        if getattr(config, key, 0) is None:  # then there is nowhere to put an image
            setattr(config, key, 0)
    if getattr(config, "dtype", None) is None:
        config.dtype = torch.float32
    try:
        with torch.device("meta"), offline(), quiet():
            module = chosen._from_config(config)
    except EnergyOptError:
        raise
    except Exception as error:
        # Hundreds of architectures, and sizes from a person or a file: whatever a layer stumbles over, those are why.
        said = one_line(error, 400)
        if isinstance(error, (ZeroDivisionError, KeyError)):
            zero = isinstance(error, ZeroDivisionError)
            said = "a size or a number of heads is 0" if zero else f"there is no {said}"
        kind = UsageError if changed else ModelError
        raise kind(
            f"{source}: {chosen.__name__} cannot be built with these settings: "
            f"{said or type(error).__name__}"
        ) from error
    module.eval()
    # Legacy constructors (torch.Tensor(4, 4)) make tensors on the CPU wherever they are told to.
    if any(not tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        module.to("meta")
    return module


def no_cache(config: Any) -> None:
    """Switch off caches of keys and values: one inference of a whole input keeps none."""
    for each in (config, *(getattr(config, key, None) for key in config.sub_configs)):
        if getattr(each, "use_cache", None):
            each.use_cache = False


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Inside, nothing is fetched from the Hugging Face hub, whatever a config asks for."""
    # What transformers looks at; an import statement would need the types of a third library.
    constants: Any = importlib.import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, transformers logs nothing below an error: its hints are for people who run a model."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Inside, transformers does not compare values, such as how many tokens stand for an image: there are none."""
    name = "TRANSFORMERS_DISABLE_TORCH_CHECK"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


@contextlib.contextmanager
def running(config: Any) -> Iterator[None]:
    """Inside, a model with this config runs as it is priced: in silence, on no values, without a cache."""
    with quiet(), unchecked(), cacheless(config):
        yield


@contextlib.contextmanager
def cacheless(config: Any) -> Iterator[None]:
    """Inside, a model with this config keeps no cache of keys and values; afterwards it is as it was."""
    each = [config, *(getattr(config, key, None) for key in config.sub_configs)]
    kept = [one for one in each if getattr(one, "use_cache", None)]
    no_cache(config)
    try:
        yield
    finally:
        for one in kept:
            one.use_cache = True
