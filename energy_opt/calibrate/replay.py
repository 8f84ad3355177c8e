"""A machine that answers from recorded timings: the whole calibration without the machine, and without waiting."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from energy_opt.calibrate import checkpoint
from energy_opt.calibrate.backend import NO_IDLE, PLAIN, Idle, Setting, Timing, Unrunnable
from energy_opt.calibrate.checkpoint import Line
from energy_opt.calibrate.collect import host_of, idle_of
from energy_opt.calibrate.schedule import Point
from energy_opt.errors import CalibrationError
from energy_opt.estimators.runtime import HostCost
from energy_opt.estimators.work import RowWork
from energy_opt.ir.row import Row

Answer = Callable[[str, int], Timing]
"""What the machine says at the visit of that number to the point of that key. Raises Unrunnable."""


@dataclass(frozen=True)
class Recorded:
    """A primitive of which only its work is known, as a log keeps it."""

    key: str
    group: str
    row: Row
    work: RowWork


@dataclass
class _Held:
    name: str
    seed: int

    def run(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class ReplayBackend:
    """A backend that answers from recordings over a virtual clock; `pace_s` makes each visit take real time."""

    answer: Answer
    described: Mapping[str, Any] = field(default_factory=dict)
    host_cost: HostCost | Mapping[str, HostCost] | None = None
    idle_power: Idle = NO_IDLE
    target: str = "replay"
    runtime: str = "eager"
    passes: int = 1
    visit_s: float = 0.01
    pace_s: float = 0.0
    _now_s: float = 0.0

    def facts(self) -> Mapping[str, Any]:
        """What the recording says of the machine."""
        return self.described

    def prepare(self, primitive: Any, seed: int, setting: Setting = PLAIN) -> _Held:
        """Remember which recording is meant; `seed` is the number of the visit."""
        return _Held("|".join(part for part in (primitive.key, setting.key) if part), seed)

    def time(self, prepared: Any, *, energy: bool = False) -> Timing:
        """The recorded timing of this visit."""
        if self.pace_s:
            time.sleep(self.pace_s)
        self._now_s += self.visit_s
        return self.answer(prepared.name + "|energy" * energy, prepared.seed)

    def host(self) -> HostCost | Mapping[str, HostCost] | None:
        """The recorded costs."""
        return self.host_cost

    def idle(self) -> Idle:
        """The recorded powers."""
        return self.idle_power

    def now_s(self) -> float:
        """The virtual clock."""
        return self._now_s

    def close(self) -> None:
        """Nothing is held."""


def replay(path: str | Path) -> tuple[ReplayBackend, list[Point], list[Point]]:
    """A backend that plays the log at `path`, its points, and its anchors.

    Raises:
        CalibrationError: it is no log of a calibration, or nothing was timed in it.
    """
    header, lines = checkpoint.read(path)
    recorded: dict[str, list[Line]] = defaultdict(list)
    roles: dict[str, str] = {}
    for line in lines:
        if "visit" in line:
            recorded[line["point"]].append(line)
            roles.setdefault(line["point"], line["role"])
    timed = {key: visits for key, visits in recorded.items() if "work" in visits[0]}
    if not timed:
        raise CalibrationError(f"{path}: nothing was timed in it")
    backend = ReplayBackend(
        answer=lambda key, number: _answer(recorded, key, number),
        described=header.get("facts", {}),
        host_cost=host_of(lines),
        idle_power=idle_of(lines),
        runtime=header.get("runtime", "eager"),
        passes=1 + max((line["round"] for visits in timed.values() for line in visits if line["role"] == "point"),
                       default=0),
    )  # fmt: skip
    points = {key: _point(visits[0]) for key, visits in timed.items()}
    return (
        backend,
        [point for key, point in points.items() if roles[key] == "point"],
        [point for key, point in points.items() if roles[key] == "anchor"],
    )


def _answer(recorded: Mapping[str, Sequence[Line]], key: str, number: int) -> Timing:
    visits = recorded.get(key, ())
    if not visits:
        raise Unrunnable(f"{key}: the recording does not have it")
    line = visits[number % len(visits)]
    if "failed" in line:
        raise Unrunnable(line["failed"])
    known = {f.name: line[f.name] for f in fields(Timing) if f.name in line}
    return Timing(**known | {"throttled": tuple(line.get("throttled", ()))})


def _point(line: Line) -> Point:
    name, _, rest = line["point"].partition("|")
    words = {word for part in rest.split("|") for word in part.split(",")}
    setting = Setting(
        math="tf32" if "tf32" in words else "",
        data="zeros" if "zeros" in words else "normal",
        attention=next((kernel for kernel in ("flash", "efficient", "cudnn", "math") if kernel in words), ""),
    )  # fmt: skip
    work = line["work"]
    sizes = line["sizes"]
    row = Row(
        kind=line["kind"], op=line["op"], dtype="float32" if setting.math else line["dtype"], **work,
        sizes=tuple(sizes.items()), kernels=line["kernels"], modelled=True, count=1, uses=(),
    )  # fmt: skip
    recorded = Recorded(name, line["group"], row, RowWork(**work, count=1.0, sizes=sizes, times=()))
    return Point(recorded, setting, "energy" in words)  # type: ignore[arg-type]
