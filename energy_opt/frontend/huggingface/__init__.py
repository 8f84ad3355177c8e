"""transformers configs -> Graph: the module on the meta device, inputs for its modality, then what modules go through.

No weights, no network, no code of a model repository. Nothing here imports torch or transformers until it is called.
"""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from energy_opt.errors import UsageError
from energy_opt.frontend.huggingface.prepared import IN_TEXT, Prepared
from energy_opt.frontend.huggingface.sources import is_config

if TYPE_CHECKING:
    from energy_opt.ir.graph import Graph

__all__ = ["Prepared", "is_config", "load_config", "prepare", "spec"]


def load_config(source: Any, settings: Mapping[str, Any] | None = None) -> Graph:
    """The graph of a transformers config. See `prepare` for what `source` can be.

    Raises:
        ModelError, UsageError: what the message says; nothing of transformers' own comes through.
    """
    require()
    from energy_opt.frontend.huggingface import loading

    return loading.load(prepare(source, settings))


def prepare(source: Any, settings: Mapping[str, Any] | None = None) -> Prepared:
    """The module of a config on the meta device, with inputs for it.

    `source` is the path of a config.json, a directory that holds one, `hf:NAME` for the defaults of an architecture, a
    `PreTrainedConfig`, or a `PreTrainedModel`. `settings` change fields of the config: {"num_hidden_layers": 8}, values
    as text or in their own type, a field of a nested config as "text_config.hidden_size".

    The class is the one in `architectures`, or else what the architecture is mostly used as: with its head where it
    generates (llama, t5, whisper), classifies images (vit) or detects (detr), the base model of encoders of text (bert)
    and of pairs of encoders (clip). `settings={"architectures": ["BertForSequenceClassification"]}` chooses another.
    Weights are of the config's `dtype`, float32 if it states none.

    Raises:
        ModelError, UsageError: the source, a setting or their combination makes no model that transformers has.
    """
    require()
    from energy_opt.frontend.huggingface import build, config, inputs, sources

    settings = dict(settings or {})
    notes: list[str] = []
    if isinstance(source, str):
        typed = spec(source, settings)
        made = config.make(sources.read(source), settings, source, notes)
        module = build.build(made, source, changed=bool(settings))
    else:
        module, typed = _from_object(source, settings, notes)
    tensors, dynamic = inputs.make(module, typed)
    _remark(module, tensors, notes)
    return Prepared(module, tensors, dynamic, typed, notes)


def spec(source: str, settings: Mapping[str, Any]) -> str:
    """MODEL and its settings as one types them on the command line; unquoted where no shell would change it."""
    parts = [shlex.quote(source)]
    for key, value in settings.items():
        parts.append(f"--set {shlex.quote(f'{key}={_text(value)}')}")
    return " ".join(parts)


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, default=str)


def require(*packages: str) -> None:
    """Raises UsageError with what to install, if one of the packages (or torch or transformers) is not."""
    wanted = packages or ("torch", "transformers")
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"this model needs {' and '.join(missing)}, not installed here: pip install 'energy-opt[torch]'"
        )


def _from_object(source: Any, settings: dict[str, Any], notes: list[str]) -> tuple[Any, str]:
    """The module of a PreTrainedConfig or PreTrainedModel, and what to call it."""
    import transformers

    from energy_opt.frontend.huggingface import build, config

    name = f"{type(source).__name__} in memory"
    if isinstance(source, transformers.PreTrainedModel):
        if settings:
            raise UsageError(
                f"{type(source).__name__}: settings change a config, and this model is already built; "
                "build it from a changed config, or give the config"
            )
        return source, name
    if isinstance(source, transformers.PreTrainedConfig):
        fields = {**source.to_dict(), "model_type": source.model_type}
        fields.pop("auto_map", None)
        made = config.make(fields, settings, name, notes, type(source))
        return build.build(made, name, changed=bool(settings)), name
    raise UsageError(
        f"a {type(source).__module__}.{type(source).__qualname__} is no transformers config or model"
    )


def _remark(module: Any, inputs: Mapping[str, Any], notes: list[str]) -> None:
    quantized = getattr(module.config, "quantization_config", None)
    if quantized:
        method = quantized.get("quant_method") if isinstance(quantized, dict) else None
        notes.append(
            f"the config's weights are quantized ({method or 'method not stated'}); "
            f"they are taken in {str(module.config.dtype).removeprefix('torch.')}"
        )
    for word, configs, names in _MODALITIES:
        parts = any(getattr(module.config, key, None) is not None for key in configs)
        if parts and not names & inputs.keys():
            notes.append(
                f"priced without {word}: how one becomes an input is up to its preprocessing; to price it, give "
                "the module with example inputs (python:package.module:callable)"
            )
    tokens = ("image_token_id", "image_token_index")
    if {"pixel_values", "input_ids"} <= inputs.keys() and any(
        hasattr(module.config, key) for key in tokens
    ):
        notes.append(IN_TEXT)


_MODALITIES = (
    ("an image", ("vision_config", "image_config"), {"pixel_values", "pixel_values_videos"}),
    ("a sound", ("audio_config",), {"input_features", "input_values"}),
    ("a text", ("text_config",), {"input_ids"}),
)
