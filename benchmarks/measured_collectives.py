"""Collectives of the aiconfigurator tables as rows of work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from energy_opt.estimators.work import RowWork

_KINDS = {"nccl": "nccl_dtype", "custom_allreduce": "backend"}


def collective_parts(table: Any) -> Iterator[tuple[str, int, Any]]:
    """(operation, ranks, rows) of a table's collectives. NCCL's four operations are told apart by nothing there."""
    for name, column in _KINDS.items():
        rows = table[table["table"] == name]
        if rows.empty:
            continue
        for (variant, ranks), part in rows.groupby([column, "num_gpus"], sort=True):
            yield f"{name} {variant}", int(ranks), part[part["latency_ms"] > 0]


def collective_work(rows: Any) -> RowWork:
    """A message of so many bytes among so many ranks."""
    message, ranks = (rows[c].to_numpy(np.float64) for c in ("message_size", "num_gpus"))
    zero = 0.0 * message
    return RowWork(
        zero, zero, message, message, zero, 1.0, {"message": message, "ranks": ranks}, ()
    )
