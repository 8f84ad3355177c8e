"""ONNX Runtime on this machine's CPU: primitives timed inside sessions that hold many of them, as a model's does.

A session of one node would measure Python, the session and the runs before: tens of microseconds. What is timed here is
a model of some forty primitives that stand next to each other in the schedule. ONNX Runtime's own profile of it says
how long each took, cold and among others. docs/estimators.md has the figures.
"""
# ruff: noqa: TID253  (this file is imported to time primitives)

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from energy_opt.calibrate.backend import NO_IDLE, PLAIN, Idle, Setting, Timing, Unrunnable
from energy_opt.calibrate.draw import CPU, Sizes
from energy_opt.calibrate.ort_draw import draw
from energy_opt.calibrate.ort_host import host_cost, profiling
from energy_opt.calibrate.ort_models import Composite, RandomMemory, composite
from energy_opt.calibrate.ort_primitives import RUNTIME, OnnxPrimitive, one
from energy_opt.calibrate.ort_profile import Profiling, kernel_times
from energy_opt.calibrate.ort_session import bound, opened, session_options
from energy_opt.calibrate.schedule import Point, Schedule, schedule
from energy_opt.estimators.runtime import HostCost

POINTS = 2400
TOGETHER = 40
"""Primitives in one session."""

TOGETHER_BYTES = 160e6
TOGETHER_FLOPS = 60e9
"""... of which all operands and products together are no more than these."""

WARM = 2
FEWEST_RUNS, MOST_RUNS = 5, 12
SESSION_S = 0.6
"""Runs of a session that are not counted, and how many are: as many as fit into so many seconds."""

MEANS = replace(CPU, flops=6e9, nbytes=64e6)
"""What one primitive may take."""

MEMORY_MEGABYTES = 512


def open_target(
    *,
    models: Sequence[Any] = (),
    dtypes: Sequence[str] | None = None,
    meter: Any = None,
    seed: int = 0,
    force: bool = False,
    count: int = POINTS,
) -> tuple[OrtBackend, list[Point], list[Point]]:
    """The backend of this machine's CPU under ONNX Runtime, the points to time on it, and its anchors.

    Raises:
        CalibrationError: the host is loaded (unless `force`).
    """
    from energy_opt.calibrate.cpu import refuse_if_loaded

    if not force:
        refuse_if_loaded()
    found: dict[str, OnnxPrimitive] = {}
    for model in models:
        from energy_opt.calibrate.ort_from_model import of_model

        for primitive in of_model(model, MEANS).primitives:
            found.setdefault(primitive.key, primitive)
    types = tuple(dtypes or ("float32",))
    for dtype in types:
        for primitive in draw(count // len(types), dtype=dtype, means=MEANS, seed=seed):
            found.setdefault(primitive.key, primitive)
    points = [Point(primitive) for primitive in found.values()]  # type: ignore[arg-type]
    backend = OrtBackend(seed=seed, meter=meter)
    backend.expect(schedule(points, passes=backend.passes, anchors=anchors(), seed=seed))
    return backend, points, anchors()


def anchors() -> list[Point]:
    """A product and a sum that are timed again and again."""
    s = Sizes(0, "float32", CPU)
    product = one("MatMul", [s.x(1, 128, 768), s.w(768, 768)], s.x(1, 128, 768))
    traffic = one("Add", [s.x(8, 128, 1024), s.x(8, 128, 1024)], s.x(8, 128, 1024))
    return [Point(product), Point(traffic)]  # type: ignore[arg-type]


_Visit = tuple[str, int]
"""A primitive's name and the number of the visit to it."""


@dataclass
class PreparedNode:
    """A primitive and the visit that it is prepared for."""

    primitive: OnnxPrimitive
    number: int
    backend: OrtBackend

    def run(self) -> None:
        """Execute once, with those that share its session."""
        self.backend.timings(self.primitive, self.number)

    def close(self) -> None:
        """Nothing: what is in memory is the session's, which other primitives share."""


class OrtBackend:
    """This machine's CPU under ONNX Runtime."""

    target = "cpu"
    runtime = RUNTIME
    passes = 1

    def __init__(self, *, seed: int = 0, threads: int | None = None, meter: Any = None) -> None:
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        self.threads = threads or _cores(allowed or os.cpu_count() or 1)
        self._given = threads or 0
        self._meter, self._seed = meter, seed
        self._memory: RandomMemory | None = None
        self._groups: dict[_Visit, dict[_Visit, OnnxPrimitive]] = {}
        self._timed: dict[_Visit, Timing | str] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="energy-opt-")

    def expect(self, plan: Schedule) -> None:
        """Share sessions among the primitives that this schedule visits one after another."""
        for visits in _chunks(plan):
            group = {(v.point.primitive.key, v.round): v.point.primitive for v in visits}
            self._groups |= dict.fromkeys(group, group)

    def facts(self) -> Mapping[str, Any]:
        """Name, threads, versions; see `Backend.facts`."""
        from energy_opt.calibrate.cpu import processor

        return {
            "device": processor(),
            "kind": "cpu",
            "units": self.threads,
            "libraries": {"onnxruntime": onnxruntime.__version__},
            "host": platform.node(),
        }

    def prepare(self, primitive: Any, seed: int, setting: Setting = PLAIN) -> PreparedNode:
        """The primitive for the visit of that number. Raises Unrunnable."""
        if setting != PLAIN:
            raise Unrunnable(
                f"{primitive.key}: ONNX Runtime runs it in one way only, not {setting.key}"
            )
        return PreparedNode(primitive, seed, self)

    def time(self, prepared: PreparedNode, *, energy: bool = False) -> Timing:
        """Seconds of the kernel as ONNX Runtime's profile has them. Raises Unrunnable."""
        return self.timings(prepared.primitive, prepared.number)

    def timings(self, primitive: OnnxPrimitive, number: int) -> Timing:
        """The timing at the visit of that number. All primitives of its session are timed at once."""
        name = primitive.key, number
        if name not in self._timed:
            group = self._groups.get(name, {name: primitive})
            # A session is never asked for again once the next has begun.
            self._timed = dict(zip(group, self._together(list(group.values())), strict=True))
        found = self._timed[name]
        if isinstance(found, str):
            raise Unrunnable(found)
        return found

    def _together(self, group: Sequence[OnnxPrimitive]) -> list[Timing | str]:
        """Timings of the group, or why there are none; what cannot share a session is tried in halves."""
        if self._memory is None:
            self._memory = RandomMemory(MEMORY_MEGABYTES, self._seed)
        try:
            times = self._profile(composite(group, self._memory), len(group))
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no base class but Exception
            if len(group) == 1:
                return [f"{group[0].nodes[0].op}: {_said(error)}"]
            half = len(group) // 2
            return self._together(group[:half]) + self._together(group[half:])
        at_s = self.now_s()
        return [
            typical(seconds, at_s)
            if len(seconds) >= FEWEST_RUNS
            else f"{primitive.nodes[0].op}: ONNX Runtime did not run it by itself"
            for primitive, seconds in zip(group, times, strict=True)
        ]

    def _profile(self, made: Composite, count: int) -> list[list[float]]:
        added = self._profiling
        session, run = self._start(made, str(Path(self._folder.name) / "profile"))
        start_s = time.perf_counter()
        for _ in range(WARM):
            run()
        run_s = (time.perf_counter() - start_s) / WARM
        for _ in range(int(np.clip(SESSION_S / run_s, FEWEST_RUNS, MOST_RUNS))):
            run()
        path = Path(session.end_profiling())
        events = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        return kernel_times(events, count, WARM, added)

    @functools.cached_property
    def _profiling(self) -> Profiling:
        return profiling(self._start, Path(self._folder.name))

    def _start(self, made: Composite, profile: str = "") -> tuple[Any, Callable[[], None]]:
        """A session and what runs it once; with `profile`, the start of a file's name, under the profiler."""
        options = session_options(self._given)
        if profile:
            options.enable_profiling = True
            options.profile_file_prefix = profile
        session = opened(made, options)
        return session, functools.partial(session.run_with_iobinding, bound(session, made.feeds))

    def host(self) -> HostCost | None:
        """What a session takes per run and per view, beside the kernels' own time."""
        return host_cost(self._start)

    def idle(self) -> Idle:
        """Nothing: what an idle CPU draws is its profile's to say."""
        return NO_IDLE

    def now_s(self) -> float:
        """Seconds on the machine's monotonic clock."""
        return time.monotonic()

    def close(self) -> None:
        """Remove the files of the profiles."""
        self._memory = None
        self._folder.cleanup()


def typical(seconds: Sequence[float], at_s: float = 0.0) -> Timing:
    """The middle of several timings that are cut to whole microseconds: the mean of what is near the median."""
    values = np.asarray(seconds)
    median = float(np.median(values))
    apart = np.abs(values - median)
    near = apart <= max(1.6e-6, 0.15 * median, float(apart.min()))
    spread = float(np.median(np.abs(np.log(values / median)))) * 1.4826
    return Timing(float(np.mean(values[near])), repeats=len(values), spread=spread, at_s=at_s)


def _chunks(plan: Schedule) -> Iterator[list[Any]]:
    """Consecutive visits that may share a session: as many as fit, all of one opset."""
    chunk: list[Any] = []
    nbytes = flops = 0.0
    for visit in plan.visits:
        primitive = visit.point.primitive
        more = primitive.nbytes, float(primitive.work.matmul_flops)
        full = (
            len(chunk) >= TOGETHER
            or nbytes + more[0] > TOGETHER_BYTES
            or flops + more[1] > TOGETHER_FLOPS
        )
        opset = getattr(primitive, "opset", 0)
        if chunk and (full or opset != chunk[0].point.primitive.opset):
            yield chunk
            chunk, nbytes, flops = [], 0.0, 0.0
        chunk.append(visit)
        nbytes, flops = nbytes + more[0], flops + more[1]
    if chunk:
        yield chunk


def _cores(processors: int) -> int:
    """Threads that ONNX Runtime takes by default: one per core, not per hyperthread."""
    with contextlib.suppress(OSError):
        siblings = Path("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list").read_text()
        if "," in siblings or "-" in siblings:
            return max(1, processors // 2)
    return processors


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
