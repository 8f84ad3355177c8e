"""Nsight Systems: the SQLite export, and the CSV of `nsys stats --report cuda_gpu_kern_sum`.

A kernel names the launch that it came from (correlationId, unique in a process); the launch lies within NVTX ranges of
its thread, which `torch.autograd.profiler.emit_nvtx(record_shapes=True)` writes for every operator, and a person for
modules. Times are in nanoseconds.

Source: NVIDIA, "SQLite Export Schema Reference" of Nsight Systems.
"""

from __future__ import annotations

import contextlib
import csv
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from energy_opt.errors import UsageError
from energy_opt.measure.traces.nesting import Role, Span, walk
from energy_opt.measure.traces.recorded import Piece, Recorded, Scope

_NS = 1e-9
_PROCESS = 24  # a global id holds the process above the thread's 24 bits
_PUSH_POP, _START_END = 59, 60
_OP = re.compile(r"(?P<op>\w+::\w+)(?:,.*?sizes = (?P<sizes>\[.*\]))?.*", re.DOTALL)
_STEP = re.compile(r"(ProfilerStep#|iter(ation)?|step)[ _#:]*\d+", re.IGNORECASE)
_SHAPE = re.compile(r"\[(\d+(?:, \d+)*)\]")
_COPIES = {"CUPTI_ACTIVITY_KIND_MEMCPY": "[memcpy]", "CUPTI_ACTIVITY_KIND_MEMSET": "[memset]"}
_KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"


def read_sqlite(path: Path) -> Recorded:
    """The trace in a file of `nsys export --type sqlite`.

    Raises:
        UsageError: it cannot be read, or holds no kernels.
    """
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as base:
            return _Export(path, base).read()
    except sqlite3.Error as error:
        raise UsageError(
            f"{path}: cannot be read as an export of Nsight Systems: {error}"
        ) from error


def read_csv(path: Path) -> Recorded:
    """Kernels by name from a CSV of `nsys stats`: seconds, and no operators.

    Raises:
        UsageError: the columns are not there.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    # `nsys stats` says what it does before the table.
    first = next(
        (i for i, line in enumerate(lines) if "Total Time" in line and "Name" in line), None
    )
    if first is None:
        raise UsageError(
            f"{path}: no columns 'Total Time (ns)' and 'Name'; write it with "
            "nsys stats --format csv --report cuda_gpu_kern_sum"
        )
    table = csv.DictReader(lines[first:])
    total = next(name for name in table.fieldnames or () if name.startswith("Total Time"))
    unit = {"(ns)": 1e-9, "(us)": 1e-6, "(ms)": 1e-3, "(s)": 1.0}.get(total.rpartition(" ")[2], _NS)
    trace = Recorded(str(path), "cuda")
    for row in table:
        with contextlib.suppress(TypeError, ValueError):
            trace.pieces.append(Piece(row["Name"] or "", unit * float(row[total].replace(",", ""))))
    if not trace.pieces:
        raise UsageError(f"{path}: the table of kernels is empty")
    trace.notes.append(
        "a summary by kernel: nothing in it says which operator or module a kernel belongs to"
    )
    return trace


class _Export:
    """One SQLite export. Tables are only there where something was recorded."""

    def __init__(self, path: Path, base: sqlite3.Connection) -> None:
        self.path, self.base = path, base
        self.tables = {
            name for (name,) in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        self.strings: dict[int, str] = (
            dict(self._rows("SELECT id, value FROM StringIds"))
            if "StringIds" in self.tables
            else {}
        )

    def read(self) -> Recorded:
        if _KERNELS not in self.tables:
            raise UsageError(
                f"{self.path}: an SQLite file without {_KERNELS}; record with nsys profile --trace=cuda,nvtx "
                "and export that"
            )
        found = walk(list(self._threads().values()))
        trace = Recorded(str(self.path), "cuda", iterations=len(found.steps))
        spans = []
        for name, start, end, key in self._kernels():
            if found.steps and key not in found.launched_in_step:
                continue
            call = found.by_launch.get(key)
            piece = Piece(name, _NS * (end - start))
            if call is not None:
                piece.op, piece.call, piece.scopes, piece.shapes = (
                    call.op,
                    call.index,
                    call.scopes,
                    call.shapes,
                )
            trace.pieces.append(piece)
            spans.append((start, end))
        if not spans:
            raise UsageError(f"{self.path}: no kernels in it")
        trace.wall_s = _NS * (max(end for _, end in spans) - min(start for start, _ in spans))
        if found.steps:
            trace.wall_s = sum(step.end_s - step.start_s for step in found.steps)
        if not found.by_id and not found.calls:
            trace.notes.append(
                "no NVTX range names an operator: run the model inside torch.autograd.profiler.emit_nvtx("
                "record_shapes=True), and record with --trace=cuda,nvtx"
            )
        return trace

    def _kernels(self) -> Iterator[tuple[str, int, int, int]]:
        """(name, start, end, key) of every kernel and copy."""
        columns = self._columns(_KERNELS)
        name = "demangledName" if "demangledName" in columns else "shortName"
        pid = "globalPid" if "globalPid" in columns else "0"
        query = f"SELECT {name}, start, end, correlationId, {pid} FROM {_KERNELS} ORDER BY start"
        for label, start, end, correlation, process in self._rows(query):
            yield str(self.strings.get(label, label)), start, end, _key(process, correlation)
        for table, label in _COPIES.items():
            if table in self.tables:
                pid = "globalPid" if "globalPid" in self._columns(table) else "0"
                for start, end, correlation, process in self._rows(
                    f"SELECT start, end, correlationId, {pid} FROM {table}"
                ):
                    yield label, start, end, _key(process, correlation)

    def _threads(self) -> dict[int, list[Span]]:
        """Launches and ranges by thread."""
        threads: defaultdict[int, list[Span]] = defaultdict(list)
        processes = "globalPid" in self._columns(_KERNELS)
        table = "CUPTI_ACTIVITY_KIND_RUNTIME"
        if table in self.tables:
            for start, end, correlation, thread in self._rows(
                f"SELECT start, end, correlationId, globalTid FROM {table}"
            ):
                key = _key(thread if processes else 0, correlation)
                threads[thread].append(Span("launch", "", _NS * start, _NS * end, key))
        if "NVTX_EVENTS" in self.tables:
            has_ids = "textId" in self._columns("NVTX_EVENTS")
            text_id = "textId" if has_ids else "NULL"
            query = (
                f"SELECT start, end, text, {text_id}, globalTid FROM NVTX_EVENTS "
                f"WHERE eventType IN ({_PUSH_POP}, {_START_END}) AND end IS NOT NULL"
            )
            for start, end, text, label, thread in self._rows(query):
                said = text if text is not None else self.strings.get(label, "")
                threads[thread].append(_range(str(said), _NS * start, _NS * end))
        return threads

    def _columns(self, table: str) -> set[str]:
        return {row[1] for row in self._rows(f"PRAGMA table_info({table})")}

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.base.execute(query).fetchall()


def _range(text: str, start_s: float, end_s: float) -> Span:
    if _STEP.fullmatch(text):
        return Span("step", text, start_s, end_s)
    match = _OP.fullmatch(text)
    role: Role = "op" if match else "module"
    if match is None:
        return Span(role, text, start_s, end_s, scope=Scope(text, text))
    sizes = match["sizes"] or ""
    shapes = tuple(tuple(map(int, found.split(", "))) for found in _SHAPE.findall(sizes))
    return Span(role, match["op"], start_s, end_s, shapes=shapes)


def _key(process: int, correlation: int) -> int:
    """One number for a correlation id and the process that it counts in."""
    return ((process >> _PROCESS) & 0xFFFFFF) << 40 | int(correlation)
