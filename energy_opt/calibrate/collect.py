"""From the lines of a calibration's log to samples that fits are made from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_opt.calibrate import drift
from energy_opt.calibrate.backend import NO_IDLE, Idle, Timing
from energy_opt.calibrate.checkpoint import Line
from energy_opt.calibrate.samples import Samples
from energy_opt.estimators.runtime import HostCost
from energy_opt.estimators.work import RowWork

if TYPE_CHECKING:
    from energy_opt.calibrate.schedule import Point, Visit

_WORK = ("matmul_flops", "other_flops", "bytes_read", "bytes_written", "weight_bytes")


@dataclass(frozen=True)
class Collected:
    """What a log holds: samples per kind, operator, type and problem sizes, host costs, idle powers and what failed.

    `points` are distinct points that were timed. `marked` counts visits in stretches where the machine had drifted too
    far; `drift` is the largest drift of an anchor, as a fraction. `failed` says per point why it could not be run, and
    `unrunnable` how many of them there are per kind and type.
    """

    samples: tuple[Samples, ...]
    points: int
    host: dict[str, HostCost] = field(default_factory=dict)
    idle: Idle = NO_IDLE
    failed: dict[str, str] = field(default_factory=dict)
    unrunnable: dict[str, int] = field(default_factory=dict)
    marked: int = 0
    drift: float = 0.0
    clocks_hz: dict[str, float] = field(default_factory=dict)
    throttled: dict[str, int] = field(default_factory=dict)


def line_of(visit: Visit, timing: Timing, spent_s: float) -> Line:
    """The line of a log that a visit is written as; it holds all that a fit needs to know of the primitive."""
    line: Line = {"visit": visit.index, "role": visit.role, "round": visit.round}
    line |= {"spent_s": round(spent_s, 6), **_described(visit.point)}
    # What is not known is left out: null would be read as something.
    return line | {k: v for k, v in asdict(timing).items() if v is not None and v != ()}


def failure_of(visit: Visit, reason: str, spent_s: float) -> Line:
    """The line of a visit to a primitive that could not be run."""
    line: Line = {"visit": visit.index, "role": visit.role, "round": visit.round}
    return line | {"spent_s": round(spent_s, 6), **_described(visit.point), "failed": reason}


def _described(point: Point) -> Line:
    row, work = point.primitive.row, point.primitive.work
    described: Line = {
        "point": point.key,
        "kind": row.kind,
        "op": row.op,
        "dtype": point.dtype,
        "kernels": row.kernels,
        "group": point.primitive.group,
        "work": {name: float(getattr(work, name)) for name in _WORK},
        "sizes": {name: float(size) for name, size in work.sizes.items()},
    }
    if variant := variant_of(point):
        described["variant"] = variant
    return described


def variant_of(point: Point) -> str:
    """How it was run where that is not how a model runs it: with zeros, or with a chosen attention kernel."""
    setting = point.setting
    return ",".join(
        part for part in (setting.attention, "zeros" * (setting.data == "zeros")) if part
    )


def collect(lines: Sequence[Line], runtime: str) -> Collected:
    """Samples of a log's visits: per point the median over its visits, corrected for drift.

    Variants of how a primitive is run are not among the samples.
    """
    seen = drift.anchors(lines)
    visits: dict[str, list[tuple[Line, float]]] = defaultdict(list)
    marked = 0
    for line in lines:
        if line.get("role") == "point" and "latency_s" in line and "variant" not in line:
            latency_s = drift.corrected(line, seen)
            if latency_s is None:
                marked += 1
            else:
                visits[line["point"]].append((line, latency_s))
    parts: dict[tuple[Any, ...], list[tuple[list[Line], float]]] = defaultdict(list)
    for pairs in visits.values():
        first = pairs[0][0]
        key = (
            first["kind"],
            first["op"],
            first["dtype"],
            first["kernels"],
            tuple(sorted(first["sizes"])),
        )
        latency_s = float(np.exp(np.median(np.log([seconds for _, seconds in pairs]))))
        parts[key].append(([line for line, _ in pairs], latency_s))
    failed = {line["point"]: line for line in lines if "failed" in line}
    timed = [line for pairs in visits.values() for line, _ in pairs]
    return Collected(
        samples=tuple(_samples(runtime, points) for points in parts.values()),
        points=len(visits),
        host=host_of(lines),
        idle=idle_of(lines),
        failed={point: line["failed"] for point, line in failed.items()},
        unrunnable=Counter(
            f"{line['kind']} {line['dtype']}" for line in failed.values() if "variant" not in line
        ),
        marked=marked,
        drift=seen.largest,
        clocks_hz=_clocks(timed),
        throttled=_throttled(timed),
    )


def _samples(runtime: str, points: Sequence[tuple[list[Line], float]]) -> Samples:
    firsts = [lines[0] for lines, _ in points]
    work = {name: np.array([line["work"][name] for line in firsts]) for name in _WORK}
    names = firsts[0]["sizes"]
    sizes = {name: np.array([line["sizes"][name] for line in firsts]) for name in names}
    return Samples(
        kind=firsts[0]["kind"],
        op=firsts[0]["op"],
        dtype=firsts[0]["dtype"],
        runtime=runtime,
        work=RowWork(**work, count=np.ones(len(firsts)), sizes=sizes, times=()),
        latency_s=np.array([latency_s for _, latency_s in points]),
        energy_j=np.array([_median(lines, "energy_j") for lines, _ in points]),
        power_w=np.array([_median(lines, "power_w") for lines, _ in points]),
        group=np.array([line["group"] for line in firsts]),
        kernels=firsts[0]["kernels"],
    )


def _median(lines: Sequence[Line], name: str) -> float:
    """The median of what was measured; NaN where nothing was."""
    values = [line[name] for line in lines if line.get(name) is not None]
    return float(np.median(values)) if values else float("nan")


def host_of(lines: Sequence[Line]) -> dict[str, HostCost]:
    """Costs of the host by runtime, as last measured."""
    found = [line["cost"] for line in lines if line.get("event") == "host"]
    return {runtime: HostCost(**cost) for runtime, cost in found[-1].items()} if found else {}


def idle_of(lines: Sequence[Line]) -> Idle:
    """The first that was metered: later sessions begin with a device that is warm."""
    found = [line["idle"] for line in lines if line.get("event") == "idle"]
    known: dict[str, Any] = {}
    for idle in found:
        known = {**{name: value for name, value in idle.items() if value is not None}, **known}
    return Idle(**known)


def _clocks(lines: Sequence[Line]) -> dict[str, float]:
    clocks = [line["clocks_hz"] for line in lines if line.get("clocks_hz")]
    if not clocks:
        return {}
    return {"lowest": min(clocks), "median": float(np.median(clocks)), "highest": max(clocks)}


def _throttled(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for line in lines:
        for reason in line.get("throttled", ()):
            counts[reason] += 1
    return dict(counts)
