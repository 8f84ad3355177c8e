"""Drift: how far the machine had moved from its usual state at each visit, as the anchors saw it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from energy_opt.calibrate.checkpoint import Line

MARKED = 0.15
"""Further from the usual than this in log time, a stretch is left out of the fits: it was another machine."""


@dataclass(frozen=True)
class Anchors:
    """Per anchor its intensity (FLOPs per byte), where it was visited, and the logarithm of its slowness there."""

    intensity: Mapping[str, float]
    index: Mapping[str, np.ndarray[Any, Any]]
    slowness: Mapping[str, np.ndarray[Any, Any]]

    def drift(self, index: int, intensity: float) -> float:
        """Logarithm of how much slower than usual the machine was at a visit to work of that intensity.

        The anchor nearest in intensity tells: clocks slow arithmetic and leave memory alone.
        """
        if not self.index:
            return 0.0
        near = min(
            self.index,
            key=lambda key: abs(np.log((self.intensity[key] + 1e-3) / (intensity + 1e-3))),
        )
        return float(np.interp(index, self.index[near], self.slowness[near]))

    @property
    def largest(self) -> float:
        """The largest drift of any anchor, as a fraction."""
        return max(
            (float(np.max(np.abs(np.expm1(s)))) for s in self.slowness.values()), default=0.0
        )


def anchors(lines: Sequence[Line]) -> Anchors:
    """What the anchors of a log saw.

    An anchor's slowness is the running median of three of its visits over the median of all, in logarithms. What is
    within its own noise, twice the robust standard deviation of that running median, is no drift: correcting for it
    would add noise. Fewer than five visits to an anchor tell nothing.
    """
    seen: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.get("role") == "anchor" and line.get("latency_s"):
            seen[line["point"]].append(line)
    intensity, index, slowness = {}, {}, {}
    for key, visits in seen.items():
        if len(visits) < 5:
            continue
        log = np.log([visit["latency_s"] for visit in visits])
        smooth = np.array([np.median(log[max(0, i - 1) : i + 2]) for i in range(len(log))])
        away = smooth - np.median(log)
        # Neighbours differ by noise, not by drift; a median of three has 0.67 of a single one's deviation.
        noise = 0.67 * 1.4826 * float(np.median(np.abs(np.diff(log)))) / np.sqrt(2.0)
        intensity[key] = _intensity(visits[0])
        index[key] = np.array([visit["visit"] for visit in visits], dtype=float)
        slowness[key] = np.where(np.abs(away) > 2.0 * noise, away, 0.0)
    return Anchors(intensity, index, slowness)


def _intensity(line: Line) -> float:
    work = line["work"]
    moved = work["bytes_read"] + work["bytes_written"]
    return float((work["matmul_flops"] + work["other_flops"]) / max(moved, 1.0))


def corrected(line: Line, seen: Anchors) -> float | None:
    """Seconds of a visit as if the machine had been in its usual state; None in a stretch that is left out."""
    drift = seen.drift(line["visit"], _intensity(line))
    return None if abs(drift) > MARKED else float(line["latency_s"] * np.exp(-drift))
