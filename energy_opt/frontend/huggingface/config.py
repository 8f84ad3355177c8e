"""Fields and settings -> a transformers config that is consistent, or a sentence that says why it is not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from energy_opt.errors import EnergyOptError, ModelError, UsageError
from energy_opt.frontend.huggingface import settings as setting
from energy_opt.frontend.huggingface.build import quiet
from energy_opt.frontend.huggingface.derived import MOST_LAYERS, follow

_COUNT = re.compile(
    r"^(num|n|encoder|decoder)_(\w+_)?(layers?|heads?)$|^(hidden|intermediate|vocab)_size$|^n_embd$|^d_(model|ff)$"
)

_MOST_LABELS = 1_000_000
"""transformers makes a name for each of them."""


def make(
    fields: dict[str, Any],
    settings: Mapping[str, Any],
    source: str,
    notes: list[str],
    config_class: Any = None,
) -> Any:
    """The config of `config_class`, or of the one that `model_type` names. Notes get what was assumed.

    Raises:
        ModelError, UsageError: no such architecture, or fields that contradict each other.
    """
    fields = dict(fields)
    model_type = str(fields.pop("model_type"))
    config_class = config_class or _config_class(model_type, source)
    stated = setting.apply(fields, settings, config_class)
    _check(stated, source)
    if settings:
        follow(fields, stated, config_class, settings, notes)
    config = _construct(config_class, stated, source, settings)
    _check(config.to_dict(), source)
    return _without_timm(config, config_class, stated, source, settings, notes)


def _config_class(model_type: str, source: str) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    names = [str(name) for name in CONFIG_MAPPING.keys()]  # noqa: SIM118 - iterating yields extras twice
    if model_type in names:
        return CONFIG_MAPPING[model_type]
    folded = {_fold(name): name for name in names}
    if _fold(model_type) in folded:
        return CONFIG_MAPPING[folded[_fold(model_type)]]
    import transformers

    near = difflib.get_close_matches(_fold(model_type), folded, n=4, cutoff=0.6)
    text = f"{source}: transformers {transformers.__version__} has no architecture {model_type!r}"
    if near:
        text += f"; did you mean {', '.join('hf:' + folded[name] for name in near)}?"
    raise UsageError(
        f"{text}{'' if near else '.'} If a newer transformers has it, upgrade (pip install -U transformers); "
        "if another package defines it, give python:package.module:callable; or export the model to ONNX"
    )


def _fold(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(".", "")


def _check(fields: Mapping[str, Any], source: str) -> None:
    """Refuse what would make transformers fetch code, and sizes that nothing could hold."""
    for key in ("attn_implementation", "_attn_implementation", "experts_implementation"):
        value = fields.get(key)
        if value is not None and (not isinstance(value, str) or "/" in value):
            raise ModelError(
                f"{source}: {key} {value!r} is a kernel of the Hugging Face hub, which is never fetched; "
                "use sdpa or eager"
            )
    dtype = fields.get("dtype") or fields.get("torch_dtype")
    if dtype is not None and dtype not in ("float32", "float16", "bfloat16", "float64", "auto"):
        raise UsageError(
            f"{source}: dtype {dtype!r} is none that a model computes in; "
            "there are float32, float16, bfloat16, float64"
        )
    for key, value in fields.items():
        if isinstance(value, dict):
            _check(value, source)
        elif key == "num_labels" and isinstance(value, int) and value > _MOST_LABELS:
            raise UsageError(f"{source}: num_labels is {value}; {_MOST_LABELS} are the most")
        elif isinstance(value, int) and _COUNT.search(str(key)):
            if value < 0:
                raise UsageError(f"{source}: {key} is {value}; a size cannot be negative")
            if value > MOST_LAYERS and "layer" in key:
                raise UsageError(f"{source}: {key} is {value}; {MOST_LAYERS} layers are the most")
    heads, shared = (fields.get(key) for key in ("num_attention_heads", "num_key_value_heads"))
    if isinstance(heads, int) and isinstance(shared, int) and 0 < shared < heads and heads % shared:
        raise UsageError(
            f"{source}: num_attention_heads ({heads}) is not a multiple of num_key_value_heads ({shared})"
        )


def _construct(
    config_class: Any, fields: dict[str, Any], source: str, settings: Mapping[str, Any]
) -> Any:
    fields = {key: value for key, value in fields.items() if (key, value) != ("dtype", "auto")}
    fields = {
        key: value for key, value in fields.items() if (key, value) != ("torch_dtype", "auto")
    }
    try:
        with quiet():
            return config_class.from_dict(fields)
    except EnergyOptError:
        raise
    except Exception as error:
        # The fields come from a person or a file, and a config class may stumble over them in any way.
        said = " ".join(str(error.__cause__ or error).split())
        said = said.partition(". Should contain one of ")[0][:400].rstrip(".")
        kind = UsageError if settings else ModelError
        if isinstance(error, ZeroDivisionError):
            said = "a size or a number of heads is 0"
        raise kind(
            f"{source}: {config_class.__name__} does not take these settings: {said or type(error).__name__}"
        ) from error


def _without_timm(
    config: Any,
    config_class: Any,
    fields: dict[str, Any],
    source: str,
    settings: Mapping[str, Any],
    notes: list[str],
) -> Any:
    """A ResNet backbone that timm would build is built from transformers where timm is not installed."""
    import importlib.util

    backbone = getattr(config, "backbone_config", None)
    if getattr(backbone, "model_type", None) != "timm_backbone" or importlib.util.find_spec("timm"):
        return config
    named = str(getattr(backbone, "backbone", ""))
    resnet = _RESNETS.get(named.split(".")[0])
    if resnet is None:
        raise ModelError(
            f"{source}: its backbone {named!r} is built by timm, which is not installed; pip install timm, or "
            'give another backbone: --set backbone_config=\'{"model_type": "resnet"}\''
        )
    kind, depths = resnet
    widths = [256, 512, 1024, 2048] if kind == "bottleneck" else [64, 128, 256, 512]
    replaced = {
        key: value
        for key, value in fields.items()
        if key not in ("backbone", "backbone_kwargs", "use_pretrained_backbone")
    }
    replaced["use_timm_backbone"] = False
    replaced["backbone_config"] = {
        "model_type": "resnet",
        "layer_type": kind,
        "depths": depths,
        "hidden_sizes": widths,
        "num_channels": getattr(backbone, "num_channels", 3),
        "out_features": ["stage4"],
    }
    notes.append(
        f"the backbone {named} of timm is built as transformers' ResNet, which has the same convolutions"
    )
    return _construct(config_class, replaced, source, settings)


_RESNETS = {
    "resnet18": ("basic", [2, 2, 2, 2]),
    "resnet34": ("basic", [3, 4, 6, 3]),
    "resnet50": ("bottleneck", [3, 4, 6, 3]),
    "resnet101": ("bottleneck", [3, 4, 23, 3]),
    "resnet152": ("bottleneck", [3, 8, 36, 3]),
}
