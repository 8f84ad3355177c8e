"""Visiting: the schedule within the budget, every visit logged, until it is done, time is up, or Ctrl-C."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from energy_opt.calibrate.backend import Backend, Unrunnable
from energy_opt.calibrate.checkpoint import Checkpoint
from energy_opt.calibrate.collect import Collected, failure_of, line_of, variant_of
from energy_opt.calibrate.schedule import Point, Schedule, Visit
from energy_opt.estimators.runtime import HostCost

Phase = Literal["preparing", "timing", "fitting"]
Stop = Literal["complete", "budget", "interrupted"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a calibration is: what it is at, how much of it is done, and seconds left (None: not known yet)."""

    phase: Phase
    what: str
    done: int
    total: int
    spent_s: float
    left_s: float | None = None


Report = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Tell nobody."""


def log_path(output: str | Path) -> Path:
    """Where the log of a calibration lies: beside its profile."""
    output = Path(output)
    return output.with_name(output.name.removesuffix(".json") + ".samples.jsonl")


def header_of(backend: Backend, plan: Schedule, seed: int, models: Sequence[str]) -> dict[str, Any]:
    """The first line of a log: what is calibrated, in which order, with which versions."""
    facts = dict(backend.facts())
    planned = Counter(
        _name(visit.point)
        for visit in plan.visits
        if visit.role == "point" and visit.round == 0 and not variant_of(visit.point)
    )
    return {
        "target": backend.target,
        "device": str(facts.get("device", "")),
        "runtime": backend.runtime,
        "seed": seed,
        "schedule": plan.digest,
        "versions": dict(facts.get("libraries", {})),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "models": list(models),
        "visits": len(plan),
        "planned": dict(planned),
        "facts": facts,
    }


def _name(point: Point) -> str:
    return f"{point.primitive.row.kind} {point.dtype}"


def measure(
    backend: Backend,
    plan: Schedule,
    log: Checkpoint,
    *,
    budget_s: float | None = None,
    progress: Report = silent,
) -> Stop:
    """Make the visits that the log does not hold yet, until they are all made, time is up, or Ctrl-C.

    The time that earlier sessions spent counts towards the budget. A visit begins only where it is likely to end in
    time; the first of a session always does, so that repeated short sessions get somewhere.
    """
    done = {line["visit"] for line in log.lines if "visit" in line}
    before_s = max((line.get("spent_s", 0.0) for line in log.lines), default=0.0)
    pace = _Pace(log)
    start_s = backend.now_s()

    def spent_s() -> float:
        return before_s + backend.now_s() - start_s

    def report(what: str, left_s: float | None) -> None:
        progress(Progress("timing", what, len(done), len(plan), spent_s(), left_s))

    try:
        _once(backend, log, spent_s, report)
        first = True
        for visit in plan.visits:
            if visit.index in done:
                continue
            rest = plan.visits[visit.index :]
            if budget_s is not None and not first and spent_s() + pace.cost_s(visit) > budget_s:
                return "budget"
            left_s = pace.left_s(rest)
            if left_s is not None and budget_s is not None:
                left_s = min(left_s, max(0.0, budget_s - spent_s()))
            report(_what(visit.point), left_s)
            began_s = spent_s()
            log.append(_visit(backend, visit, spent_s))
            pace.saw(visit, spent_s() - began_s)
            done.add(visit.index)
            first = False
    except KeyboardInterrupt:
        return "interrupted"
    return "complete"


def _visit(backend: Backend, visit: Visit, spent_s: Callable[[], float]) -> dict[str, Any]:
    """The line of the log for this visit."""
    point = visit.point
    try:
        prepared = backend.prepare(point.primitive, visit.round, point.setting)
        try:
            timing = backend.time(prepared, energy=point.energy)
        finally:
            prepared.close()
    except Unrunnable as error:
        return failure_of(visit, str(error), spent_s())
    return line_of(visit, timing, spent_s())


def _once(
    backend: Backend,
    log: Checkpoint,
    spent_s: Callable[[], float],
    report: Callable[[str, float | None], None],
) -> None:
    """Idle powers and host costs, unless an earlier session measured them. Idle first: no context is open yet."""
    had = {line.get("event") for line in log.lines}
    if "idle" not in had:
        report("idle power", None)
        log.append(
            {"event": "idle", "idle": asdict(backend.idle()), "spent_s": round(spent_s(), 6)}
        )
    if "host" not in had:
        report("launch overhead", None)
        cost = backend.host()
        costs = {backend.runtime: cost} if isinstance(cost, HostCost) else cost or {}
        found = {runtime: each.model_dump() for runtime, each in costs.items()}
        log.append({"event": "host", "cost": found, "spent_s": round(spent_s(), 6)})


def _what(point: Point) -> str:
    row = point.primitive.row
    return " ".join(
        filter(None, (row.op.rpartition("::")[2], point.dtype, "(energy)" * point.energy))
    )


class _Pace:
    """How long visits take: mean seconds, apart for those whose energy is metered."""

    def __init__(self, log: Checkpoint) -> None:
        self._sum: dict[bool, float] = {}
        self._count: Counter[bool] = Counter()
        previous_s = 0.0
        for line in log.lines:
            spent_s = line.get("spent_s", previous_s)
            if "visit" in line:
                self._add("|energy" in line["point"], spent_s - previous_s)
            previous_s = spent_s

    def _add(self, energy: bool, seconds: float) -> None:
        self._sum[energy] = self._sum.get(energy, 0.0) + seconds
        self._count[energy] += 1

    def saw(self, visit: Visit, seconds: float) -> None:
        """A visit took that long."""
        self._add(visit.point.energy, seconds)

    def cost_s(self, visit: Visit) -> float:
        """Seconds that a visit is likely to take; 0 before there was one like it."""
        energy = visit.point.energy
        return self._sum[energy] / self._count[energy] if self._count[energy] else 0.0

    def left_s(self, rest: Sequence[Visit]) -> float | None:
        """Seconds that these visits are likely to take; None before there was one of each sort."""
        metered = sum(visit.point.energy for visit in rest)
        total = 0.0
        for energy, count in ((True, metered), (False, len(rest) - metered)):
            if count and not self._count[energy]:
                return None
            total += count * self._sum.get(energy, 0.0) / max(self._count[energy], 1)
        return total


def thin(header: Mapping[str, Any], found: Collected) -> tuple[tuple[str, ...], bool]:
    """Kinds and types that got fewer points than planned, and whether one got none though it can be run."""
    got: Counter[str] = Counter()
    for part in found.samples:
        got[f"{part.kind} {part.dtype}"] += len(part)
    said, missing = [], False
    for name, planned in header.get("planned", {}).items():
        wanted = planned - found.unrunnable.get(name, 0)
        if got[name] < wanted:
            said.append(f"{name}: {got[name]} of {wanted} points")
            missing |= got[name] == 0
    return tuple(said), missing
