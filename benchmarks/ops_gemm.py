"""Matrix products and convolutions: errors on weight shapes that were left out, by calibration points.

Per table, device and operator a quarter of the weight shapes is left out; 200 executions of the others calibrate; up to
2000 of the left out are predicted; three times, and once each with 100 and with 400. Baselines: non-negative least
squares on [1, FLOPs, bytes], the datasheet's roofline with shipped priors, gradient boosting where scikit-learn is
installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import measured
import numpy as np
from measured import Group
from scoring import SEEDS, mean, rows_of, score, show

from energy_opt.calibrate.samples import concatenate

POINTS = (100, 200, 400)
SETTING = "static/held-out-shapes"


def products(data: Path) -> Iterator[Group]:
    """Matrix products by device, operator and type; vidur's four projections of a layer are one operator."""
    layers: dict[str, list[Group]] = {}
    for group in measured.latency_groups(data):
        if group.kind != "matmul":
            continue
        if group.table == "vidur":
            layers.setdefault(group.device.name, []).append(group)
        else:
            yield group
    for groups in layers.values():
        samples = concatenate([g.samples for g in groups])
        shapes = np.stack([samples.work.sizes["n"], samples.work.sizes["k"]], axis=1)
        names = np.unique(shapes, axis=0, return_inverse=True)[1].ravel()
        joined = replace(samples, op="projections", group=names)
        yield replace(groups[0], samples=joined)


def convolutions(data: Path) -> Iterator[Group]:
    """Convolutions by device."""
    yield from (g for g in measured.latency_groups(data) if g.kind == "conv")


def gemm(data: Path) -> list[dict[str, Any]]:
    """Print and give the scores of matrix products."""
    return _part("gemm", products(data))


def conv(data: Path) -> list[dict[str, Any]]:
    """Print and give the scores of convolutions."""
    return _part("conv", convolutions(data))


def _part(part: str, groups: Iterator[Group]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    means: dict[tuple[str, str, int], list[dict[str, dict[str, float]]]] = {}
    print(
        f"\n{part}: latency of weight shapes left out, MAPE in % (ours: P90, bias, coverage, half-width)"
    )
    for group in groups:
        for points in POINTS:
            main = points == 200
            scored = score(group, points, SEEDS if main else SEEDS[:1], baselines=main)
            if not scored:
                continue
            setting = f"{SETTING}/{part}/{points}-points"
            show(group.device.name, f"{group.op} {points}", len(group), scored)
            rows += rows_of(group.table, group.device.name, setting, group.op, scored, len(group))
            means.setdefault((group.table, group.op, points), []).append(scored)
    for (table, op, points), found in sorted(means.items()):
        by_method = {method: mean([f[method] for f in found]) for method in found[0]}
        show("= mean of devices", f"{op} {points}", len(found), by_method)
        rows += rows_of(
            table, "all", f"{SETTING}/{part}/{points}-points", op, by_method, len(found)
        )
    return rows
