"""MODEL as text -> the fields of a transformers config. Nothing is downloaded, and no code of a repository runs."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from energy_opt.errors import ModelError, UsageError

_MOST_BYTES = 64 << 20  # the largest published config is under 1 MB, with its label names
_SPEC = "hf:"
_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_NOT_LOOKED_UP = (
    "nothing is looked up there, there is no network access; download the model's config.json and give its path, "
    "or name the architecture (hf:llama) and --set its sizes"
)


def is_config(text: str) -> bool:
    """Whether MODEL names a config: `hf:NAME`, a .json file, a directory, or what may be a name of the hub."""
    if text.startswith(_SPEC) or text.lower().endswith(".json") or os.path.isdir(text):
        return True
    return _is_hub_name(text)


def _is_hub_name(text: str) -> bool:
    organization, slash, name = text.partition("/")
    if not slash or os.path.exists(text) or os.path.isdir(organization):
        return False
    return bool(_HUB.fullmatch(text)) and not name.lower().endswith(
        (".onnx", ".pt", ".pth", ".bin")
    )


def read(text: str) -> dict[str, Any]:
    """The fields that MODEL states, with its `model_type`: those of its file, or for `hf:NAME` nothing more.

    Raises:
        ModelError: the file cannot be read, is no config, or needs code that is not in transformers.
        UsageError: a name that only the Hugging Face hub knows.
    """
    if not text.startswith(_SPEC):
        if _is_hub_name(text) and not text.lower().endswith(".json"):
            raise ModelError(
                f"{text}: no such file or directory. If it is a model of the Hugging Face hub: {_NOT_LOOKED_UP}"
            )
        return _read_file(text)
    name = text.removeprefix(_SPEC).strip()
    if not name:
        raise UsageError("hf: a name is missing; write hf:NAME, such as hf:bert or hf:llama")
    if os.path.isdir(name) or name.endswith(".json"):
        return _read_file(name)
    if "/" in name:
        raise UsageError(
            f"{text}: a name of the Hugging Face hub. {_NOT_LOOKED_UP[0].upper()}{_NOT_LOOKED_UP[1:]}"
        )
    return {"model_type": name}


def _read_file(text: str) -> dict[str, Any]:
    path = os.path.join(text, "config.json") if os.path.isdir(text) else text
    if path != text and not os.path.exists(path):
        raise ModelError(
            f"{text}: the directory holds no config.json; give the directory of a transformers model, "
            "or the path of an .onnx file"
        )
    fields = _parse(path)
    _check(fields, path)
    return fields


def _parse(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read: {(error.strerror or str(error)).lower()}"
        ) from error
    if len(data) > _MOST_BYTES:
        raise ModelError(f"{path}: larger than {_MOST_BYTES >> 20} MiB, which no config is")
    try:
        fields = json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(
            f"{path}: not valid JSON: {error}; give the config.json of a transformers model"
        ) from error
    if not isinstance(fields, dict):
        raise ModelError(f"{path}: a config is a JSON object, this is a {type(fields).__name__}")
    return fields


def _check(fields: dict[str, Any], path: str) -> None:
    if fields.get("auto_map"):
        named = fields.get("model_type")
        raise ModelError(
            f"{path}: the model is defined by code in its repository (auto_map), which is never run here"
            + (f"; its model_type is {named!r}. " if isinstance(named, str) else ". ")
            + "If transformers has the architecture, delete auto_map from the file; or install the package that "
            "defines the model and give python:package.module:callable; or export it to ONNX"
        )
    if not isinstance(fields.get("model_type"), str) or not fields["model_type"]:
        other = next(
            (key for key in ("_class_name", "ir_version", "schema") if key in fields), None
        )
        raise ModelError(
            f"{path}: not the config of a transformers model: it has no model_type"
            + (f", but {other}" if other else "")
            + '; add one (such as "model_type": "llama") if you know the architecture'
        )
