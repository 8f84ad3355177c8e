"""Traces that other tools have recorded: PyTorch's profiler, Nsight Systems."""

from __future__ import annotations

import os
from pathlib import Path

from energy_opt.errors import UsageError
from energy_opt.measure.traces.recorded import MOST_BYTES, Piece, Recorded, Scope

__all__ = ["Piece", "Recorded", "Scope", "read_trace"]

_SQLITE = b"SQLite format 3\0"
_HOW = (
    "give a PyTorch profiler trace (export_chrome_trace, .json or .json.gz), an Nsight Systems export "
    "(nsys export --type sqlite), or `nsys stats --format csv --report cuda_gpu_kern_sum`"
)


def read_trace(path: str | os.PathLike[str]) -> Recorded:
    """The trace in a file, whichever of the kinds it is.

    Raises:
        UsageError: it cannot be read, is too large, or is none of them.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(4096)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror or error}") from error
    if head.startswith(_SQLITE):
        from energy_opt.measure.traces import nsys

        return nsys.read_sqlite(file)
    if size > MOST_BYTES:
        raise UsageError(
            f"{file}: {size / 1e9:.1f} GB, and traces are read whole up to {MOST_BYTES / 1e9:.1f} GB; record fewer "
            "steps (torch.profiler.schedule)"
        )
    if head.startswith(b"\x1f\x8b") or head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        from energy_opt.measure.traces import chrome

        return chrome.read(file)
    if file.suffix.lower() in (".nsys-rep", ".qdrep"):
        raise UsageError(
            f"{file}: a report of Nsight Systems; export it first: nsys export --type sqlite {file.name}"
        )
    if b"Total Time" in head:
        from energy_opt.measure.traces import nsys

        return nsys.read_csv(file)
    raise UsageError(f"{file}: no trace that is known; {_HOW}")
