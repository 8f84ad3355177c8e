"""An .onnx file as a ModelProto without its weights: untrusted bytes in, a proto or one error out."""

from __future__ import annotations

import difflib
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energy_opt.errors import ModelError
from energy_opt.frontend.proto import Buffer, WireError
from energy_opt.frontend.rewrite import OMITTED, STRIPPED, Keep, Rewriter, WeightPlace
from energy_opt.frontend.sniff import file_type, suspicion

if TYPE_CHECKING:
    import onnx

__all__ = ["READ", "Keep", "WeightPlace", "is_omitted", "read_model"]

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_INT64 = 7  # TensorProto.INT64, the type of every shape in ONNX
_NO_OPSET_NEEDED = 3  # the first IR version in which a model must say its opset

READ: Final = Keep(default_bytes=1024, by_type={_INT64: 32 * 1024})


def read_model(
    path: str | Path, *, keep: Keep = READ
) -> tuple[onnx.ModelProto, dict[str, WeightPlace]]:
    """The model in a file without its large tensors, and their places by what stands in for them.

    Payloads over 1 KiB (int64, which shapes are made of: 32 KiB) stay in the file, and so does every
    tensor that is already external; such a tensor has `data_location` EXTERNAL and one
    `external_data` entry, `location`: a key of the returned places. Nothing that the model names is
    opened or looked for. Exporters' stack traces of large nodes are dropped; strings that are not
    UTF-8 come out with their bytes escaped. Not guarded against: another process that cuts the file
    short meanwhile.

    Raises: ModelError, naming the file, the byte offset where that helps, and what to do.
    """
    name = _shown(path)
    with _mapped(path) as data:
        head = bytes(data[:4096])
        if (known := file_type(head)) is not None:
            raise ModelError(f"{name}: {known}")
        try:
            rewriter = Rewriter(data, os.path.abspath(path), keep)
            model = _parse(rewriter.model(), rewriter)
        except WireError as error:
            raise ModelError(_explain(name, error, len(data), suspicion(head))) from None
        _require_graph(name, model, head)
    return model, rewriter.places


def is_omitted(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's values were left in the file, or were stripped from it."""
    return any(
        entry.key == "location" and (entry.value.startswith(OMITTED) or entry.value == STRIPPED)
        for entry in tensor.external_data
    )


@contextmanager
def _mapped(path: str | Path) -> Iterator[mmap.mmap]:
    """A regular file's bytes, mapped read-only."""
    name = _shown(path)
    try:
        # Opening a pipe or a device can block or act, and neither is a model: look before.
        _require_regular(name, path, os.stat(path).st_mode)
        descriptor = os.open(path, _OPEN_FLAGS)
        try:
            found = os.fstat(descriptor)
            _require_regular(name, path, found.st_mode)
            if found.st_size == 0:
                raise ModelError(f"{name}: the file is empty; download or export the model again")
            mapping = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ModelError(f"{name}: no such file{_similar(path)}") from None
    except PermissionError:
        raise ModelError(f"{name}: you may not read this file; change its permissions") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ModelError(f"{name}: cannot be read ({reason.lower()})") from None
    with mapping:
        yield mapping


def _require_regular(name: str, path: str | Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        with os.scandir(path) as entries:
            models = sorted(_shown(e.name) for e in entries if e.name.endswith(".onnx"))
        inside = f", perhaps {', '.join(models[:3])}" if models else "; there is none in it"
        raise ModelError(f"{name}: a directory; name the .onnx file in it{inside}")
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise ModelError(f"{name}: {kind}, not a regular file; save the model to a file first")


def _similar(path: str | Path) -> str:
    folder, wanted = os.path.split(os.fspath(path))
    try:
        names = sorted(os.listdir(folder or "."))
    except (OSError, ValueError):
        return f"; there is no folder {_shown(folder)} either" if folder else ""
    close = difflib.get_close_matches(str(wanted), names[:2000], n=1, cutoff=0.7)
    return f"; did you mean {_shown(close[0])}?" if close else "; check the path"


def _parse(serialized: bytes, rewriter: Rewriter) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        _strict_model().FromString(serialized)
        all_utf8 = True
    except DecodeError:
        all_utf8 = False
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(serialized)
    except DecodeError:
        _locate_damage(rewriter.data)
        raise WireError(0, "its fields are those of no ONNX model") from None
    if not all_utf8:
        _escape_text(model)
    return model


def _locate_damage(data: Buffer) -> None:
    """Raise WireError where the damage is that protobuf refused, if a closer look finds it."""
    Rewriter(data, "", READ, deep=True).model()


@cache
def _strict_model() -> Any:
    """ModelProto's class as proto3, in which a string that is not UTF-8 is an error.

    In proto2, which onnx is written in, such a string comes out as bytes, and code that expects str
    fails far away. Parsing once more costs a third of a millisecond for bert; looking at every
    string would cost a hundred times that.
    """
    import onnx
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    described = onnx.ModelProto.DESCRIPTOR.file.serialized_pb
    file = descriptor_pb2.FileDescriptorProto.FromString(described)
    file.syntax = "proto3"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    found = pool.FindMessageTypeByName(onnx.ModelProto.DESCRIPTOR.full_name)
    return message_factory.GetMessageClass(found)


def _escape_text(message: Any) -> None:
    """Escape every string that is not UTF-8, in place: byte E9 becomes a backslash and `xe9`."""
    for field, value in message.ListFields():
        repeated = not isinstance(value, str | bytes) and hasattr(value, "__len__")
        if field.type == field.TYPE_MESSAGE:
            for inner in value if repeated else [value]:
                _escape_text(inner)
        elif field.type == field.TYPE_STRING:
            if repeated:
                value[:] = [_text(item) for item in value]
            else:
                setattr(message, field.name, _text(value))


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _explain(name: str, error: WireError, size: int, hint: str | None) -> str:
    if hint is not None:
        return f"{name}: {hint}"
    where = f"byte {error.offset:,} of {size:,}"
    if error.ends_early:
        return (
            f"{name}: cut short, or not an ONNX model: {error.reason}, which starts at {where}; "
            f"download or export it again"
        )
    return (
        f"{name}: not a valid ONNX model: {error.reason}, at {where}; check that this is the .onnx "
        f"file, and download or export it again"
    )


def _require_graph(name: str, model: onnx.ModelProto, head: bytes) -> None:
    """Refuse what is well-formed protobuf and yet no model that could be analysed."""
    if not model.HasField("graph"):
        hint = suspicion(head) or (
            "not an ONNX model, or cut short: it holds no graph; check that this is the .onnx file"
        )
        raise ModelError(f"{name}: {hint}")
    if not model.graph.node:
        raise ModelError(
            f"{name}: its graph has no nodes, so there is nothing to analyse; export it again"
        )
    # Serializers write the opset after the graph: a file cut between them is otherwise well-formed.
    if not model.opset_import and model.ir_version >= _NO_OPSET_NEEDED:
        raise ModelError(
            f"{name}: it does not say which opset it uses, probably cut short after the graph; "
            f"download or export it again"
        )


def _shown(path: str | Path) -> str:
    """A path in one line, its control characters escaped."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)[1:-1]
