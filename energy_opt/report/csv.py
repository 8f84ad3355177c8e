"""The ops of an analysis as CSV, one row per op."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from energy_opt.report.escape import csv_cell

_FIRST = ("name", "op", "kind", "path", "bound", "provenance", "count", "latency_s", "energy_j")


def render(analysis: Mapping[str, Any]) -> str:
    """One line per op after a header; an interval becomes two columns, `energy_j_low` and `energy_j_high`.

    Text that a spreadsheet would take for a formula is quoted with a leading apostrophe; numbers stay numbers.
    """
    rows = [_flat(op) for op in analysis.get("ops") or ()]
    found = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in _FIRST if name in found or not rows]
    columns += [name for name in found if name not in _FIRST]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([csv_cell(name) for name in columns])
    writer.writerows([csv_cell(row.get(name)) for name in columns] for row in rows)
    return buffer.getvalue()


def _flat(op: Mapping[str, Any]) -> dict[str, object]:
    row: dict[str, object] = {}
    for name, value in op.items():
        if name.endswith("_interval"):
            low, high = value if isinstance(value, Sequence) and len(value) == 2 else (None, None)
            stem = name.removesuffix("_interval")
            row[f"{stem}_low"], row[f"{stem}_high"] = low, high
        elif isinstance(value, Mapping) or (
            isinstance(value, Sequence) and not isinstance(value, str)
        ):
            row[name] = " ".join(str(item) for item in value)
        else:
            row[name] = value
    return row
