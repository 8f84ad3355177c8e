"""Tables of measurements: a CSV of kernels with their sizes and seconds to samples that fits are made from, and back.

Docs/calibration.md has the columns.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from energy_opt.calibrate import table_ops
from energy_opt.calibrate.columns import Columns, TableError, load
from energy_opt.calibrate.samples import Array, Samples, concatenate
from energy_opt.calibrate.table_work import work_and_groups
from energy_opt.estimators.work import RowWork
from energy_opt.files import write_whole

__all__ = ["COLUMNS", "TableError", "read", "write"]

LATENCY = {"latency_s": 1.0, "latency_ms": 1e-3, "latency_us": 1e-6}
COUNTS = ("flops", "other_flops", "bytes_read", "bytes_written", "weight_bytes")
_SHARED = ("out_dtype", "groups", "stride", "bias", "causal", "kv_dtype", "topk", "gated", "reads")
_TEXT = ("kind", "op", "dtype", "runtime", "group", "shape", "kernel", "padding", *_SHARED)
_SIZES = sorted({name for kind in table_ops.KIND.values() for name in kind.sizes})
COLUMNS = (
    *_TEXT, *LATENCY, "overhead_s", "energy_j", "power_w", "count", "kernels", *COUNTS, *_SIZES, "elements",
)  # fmt: skip
"""Every column that a table may have, beside `size_...` and `note...`."""

_BIT = {"bias": "0", "causal": "0", "gated": "1"}
_PER_KIND = {"groups": "1", "stride": "1", "topk": "", "reads": "0"}


def read(path: str | Path) -> list[Samples]:
    """The table's executions, by kind, operator, type, runtime and number of kernels.

    Raises:
        TableError: the file is no such table; the message has the line, the column, the value and what is allowed.
    """
    table = load(path, COLUMNS, ("size_", "note"))
    table = Columns(table.path, _with_defaults(table))
    latency_s, energy_j, power_w = _measured(table)
    found: dict[tuple[Any, ...], list[Samples]] = {}
    keys = ["kind", "op", "dtype", "runtime", "kernels", "explicit", *_SHARED]
    places = np.arange(len(table))
    for values, rows in table.frame.assign(place=places).groupby(keys, sort=False):
        cell = dict(zip(keys, values, strict=True))
        place = rows["place"].to_numpy()
        part = Columns(table.path, table.frame.iloc[place])
        work, group = work_and_groups(cell, part)
        samples = Samples(
            cell["kind"], cell["op"], cell["dtype"], cell["runtime"], work, latency_s[place], energy_j[place],
            power_w[place], group, int(cell["kernels"]),
        )  # fmt: skip
        found.setdefault(tuple(values[:5]), []).append(samples)
    return [merge(parts) for parts in found.values()]


def write(samples: Sequence[Samples], path: str | Path) -> None:
    """Write the executions as a table that `read` gives back; compressed where the name ends in `.gz`.

    Raises:
        OutputError: the file cannot be written.
    """
    import pandas as pd

    frames = []
    for part in samples:
        work, size = part.work, len(part)
        columns: dict[str, Any] = {
            "kind": part.kind, "op": part.op, "dtype": part.dtype, "runtime": part.runtime, "group": part.group,
            "kernels": part.kernels, "latency_s": part.latency_s, "energy_j": part.energy_j, "power_w": part.power_w,
            "flops": work.matmul_flops, "other_flops": work.other_flops, "bytes_read": work.bytes_read,
            "bytes_written": work.bytes_written, "weight_bytes": work.weight_bytes,
            **{f"size_{name}": value for name, value in work.sizes.items()},
        }  # fmt: skip
        frames.append(pd.DataFrame({k: np.broadcast_to(v, size) for k, v in columns.items()}))
    text = io.StringIO()
    pd.concat(frames).to_csv(text, index=False, float_format="%.9g")
    data = text.getvalue().encode()
    # Without a time of day in it: the same samples are the same file.
    write_whole(path, gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)


def merge(parts: Sequence[Samples]) -> Samples:
    """Samples of one kind, type and runtime as one; a size that some have not is 0 there."""
    names = sorted({name for part in parts for name in part.work.sizes})
    return concatenate([_with_sizes(part, names) for part in parts])


def _with_sizes(part: Samples, names: Sequence[str]) -> Samples:
    sizes = {n: np.broadcast_to(part.work.sizes.get(n, 0.0), len(part)) for n in names}
    w = part.work
    work = RowWork(
        w.matmul_flops, w.other_flops, w.bytes_read, w.bytes_written, w.weight_bytes, w.count, sizes, ()
    )  # fmt: skip
    return Samples(
        part.kind, part.op, part.dtype, part.runtime, work, part.latency_s, part.energy_j, part.power_w, part.group,
        part.kernels,
    )  # fmt: skip


def _with_defaults(table: Columns) -> Any:
    """The table with every column that rows are told apart by, checked and filled in."""
    frame = table.frame.copy()
    for name in (name for name in (*_SHARED, "kernel", "padding") if name in frame):
        # Spreadsheets and data frames write whole numbers as 1.0, and truths as they like.
        cells = frame[name].str.replace(r"^(\d+)\.0+$", r"\1", regex=True)
        frame[name] = cells.replace({"True": "1", "TRUE": "1", "False": "0", "FALSE": "0"})
    table = Columns(table.path, frame.copy())
    frame["kind"] = table.choices("kind", table_ops.NAMES)
    dtypes = [table_ops.SHORT.get(name.lower(), name.lower()) for name in table.text("dtype")]
    named = Columns(table.path, frame.assign(dtype=dtypes))
    named.choices("dtype", set(table_ops.DTYPES))
    frame["dtype"] = dtypes
    frame["runtime"] = table.choices("runtime", ("", "eager", "graph", "onnxruntime"), "")
    for name in ("out_dtype", "kv_dtype"):
        cells = [table_ops.SHORT.get(cell.lower(), cell.lower()) for cell in table.text(name)]
        named = Columns(table.path, frame.assign(**{name: cells}))
        named.choices(name, {*table_ops.DTYPES, ""}, "")
        frame[name] = cells
    for name, default in _BIT.items():
        frame[name] = table.choices(name, ("0", "1"), default)
    for name, default in _PER_KIND.items():
        frame[name] = table.text(name, default)
    frame["kernels"] = table.numbers("kernels", 1.0, low=1, whole=True).astype(int)
    frame["explicit"] = table.given("bytes_read") | table.given("bytes_written")
    ops = table.text("op")
    default_op = {name: table_ops.kind_of(name) for name in set(frame["kind"])}
    frame["op"] = [
        op or (spec.op if (spec := default_op[kind]) else "")
        for op, kind in zip(ops, frame["kind"], strict=True)
    ]
    # What links do depends on how many share them: each number of ranks is fitted on its own.
    ranks = Columns(table.path, frame).text("ranks")
    collective = (frame["kind"] == "collective").to_numpy() & ~frame["explicit"].to_numpy()
    frame["op"] = np.where(collective, frame["op"] + " " + ranks, frame["op"])
    _only_what_a_kind_has(Columns(table.path, frame), default_op)
    return frame


def _only_what_a_kind_has(table: Columns, kinds: dict[str, Any]) -> None:
    """Columns of other kinds are set to one value, so that they do not split groups."""
    frame = table.frame
    for name, spec in kinds.items():
        rows = frame["kind"] == name
        for column in _SHARED:
            if column != "out_dtype" and (spec is None or column not in spec.shared):
                frame.loc[rows, column] = _BIT.get(column, _PER_KIND.get(column, ""))


def _measured(table: Columns) -> tuple[Array, Array, Array]:
    """Seconds, joules and watts of one execution; NaN where a table does not give joules or watts."""
    units = [name for name in LATENCY if name in table.frame]
    if len(units) != 1:
        said = f"there are {' and '.join(units)}" if units else "there is no such column"
        raise TableError(f"{table.path}: {said}; one column of {', '.join(LATENCY)} is needed")
    counts = table.numbers("count", 1.0, low=1)
    # Joules and watts are of the whole, what measuring itself took is taken from the seconds alone.
    total_s = table.numbers(units[0], above=True) * LATENCY[units[0]]
    seconds = total_s / counts - table.numbers("overhead_s", 0.0)
    table.refuse(seconds <= 0, "overhead_s", f"less than the row's {units[0]} per execution")
    joules = table.numbers("energy_j", np.nan, above=True) / counts
    watts = table.numbers("power_w", np.nan, above=True)
    joules = np.where(np.isnan(joules), watts * total_s / counts, joules)
    return seconds, joules, np.where(np.isnan(watts), joules * counts / total_s, watts)
