"""A model file without its weights: small enough to mail, and all that an analysis needs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energy_opt.errors import OutputError
from energy_opt.files import unwritable, write_whole
from energy_opt.frontend.rewrite import OMITTED, STRIPPED, Keep, WeightPlace
from energy_opt.frontend.wire import is_omitted, read_model

if TYPE_CHECKING:
    import onnx

__all__ = ["Stripped", "strip"]

_INT32, _INT64, _BOOL = 6, 7, 9  # TensorProto.DataType

# What decides shapes stays: shapes themselves, and up to 8 floats (the scales of a Resize). Eight
# values of a bias stay with them; nobody rebuilds a network from those.
_SHAPES: Final = Keep(default_bytes=32, by_type={_INT32: 256, _INT64: 32 * 1024, _BOOL: 1024})
_MOST_FLOATS: Final = 8
_KEPT_METADATA: Final = frozenset(
    {"namespace", "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"}
)
_LONG_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Stripped:
    """What `strip` did: tensors whose values went, bytes of the source, bytes of the target."""

    tensors: int
    source_bytes: int
    target_bytes: int


def strip(source: str | Path, target: str | Path) -> Stripped:
    """Write a copy of an ONNX model without weights; says how many tensors went, and sizes in bytes.

    Names, types and shapes of tensors stay, their values go: the tensor is marked as external data
    at `stripped-by-energy-opt`, so any ONNX tool opens the graph as long as it does not load weights
    (`onnx.load(path, load_external_data=False)`). Constants that decide shapes are kept, long float
    attributes become zeros, and doc strings, stack traces and other long metadata go too, module
    scopes excepted. The target appears whole or not at all.

    Raises: ModelError if the source is no model, OutputError if the target cannot be written.
    """
    _require_target(source, target)
    model, places = read_model(source, keep=_SHAPES)
    for tensor in _clean(model):
        place = places[tensor.external_data[0].value]
        del tensor.external_data[:]
        _add_entry(tensor, "location", STRIPPED)
        if (length := _payload_bytes(place)) is not None:
            _add_entry(tensor, "length", str(length))
    data: bytes = model.SerializeToString(deterministic=True)
    write_whole(target, data)
    return Stripped(len(places), os.path.getsize(source), len(data))


def _payload_bytes(place: WeightPlace) -> int | None:
    return place.length if place.field in ("raw_data", "external", "stripped") else None


def _add_entry(tensor: onnx.TensorProto, key: str, value: str) -> None:
    entry = tensor.external_data.add()
    entry.key = key
    entry.value = value


def _clean(message: Any) -> Iterator[onnx.TensorProto]:
    """Drop prose and long float attributes below a message; the tensors in it that have no values."""
    for field, value in message.ListFields():
        if field.name == "doc_string":
            message.ClearField("doc_string")
        elif field.name == "metadata_props":
            kept = [entry for entry in value if _is_kept(entry)]
            if len(kept) < len(value):
                del message.metadata_props[:]
                message.metadata_props.extend(kept)
        elif field.name == "floats" and len(value) > _MOST_FLOATS:
            message.floats[:] = [0.0] * len(value)
        elif field.name == "s" and value.startswith(OMITTED.encode()):
            message.s = STRIPPED.encode()
        elif field.type == field.TYPE_MESSAGE and field.name != "type":
            repeated = not hasattr(value, "ListFields")
            for inner in value if repeated else [value]:
                yield from _clean(inner)
    if message.DESCRIPTOR.name == "TensorProto" and is_omitted(message):
        yield message


def _is_kept(entry: onnx.StringStringEntryProto) -> bool:
    return entry.key in _KEPT_METADATA or len(entry.key) + len(entry.value) <= _LONG_CHARS


def _require_target(source: str | Path, target: str | Path) -> None:
    """Refuse a target that is the source itself, or no regular file, before any work is done."""
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise unwritable(target, error) from None
    if stat.S_ISDIR(found.st_mode):
        raise OutputError(f"{target}: a directory; name a file in it, such as small.onnx")
    if not stat.S_ISREG(found.st_mode):
        raise OutputError(f"{target}: not a regular file; name a file such as small.onnx")
    try:
        same = os.path.samefile(source, target)
    except (OSError, ValueError):
        return  # reading the source says what is wrong with it
    if same:
        raise OutputError(f"{target}: is the source itself; write the copy to another file")
