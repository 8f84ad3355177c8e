"""Power logs that other tools wrote: nvidia-smi's CSV, etrace2, PCAT, wall meters, and plain `time_s,power_w`."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np

from energy_opt.errors import MeterError
from energy_opt.measure.meters.meter import Boundary
from energy_opt.measure.meters.trace import Trace

# What a column must be called, without its unit and in lower case; the first that is there is taken.
_TIME = ("time_s", "timestamp", "elapsed time", "elapsed", "time", "date", "datetime", "epoch")
_POWER = (
    "power_w", "power.draw.instant", "power.draw", "power.draw.average", "gpu board power", "total power",
    "apparent power", "active power", "watts", "power", "w",
)  # fmt: skip
_TIME_UNITS = {
    "s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "milliseconds": 1e-3, "us": 1e-6, "ns": 1e-9,
}  # fmt: skip
_POWER_UNITS = {"w": 1.0, "watt": 1.0, "watts": 1.0, "mw": 1e-3, "kw": 1e3}
_ABSENT = {"", "n/a", "[n/a]", "[not supported]", "[unknown error]", "nan", "-", "not supported"}
_DATES = ("%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S")
_GPU = ("index", "uuid", "gpu_uuid", "pci.bus_id", "gpu_bus_id")
EPOCH_FROM = 1e8
"""Seconds above this are taken to count from 1970: no log runs for three years."""


@dataclass(frozen=True)
class _Column:
    at: int
    name: str
    scale: float


def read_log(
    path: str | Path,
    *,
    boundary: Boundary | None = None,
    gpu: str | int | None = None,
    start_s: float | None = None,
    max_bytes: int = 1 << 30,
) -> Trace:
    """A power log as a trace.

    Times are seconds since 1970 where the log says the date (in local time, unless it names a zone).
    `boundary` is what the logger saw; nvidia-smi and PCAT see the `board`, etrace2 the `package`, and for anything else
    it has to be given (`system` for a wall meter). `gpu` chooses among several in one log, by index, UUID or bus id.
    `start_s` dates a log that counts from its own start. Rows without a number are left out, and said so.

    Raises:
        MeterError: the file cannot be read, or is no power log, or it does not say what it must.
    """
    path = Path(path)
    try:
        if path.stat().st_size > max_bytes:
            raise MeterError(
                f"{path}: {path.stat().st_size} bytes; power logs of up to {max_bytes} are read"
            )
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise MeterError(f"{path}: cannot be read ({error.strerror})") from None
    lines = [line for line in lines if line.strip()]
    if any(line.startswith(("# ETRACE2", "# ELAPSED=")) for line in lines[:50]):
        trace = _etrace2(str(path), lines, boundary)
    else:
        trace = _table(str(path), lines, boundary, gpu)
    if start_s is None:
        return trace
    if trace.dated:
        raise MeterError(
            f"{path}: the log is dated itself; give an offset between the clocks, not a start"
        )
    return Trace(
        trace.time_s - trace.start_s + start_s, trace.power_w, trace.boundary, trace.source,
        trace.averaging_s, trace.update_s, True, trace.notes,
    )  # fmt: skip


def _etrace2(source: str, lines: Sequence[str], boundary: Boundary | None) -> Trace:
    """`etrace2 -i SECONDS`: rows of elapsed seconds and W, comments behind `#`; it reads RAPL, so of the package."""
    rows = []
    for line in lines:
        parts = line.split()
        try:
            rows.append((float(parts[0]), float(parts[1])))
        except (ValueError, IndexError):
            continue  # the traced program's own output stands between the rows
    if len(rows) < 2:
        raise MeterError(
            f"{source}: etrace2 logged {len(rows)} rows of power; run it with an interval: etrace2 -i 0.1 PROGRAM"
        )
    times, powers = np.array(rows).T
    # A row is the mean power since the row before.
    return Trace(times, powers, boundary or "package", source, notes=("etrace2",))


def _table(
    source: str, lines: Sequence[str], boundary: Boundary | None, gpu: str | int | None
) -> Trace:
    lines = [line for line in lines if not line.startswith("#")]
    if len(lines) < 3:
        raise MeterError(f"{source}: {len(lines)} lines; a power log has a header and at least 2 rows")  # fmt: skip
    delimiter = max(",;\t", key=lines[0].count)
    rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    header, rows = [name.strip() for name in rows[0]], rows[1:]
    time = _column(source, header, _TIME, _TIME_UNITS, "time")
    power = _column(source, header, _POWER, _POWER_UNITS, "power")
    notes: list[str] = []
    rows = _one_gpu(source, header, rows, gpu, time)
    seconds, watts, dated, absent = _numbers(source, rows, time, power)
    if absent:
        notes.append(f"{absent} of {len(rows)} rows have no power and are left out")
    repeated = [at for at in range(1, len(seconds)) if seconds[at] == seconds[at - 1]]
    if repeated:
        notes.append(f"{len(repeated)} rows repeat the time of the row before and are left out")
        seconds, watts = np.delete(seconds, repeated), np.delete(watts, repeated)
    if boundary is None:
        boundary = _known_boundary(source, power.name)
    return Trace(seconds, watts, boundary, source, 0.0, 0.0, dated, tuple(notes))


def _column(
    source: str, header: Sequence[str], names: Sequence[str], units: dict[str, float], what: str
) -> _Column:
    found = []
    for at, title in enumerate(header):
        match = re.fullmatch(r"(.*?)\s*(?:[\[(]\s*(\S*?)\s*[\])])?", title.strip().lower())
        assert match is not None
        name, unit = match[1], match[2] or ""
        if not unit and name.rpartition("_")[2] in units and name not in names:
            name, _, unit = name.rpartition("_")
        if name in names:
            found.append((names.index(name), _Column(at, name, units.get(unit, 1.0))))
            if unit and unit not in units:
                raise MeterError(
                    f"{source}: column {title!r} has unit {unit!r}; {what} comes in {', '.join(units)}"
                )
    if not found:
        raise MeterError(
            f"{source}: no column of {what} among {', '.join(header)[:200]}; name one "
            f"{names[0]!r} (known names: {', '.join(names)})"
        )
    return min(found, key=lambda pair: pair[0])[1]


def _one_gpu(
    source: str,
    header: Sequence[str],
    rows: list[list[str]],
    gpu: str | int | None,
    time: _Column,
) -> list[list[str]]:
    """The rows of one GPU where several are interleaved."""
    at = next((header.index(name) for name in _GPU if name in header), None)
    if at is None:
        times = [row[time.at] for row in rows if len(row) > time.at]
        doubled = sum(a == b for a, b in pairwise(times))
        if gpu is None and doubled > len(times) / 3:
            raise MeterError(
                f"{source}: most times occur more than once, as where several GPUs are logged together; log with "
                "--query-gpu=timestamp,index,power.draw, or one GPU with -i"
            )
        return rows
    there = dict.fromkeys(row[at].strip() for row in rows if len(row) > at)
    wanted = str(gpu) if gpu is not None else next(iter(there))
    if (gpu is None and len(there) > 1) or wanted not in there:
        raise MeterError(
            f"{source}: the log is of GPUs {', '.join(there)}; say which one (gpu=...)"
        )
    return [row for row in rows if len(row) > at and row[at].strip() == wanted]


def _numbers(
    source: str, rows: Sequence[Sequence[str]], time: _Column, power: _Column
) -> tuple[np.ndarray, np.ndarray, bool, int]:
    seconds, watts, absent, dated = [], [], 0, False
    for number, row in enumerate(rows, start=2):
        if len(row) <= max(time.at, power.at):
            absent += 1  # the last line of a log that is still being written
            continue
        if row[power.at].strip().lower() in _ABSENT or row[time.at].strip().lower() in _ABSENT:
            absent += 1
            continue
        value, dated = _seconds(source, number, row[time.at].strip(), time.scale)
        seconds.append(value)
        watts.append(_watts(source, number, row[power.at].strip(), power.scale))
    if len(seconds) < 2:
        raise MeterError(f"{source}: {len(seconds)} rows with a time and a power; at least 2 are needed")  # fmt: skip
    return np.array(seconds), np.array(watts), dated, absent


def _seconds(source: str, number: int, text: str, scale: float) -> tuple[float, bool]:
    try:
        value = float(text) * scale
    except ValueError:
        return _date_s(source, number, text), True
    return value, value > EPOCH_FROM


def _date_s(source: str, number: int, text: str) -> float:
    clock = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", text)
    if clock:  # hours, minutes, seconds since the log began
        hours, minutes, seconds = clock.groups()
        return timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds)).total_seconds()  # fmt: skip
    for form in _DATES:
        try:
            return datetime.strptime(text, form).timestamp()
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise MeterError(
            f"{source}, row {number}: {text!r} is no time; seconds, or a date such as 2026/01/31 12:00:00.123"
        ) from None


def _watts(source: str, number: int, text: str, scale: float) -> float:
    value, _, unit = text.partition(" ")
    unit = unit.strip().lower()
    if unit and unit not in _POWER_UNITS:
        raise MeterError(f"{source}, row {number}: {text!r} is no power in W")
    try:
        return float(value) * (_POWER_UNITS[unit] if unit else scale)
    except ValueError:
        raise MeterError(f"{source}, row {number}: {text!r} is no power in W") from None


def _known_boundary(source: str, power: str) -> Boundary:
    if power.startswith("power.draw") or power == "gpu board power":
        return "board"
    raise MeterError(
        f"{source}: the log does not say what it is the power of; give the boundary: system for a wall meter, board "
        "for one on the card's supply, package for the processor"
    )
