"""The log of a calibration: one JSON line per visit, so that a killed run goes on where it was and a fit can be redone.

The first line says what is calibrated and in which order. A line is handed to the operating system at once, which a
kill of the process cannot undo, and forced to disk at least once a second, which is all that a power cut can undo.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from energy_opt.errors import CalibrationError
from energy_opt.files import unwritable

SCHEMA = "energy-opt/calibration-log/1"
_SYNC_EVERY_S = 1.0
_SAYS = {
    "schema": "it was written in another format",
    "target": "it is of another target",
    "device": "it is of another device",
    "runtime": "it is of another runtime",
    "seed": "it was drawn with another seed",
    "schedule": "it times other primitives, or in another order",
    "versions": "it was made with other versions",
}

Line = dict[str, Any]


class Checkpoint:
    """An append-only log, open for writing and locked against a second writer."""

    def __init__(self, path: Path, file: IO[bytes], header: Line, lines: list[Line]) -> None:
        self.path = path
        self.header = header
        self.lines = lines
        self._file = file
        self._synced_s = time.monotonic()

    @staticmethod
    def open(path: Path, header: Mapping[str, Any], *, fresh: bool = False) -> Checkpoint:
        """The log at `path` with what it already holds, or a new one; `fresh` throws away what is there.

        A last line that was cut off by a kill is dropped.

        Raises:
            CalibrationError: the log belongs to another calibration (it says in what they differ), it is damaged
                elsewhere than in its last line, or another process is writing it.
            OutputError: it cannot be written.
        """
        wanted: Line = json.loads(json.dumps({"schema": SCHEMA, **header}))
        try:
            file = open(path, "a+b")  # noqa: SIM115 - stays open for as long as the calibration runs
        except OSError as error:
            raise unwritable(path, error) from None
        try:
            _lock(file, path)
            if fresh:
                file.truncate(0)
            had, lines, whole = _parse(path, file)
            if had is not None:
                _same(path, had, wanted)
                file.truncate(whole)
        except BaseException:
            file.close()
            raise
        checkpoint = Checkpoint(path, file, had or wanted, lines)
        if had is None:
            file.truncate(0)
            checkpoint._write(wanted)
            checkpoint.sync()
        return checkpoint

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line; once this returns, killing the process does not lose it. Raises OutputError."""
        kept = json.loads(self._write(line))
        self.lines.append(kept)
        if time.monotonic() - self._synced_s >= _SYNC_EVERY_S:
            self.sync()

    def sync(self) -> None:
        """Force what was written to disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from None
        self._synced_s = time.monotonic()

    def close(self) -> None:
        """Force to disk and let others write."""
        if not self._file.closed:
            self.sync()
            self._file.close()

    def _write(self, line: Mapping[str, Any]) -> bytes:
        data = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise unwritable(self.path, error) from None
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read(path: str | Path) -> tuple[Line, list[Line]]:
    """Header and lines of a log, `.gz` or not; a last line that was cut off is left out.

    Raises:
        CalibrationError: it cannot be read, or it is no such log.
    """
    import gzip

    path = Path(path)
    try:
        data = path.read_bytes()
        whole = gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError) as error:
        raise CalibrationError(f"{path}: cannot be read: {error}") from error
    header, lines, _ = _parse(path, io.BytesIO(whole))
    if header is None:
        raise CalibrationError(f"{path}: empty; a log of a calibration is needed")
    return header, lines


def _parse(path: Path, file: IO[bytes]) -> tuple[Line | None, list[Line], int]:
    """Header, lines, and up to which byte the file is whole."""
    file.seek(0)
    header: Line | None = None
    lines: list[Line] = []
    whole = 0
    for number, data in _whole_lines(file):
        line = _line(path, number, data)
        if header is not None:
            lines.append(line)
        elif str(line.get("schema", "")).startswith("energy-opt/calibration-log/"):
            header = line
        else:
            raise CalibrationError(
                f"{path}: not a log of a calibration; choose another output or remove it"
            )
        whole += len(data)
    return header, lines, whole


def _whole_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, data in enumerate(file, start=1):
        if data.endswith(b"\n"):
            yield number, data


def _line(path: Path, number: int, data: bytes) -> Line:
    try:
        line = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CalibrationError(f"{path}, line {number}: damaged ({error}); start afresh") from error
    if not isinstance(line, dict):
        raise CalibrationError(f"{path}, line {number}: not a JSON object; start afresh")
    return line


def _same(path: Path, had: Line, wanted: Line) -> None:
    """Raises CalibrationError where a log belongs to another calibration than the one that is to go on."""
    for name in _SAYS:
        if had.get(name) != wanted.get(name):
            raise CalibrationError(
                f"{path}: a calibration was begun there that cannot be resumed: {_SAYS[name]} "
                f"({_short(had.get(name))}, now {_short(wanted.get(name))}); "
                "start afresh (--fresh) or choose another output"
            )


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return str(value)


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two writers are not told apart there
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise CalibrationError(f"{path}: another calibration is writing it; wait for it") from None
