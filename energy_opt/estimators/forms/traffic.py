"""Seconds of memory traffic where an L2 cache serves a part of it: the parameters, and what they mean."""

from __future__ import annotations

import numpy as np

from energy_opt.estimators.forms.form import At, Chip, Parameter
from energy_opt.ir.dims import Value

MEMORY = (
    Parameter("memory", "1", 0.8, 0.05, 1.0, "attained share of the bandwidth"),
    Parameter("cached", "1", 0.5, 1e-3, 1.5, "share of the L2 cache that operands stay in"),
    Parameter("l2", "1", 2.5, 0.5, 8.0, "bandwidth of what stays in L2, in multiples of memory's"),
)

_CLIFF = 3.0


def kept_in_l2(working: Value, chip: Chip, at: At) -> Value:
    """Share of a working set that L2 serves: all while it fits, little when it is half as large again.

    Passes over more than a cache holds evict what the next pass needs, so it falls much faster than its size grows.
    """
    share: Value = (
        np.minimum(1.0, at["cached"] * chip.l2_bytes / np.maximum(working, 1.0)) ** _CLIFF
    )
    return share


def traffic_seconds(moved: Value, working: Value, chip: Chip, at: At) -> Value:
    """Seconds to move bytes of a working set of which the L2 cache holds a part."""
    kept = kept_in_l2(working, chip, at)
    slow = (1.0 - kept) / at["memory"] + kept / at["l2"]
    return moved / chip.bandwidth * slow
