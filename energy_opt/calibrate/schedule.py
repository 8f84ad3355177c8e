"""In which order the primitives are visited: what tells most first, kinds interleaved, anchors to see drift."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from energy_opt.calibrate.backend import PLAIN, Setting

if TYPE_CHECKING:
    from energy_opt.calibrate.primitives import Primitive

ANCHOR_EVERY = 25
"""Visits between two rounds of anchors. Source: docs/estimators.md, "Calibrating"."""

_LONGEST_DESIGN = 400
"""Points of a stratum that are put in order of information; the order of later ones hardly matters."""


@dataclass(frozen=True)
class Point:
    """One thing to time: a primitive, how it is run, and whether its energy is metered."""

    primitive: Primitive
    setting: Setting = PLAIN
    energy: bool = False

    @property
    def key(self) -> str:
        """A stable name that tells it from all other points."""
        parts = (self.primitive.key, self.setting.key, "energy" if self.energy else "")
        return "|".join(part for part in parts if part)

    @property
    def dtype(self) -> str:
        """The arithmetic's type, `tf32` included."""
        return self.setting.math or self.primitive.row.dtype

    @property
    def stratum(self) -> tuple[str, ...]:
        """What it adds information about: kind, operator, type, how it is run, and whether energy is metered."""
        row = self.primitive.row
        return (row.kind, row.op, self.dtype, self.setting.key, "energy" if self.energy else "")


@dataclass(frozen=True)
class Visit:
    """One place in the schedule. `round` counts the visits to a point from 0."""

    index: int
    point: Point
    role: Literal["point", "anchor"]
    round: int = 0


@dataclass(frozen=True)
class Schedule:
    """All visits in order. `digest` tells two schedules apart, so that a log is only resumed with its own."""

    visits: tuple[Visit, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.visits)


def schedule(
    points: Iterable[Point],
    *,
    passes: int = 1,
    anchors: Sequence[Point] = (),
    every: int = ANCHOR_EVERY,
    seed: int = 0,
) -> Schedule:
    """The visits to these points, such that any prefix is a calibration: fewer points or fewer passes, no gaps.

    Every pass visits each point once. Within a pass the points of a stratum come in an order in which each is far from
    those before it, and strata are merged so that a small one is done early while a large one grows (the i-th of n is
    due at i / sqrt(n)). Each pass is another shuffle of what is due at about the same time. The anchors are visited at
    the start, after every `every` visits and at the end.
    """
    rng = np.random.default_rng(seed)
    unique = list({point.key: point for point in points}.values())
    due = _due(unique, rng)
    visits: list[Visit] = []

    def add(point: Point, role: Literal["point", "anchor"], number: int) -> None:
        visits.append(Visit(len(visits), point, role, number))

    anchored = 0
    for number in range(passes):
        jitter = rng.uniform(0.0, 1.0, len(unique))
        for place, chosen in enumerate(np.argsort(np.floor(due) + jitter, kind="stable")):
            if place % every == 0:
                for anchor in anchors:
                    add(anchor, "anchor", anchored)
                anchored += 1
            add(unique[chosen], "point", number)
    for anchor in anchors if unique else ():
        add(anchor, "anchor", anchored)
    text = "\n".join(f"{v.role} {v.round} {v.point.key}" for v in visits)
    return Schedule(tuple(visits), hashlib.sha256(f"{seed}\n{text}".encode()).hexdigest()[:16])


def _due(points: Sequence[Point], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """When each point is due: small numbers first."""
    strata: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, point in enumerate(points):
        strata[point.stratum].append(index)
    due = np.zeros(len(points))
    for members in strata.values():
        features = np.array([_features(points[index]) for index in members])
        for place, member in enumerate(_spread_out(features, rng)):
            due[members[member]] = place / np.sqrt(len(members))
    return due


def _features(point: Point) -> list[float]:
    """Logarithms of what the primitive computes and moves."""
    work = point.primitive.work
    quantities = (work.matmul_flops, work.other_flops, work.bytes_read, work.bytes_written)
    return [float(np.log2(1.0 + float(quantity))) for quantity in quantities]


def _spread_out(features: np.ndarray[Any, Any], rng: np.random.Generator) -> list[int]:
    """The order in which each point is the one farthest from all before it, from a random start."""
    left = [int(index) for index in rng.permutation(len(features))]
    head, tail = left[:_LONGEST_DESIGN], left[_LONGEST_DESIGN:]
    chosen = [head.pop(0)]
    distance = np.linalg.norm(features - features[chosen[0]], axis=1)
    while head:
        farthest = max(head, key=lambda index: float(distance[index]))
        head.remove(farthest)
        chosen.append(farthest)
        distance = np.minimum(distance, np.linalg.norm(features - features[farthest], axis=1))
    return chosen + tail
