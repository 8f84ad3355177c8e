"""ONNX Runtime's own profile of a model of primitives, taken apart by primitive, less what profiling adds to it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_READER = re.compile(r"^out(\d+)\.")
_MAKER = re.compile(r"^in(\d+)\.")
_LAYOUT = frozenset({"ReorderInput", "ReorderOutput"})
"""What ONNX Runtime puts around convolutions: in a model they stand at the ends of a run of convolutions."""

_SUFFIX = "_kernel_time"
_RUN = "SequentialExecutor::Execute"

LEAST_S = 2e-7
"""No kernel is taken to be quicker than the executor gets to the next one."""


@dataclass(frozen=True)
class Profiling:
    """Seconds that profiling adds to a kernel: to one that runs on one thread, and to one that is shared by several."""

    serial_s: float = 0.0
    threaded_s: float = 0.0

    def seconds(self, event: Mapping[str, Any]) -> float:
        """What the kernel of the event takes without it, the executor's work for it included."""
        stats = (event.get("args") or {}).get("thread_scheduling_stats") or {}
        threaded = bool((stats.get("main_thread") or {}).get("block_size"))
        # Durations are whole microseconds, cut off.
        seconds = (float(event.get("dur", 0)) + 0.5) * 1e-6
        return max(LEAST_S, seconds - (self.threaded_s if threaded else self.serial_s))


NONE = Profiling()


def kernels(events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Name and operator of every kernel event, and the event; a name that is empty is the end of a run."""
    for event in events:
        name = str(event.get("name", ""))
        if name == _RUN:
            yield "", "", event
        elif event.get("cat") == "Node" and name.endswith(_SUFFIX):
            op = str((event.get("args") or {}).get("op_name", ""))
            yield name.removesuffix(_SUFFIX), op, event


def kernel_times(
    events: Iterable[Mapping[str, Any]], count: int, skip: int, profiling: Profiling = NONE
) -> list[list[float]]:
    """Seconds of each of `count` primitives in every run after the first `skip`, from a profile's events.

    Nodes run primitive after primitive, and fused ones lose their names: what runs before a primitive's last reader and
    is no writer of its operands is the primitive. One whose nodes ONNX Runtime ran elsewhere has no times.
    """
    runs: list[dict[int, float]] = []
    current: dict[int, float] = defaultdict(float)
    pending_s = 0.0
    for name, op, event in kernels(events):
        if not name:
            runs.append(dict(current))
            current, pending_s = defaultdict(float), 0.0
        elif found := _READER.match(name):
            current[int(found[1])] += pending_s
            pending_s = 0.0
        elif not _MAKER.match(name) and op not in _LAYOUT:
            pending_s += profiling.seconds(event)
    return [[run[number] for run in runs[skip:] if run.get(number)] for number in range(count)]


def run_times(events: Iterable[Mapping[str, Any]]) -> list[float]:
    """Seconds of all kernels together, run by run, profiling included."""
    runs, total_s = [], 0.0
    for name, _, event in kernels(events):
        if not name:
            runs.append(total_s)
            total_s = 0.0
        else:
            total_s += NONE.seconds(event)
    return runs
