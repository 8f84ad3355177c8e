"""`--set KEY=VALUE`: values typed by the config's own fields, keys refused that it does not have."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Mapping
from typing import Any

from energy_opt.errors import UsageError

# What every config takes without declaring it as a field.
_EVERYWHERE: dict[str, tuple[type, ...]] = {
    "architectures": (list,),
    "attn_implementation": (str,),
    "experts_implementation": (str,),
    "dtype": (str,),
    "num_labels": (int,),
}
# Settings that a class takes without a field of that name, by the field that shows it.
_WITH: dict[str, dict[str, tuple[type, ...]]] = {
    "conv_stride": {"samples": (int,)},  # of a model of raw audio: the length of its example
    "backbone_config": {"backbone": (str,), "use_timm_backbone": (bool,)},
    "num_channels": {
        "image_size": (int, list)
    },  # a network that takes any: the size of its example image
    "rope_parameters": {"rope_theta": (float, int), "rope_scaling": (dict,)},
}
_RENAMED = {"torch_dtype": "dtype", "_attn_implementation": "attn_implementation"}
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list in JSON, such as [1, 2]",
    dict: 'an object in JSON, such as {"a": 1}',
}
_DTYPES = {"fp32": "float32", "fp16": "float16", "half": "float16", "bf16": "bfloat16"}
_OF_INPUTS = frozenset("batch seq decoder_seq samples frames height width".split())
_BOOLS = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}


def apply(fields: dict[str, Any], settings: Mapping[str, Any], config_class: Any) -> dict[str, Any]:
    """The fields with the settings in them; `text_config.hidden_size` sets a field of a nested config.

    Raises:
        UsageError: a key that the config does not have, or a value that its field cannot take.
    """
    changed = dict(fields)
    for key, value in settings.items():
        if not key or not all(key.split(".")):
            raise UsageError(f"--set {key}: a name is missing; write --set KEY=VALUE")
        _set(changed, key, key.split("."), value, config_class)
    return changed


def _set(fields: dict[str, Any], key: str, path: list[str], value: Any, config_class: Any) -> None:
    name = _RENAMED.get(path[0], path[0])
    name = getattr(config_class, "attribute_map", {}).get(name, name)
    known = field_types(config_class)
    if name not in known and name not in fields:
        raise UsageError(_unknown(key, path[0], known, fields, config_class))
    if len(path) == 1:
        allowed = known.get(name, ())
        fields[name] = _typed(key, _spelt(name, value), allowed)
        _forget_alias(fields, name, config_class)
        return
    inner = fields.get(name)
    inner_class = nested_class(config_class, name, inner)
    if inner_class is None and not isinstance(inner, dict) and dict not in known.get(name, ()):
        raise UsageError(
            f"--set {key}: {path[0]} of {config_class.__name__} holds no config of its own"
        )
    inner = dict(inner) if isinstance(inner, dict) else _nested_defaults(config_class, name)
    fields[name] = inner
    if inner_class is None:  # a plain dictionary, such as rope_parameters
        inner[".".join(path[1:])] = _typed(key, value, ())
    else:
        _set(inner, key, path[1:], value, inner_class)


def _spelt(name: str, value: Any) -> Any:
    """Common spellings of a value: dtype=bf16, one class in `architectures`."""
    text = str(value).strip().removeprefix("torch.")
    if name == "dtype":
        return _DTYPES.get(text, text)
    if name == "architectures" and isinstance(value, str) and text.isidentifier():
        return [text]
    return value


def _forget_alias(fields: dict[str, Any], name: str, config_class: Any) -> None:
    # A config file may state one field under both of its names; the setting has to win.
    for alias, native in getattr(config_class, "attribute_map", {}).items():
        if native == name and alias != name:
            fields.pop(alias, None)
    if name == "dtype":
        fields.pop("torch_dtype", None)
    if name == "num_labels":
        fields.pop("id2label", None)
        fields.pop("label2id", None)


def field_types(config_class: Any) -> dict[str, tuple[type, ...]]:
    """The fields of a config class and the Python types that each takes; () where anything goes."""
    if not dataclasses.is_dataclass(config_class):
        return {**dict.fromkeys(vars(config_class()), ()), **_EVERYWHERE}
    found = {
        field.name: _accepted(field.type)
        for field in dataclasses.fields(config_class)
        if not field.name.startswith("_")
    }
    more = {
        key: kinds for shown, each in _WITH.items() if shown in found for key, kinds in each.items()
    }
    return {**found, **{k: v for k, v in more.items() if k not in found}, **_EVERYWHERE}


def _accepted(hint: Any) -> tuple[type, ...]:
    """The types in an annotation that a setting can have; () if there is one that it cannot tell."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        each = [_accepted(part) for part in typing.get_args(hint)]
        return () if () in each else tuple(dict.fromkeys(sum(each, ())))
    if origin is typing.Literal:
        return tuple(dict.fromkeys(type(value) for value in typing.get_args(hint)))
    base = origin or hint
    if typing.is_typeddict(base):
        return (dict,)
    if base in (list, tuple):
        return (list,)
    if base in (bool, int, float, str, dict, type(None)):
        return (base,)
    # A nested config is given as an object; whatever else there is (torch.dtype) is given as text.
    return (dict,) if hasattr(base, "model_type") else ()


def _typed(key: str, value: Any, allowed: tuple[type, ...]) -> Any:
    if not isinstance(value, str):
        return list(value) if isinstance(value, tuple) else value
    text = value.strip()
    if bool in allowed and text.lower() in _BOOLS:
        return _BOOLS[text.lower()]
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = None if text.lower() in ("none", "null") else text
    if not allowed:
        return {"true": True, "false": False}.get(text.lower(), read)
    if read is None and (type(None) in allowed or text.lower() == "null"):
        return None
    if type(read) in allowed and not isinstance(read, str):
        return read
    if float in allowed and type(read) is int:
        return float(read)
    if int in allowed and type(read) is float and read.is_integer():
        return int(read)
    if str in allowed:
        return text if read is None or not isinstance(read, str) else read
    words = " or ".join(_WORDS[each] for each in allowed if each in _WORDS)
    raise UsageError(f"--set {key}: takes {words}, not {text!r}")


def nested_class(config_class: Any, name: str, inner: Any) -> Any:
    """The class of a nested config, or None if the field holds none."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    found = getattr(config_class, "sub_configs", {}).get(name)
    stated = inner.get("model_type") if isinstance(inner, dict) else None
    if found is not None and hasattr(found, "model_type"):
        return found
    if isinstance(stated, str) and stated in CONFIG_MAPPING:
        return CONFIG_MAPPING[stated]
    named = getattr(getattr(config_class, "sub_configs_defaults", {}).get(name), "model_type", None)
    if named not in CONFIG_MAPPING:  # as nougat names its encoder
        return None
    return CONFIG_MAPPING[named]


def _nested_defaults(config_class: Any, name: str) -> dict[str, Any]:
    """What a nested config starts from that the file does not state: the outer class's own defaults for it."""
    spec = getattr(config_class, "sub_configs_defaults", {}).get(name)
    if spec is None:
        return {}
    named = {"model_type": spec.model_type} if spec.model_type else {}
    return {**named, **spec.init_kwargs}


def _unknown(
    key: str, name: str, known: Mapping[str, Any], fields: Mapping[str, Any], config_class: Any
) -> str:
    aliases = getattr(config_class, "attribute_map", {})
    names = sorted({*known, *aliases, *(each for each in fields if not each.startswith("_"))})
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    text = f"--set {key}: {config_class.__name__} has no {name!r}"
    inside = [
        f"{nested}.{name}"
        for nested in getattr(config_class, "sub_configs", {})
        if (inner := nested_class(config_class, nested, fields.get(nested))) is not None
        and (name in field_types(inner) or name in inner.attribute_map)
    ]
    if inside:
        return f"{text}, but there is {' and '.join(inside)}"
    if name in _OF_INPUTS:
        return f"{text}: a size of the input is no setting; give it as --dim {name}=N"
    if near:
        return f"{text}; did you mean {', '.join(near)}?"
    sizes = [
        each
        for each, kinds in known.items()
        if int in kinds
        and not {bool, float} & {*kinds}
        and each not in _EVERYWHERE
        and "_id" not in each
    ]
    return f"{text}; its sizes are {', '.join(sizes[:24])}"
