"""The CPU under PyTorch's eager mode: primitives timed as a model would meet them, on pinned threads.

Operators of a model follow one another: their code is warm, what they read was mostly written a moment ago, weights
lie where they were left one inference ago. A loop over one operator keeps all of it in the nearest cache; the first
call after other work meets cold code. What is timed is therefore one call on operands that no cache holds, right after
a call of the same operator on others. How far off that is, benchmarks/cpu.py shows.
"""
# ruff: noqa: TID253  (this file is imported to time primitives)

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from energy_opt.calibrate.backend import NO_IDLE, PLAIN, Idle, Setting, Timing, Unrunnable
from energy_opt.calibrate.cpu_host import host_cost
from energy_opt.calibrate.primitives import Primitive, TensorSpec
from energy_opt.calibrate.random_tensors import Pool, bound, extent
from energy_opt.calibrate.schedule import Point
from energy_opt.errors import CalibrationError
from energy_opt.estimators.runtime import HostCost
from energy_opt.measure.runners.target import find

POINTS = 3500
"""Primitives drawn. More shapes tell more than more visits to each."""

PASSES = 7
POOL_MEGABYTES = 128
"""Operands are cut from this much random memory: several times a core's caches, as a model's weights are."""

LOADED = 0.10
"""Above this share of the processors taken by others, times would be theirs as much as ours."""


def open_target(
    *,
    models: Sequence[Any] = (),
    dtypes: Sequence[str] | None = None,
    runtime: str | None = None,
    meter: Any = None,
    seed: int = 0,
    force: bool = False,
) -> tuple[CpuBackend, list[Point], list[Point]]:
    """The backend of this machine's CPU, the points to time on it, and no anchors.

    A hiccup of an anchor would be taken for drift; every point is visited in each of several passes instead.

    Raises:
        CalibrationError: the host is loaded (unless `force`), or the runtime or a type is not one that is timed here.
    """
    from energy_opt.calibrate.cpu_points import points

    if runtime not in (None, "eager"):
        raise CalibrationError(
            f"target cpu: runtime {runtime!r} cannot be timed on a CPU; only eager can"
        )
    if not force:
        refuse_if_loaded()
    backend = CpuBackend(seed=seed, meter=meter)
    chosen = points(models=models, dtypes=dtypes or ("float32",), count=POINTS, seed=seed)
    return backend, chosen, []


def refuse_if_loaded(
    window_s: float = 1.0, read: Callable[[], tuple[float, float]] | None = None
) -> None:
    """Raises CalibrationError where others take more than a tenth of the processors over a second, with the figures."""
    read = read or busy
    taken, total = read()
    time.sleep(window_s)
    later, end = read()
    share = (later - taken) / max(end - total, 1e-9)
    if share > LOADED:
        raise CalibrationError(
            f"target cpu: {share:.0%} of the processors are busy with other work, {LOADED:.0%} is the most at which "
            "times mean something; wait until the machine is idle, or calibrate anyway with --force"
        )


def busy() -> tuple[float, float]:
    """Jiffies in which any processor worked, or was taken by another guest, and all jiffies; zeros where unknown."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    except OSError:
        return 0.0, float(time.monotonic())
    ticks = [float(field) for field in fields[:8]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


@dataclass
class PreparedCall:
    """An operator with two sets of operands: one to warm up on, one to time."""

    function: Any
    first: tuple[list[Any], dict[str, Any]]
    second: tuple[list[Any], dict[str, Any]]
    produced: tuple[list[torch.Tensor], list[torch.Tensor]]

    def run(self) -> None:
        """Execute once."""
        positional, named = self.second
        self.function(*positional, **named)

    def close(self) -> None:
        """Give the operands back."""
        self.first = self.second = ([], {})
        self.produced = ([], [])


class CpuBackend:
    """This machine's CPU under PyTorch's eager mode."""

    target = "cpu"
    runtime = "eager"
    passes = PASSES

    def __init__(self, *, seed: int = 0, threads: int | None = None, meter: Any = None) -> None:
        self.threads = threads or torch.get_num_threads()
        self._meter, self._seed = meter, seed
        self._pool = Pool(POOL_MEGABYTES, seed)
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(pinned(self.threads))
        self._stack.enter_context(torch.inference_mode())
        self._seen: set[str] = set()

    def facts(self) -> Mapping[str, Any]:
        """Name, threads, versions; see `Backend.facts`."""
        return {
            "device": processor(),
            "kind": "cpu",
            "units": self.threads,
            "libraries": {"torch": torch.__version__},
            "host": platform.node(),
            "memory_bytes": find("cpu").total_bytes,
        }

    def prepare(self, primitive: Primitive, seed: int, setting: Setting = PLAIN) -> PreparedCall:
        """The operator with random operands. Raises Unrunnable."""
        if setting != PLAIN:
            raise Unrunnable(f"{primitive.op}: a CPU runs it in one way only, not {setting.key}")
        sets = []
        function: Any = None
        produced: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for number in range(2):

            def make(
                spec: TensorSpec, written: bool, to: list[torch.Tensor] = produced[number]
            ) -> torch.Tensor:
                tensor = self._pool.tensor(spec, own=written)
                if spec.role == "activation" and tensor.is_floating_point():
                    to.append(flat(tensor))
                return tensor

            function, positional, named = bound(primitive, make)
            sets.append((positional, named))
        prepared = PreparedCall(function._op, sets[0], sets[1], produced)
        if primitive.key not in self._seen:
            # Libraries compile a kernel for each new shape, once.
            _called(prepared.function, sets[0])
            self._seen.add(primitive.key)
        return prepared

    def time(self, prepared: PreparedCall, *, energy: bool = False) -> Timing:
        """Seconds of one call as a model would meet it. Raises Unrunnable."""
        return Timing(self._call_s(prepared), at_s=self.now_s())

    def _call_s(self, prepared: PreparedCall) -> float:
        """Seconds of one call with what it reads where the operators before it would leave it. Raises Unrunnable."""
        clock = time.perf_counter
        function = prepared.function
        positional, named = prepared.second
        for tensor in prepared.produced[0]:
            tensor.mul_(1.0)
        # Its result is given back at once: in a model too, a result goes to memory that was in use just before.
        _called(function, prepared.first)
        for tensor in prepared.produced[1][:1]:
            tensor.mul_(1.0)  # as the operator before would leave it
        start = clock()
        made = function(*positional, **named)
        seconds = clock() - start
        del made
        return seconds

    def host(self) -> HostCost | None:
        """What Python and PyTorch's modules spend per operator beside its call."""

        def alone(primitive: Primitive) -> float:
            prepared = self.prepare(primitive, 0)
            try:
                return self._call_s(prepared)
            finally:
                prepared.close()

        return host_cost(alone, self._seed)

    def idle(self) -> Idle:
        """Nothing: what an idle CPU draws is its profile's to say, unless a meter reads it."""
        return NO_IDLE

    def now_s(self) -> float:
        """Seconds on the machine's monotonic clock."""
        return time.monotonic()

    def close(self) -> None:
        """Give threads and memory back."""
        self._stack.close()


def _called(function: Any, operands: tuple[list[Any], dict[str, Any]]) -> Any:
    positional, named = operands
    try:
        return function(*positional, **named)
    except Exception as error:  # an operator raises what it likes
        raise Unrunnable(" ".join(str(error).split())[:200]) from error


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """The memory from the tensor's first to its last element."""
    length = extent(tuple(tensor.shape), tuple(tensor.stride()))
    return tensor.as_strided((length,), (1,), tensor.storage_offset())


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Inside, PyTorch computes on that many threads, bound to as many processors; afterwards as before."""
    before = torch.get_num_threads()
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    try:
        torch.set_num_threads(threads)
        if len(allowed) > threads:
            os.sched_setaffinity(0, sorted(allowed)[:threads])
        yield
    finally:
        torch.set_num_threads(before)
        if len(allowed) > threads:
            os.sched_setaffinity(0, allowed)


def processor() -> str:
    """The processor's name as the system gives it."""
    return find("cpu").label
