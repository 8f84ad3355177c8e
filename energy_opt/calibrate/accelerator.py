"""What calibrating a GPU needs of CUDA, and nothing more: the device, captured graphs, waiting, seconds of device time.

Behind it is CUDA, or a GPU that is not there (`fake_accelerator`), so that the rest runs the same on either. Only
public functions of torch are used. Clocks, power limits and modes are never changed.
"""
# ruff: noqa: TID253  (this file is imported where a GPU is calibrated)

from __future__ import annotations

import contextlib
import gc
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch

from energy_opt.calibrate.backend import Setting, Unrunnable
from energy_opt.errors import CalibrationError
from energy_opt.estimators.work import RowWork
from energy_opt.measure.meters.clock import Clock, SystemClock

Hint = Sequence[tuple[RowWork, float]]
"""What work computes and moves, launch by launch, and how often each is launched: for a device that is not there."""


class Captured(Protocol):
    """Work that the device repeats without the host's help."""

    def replay(self) -> None:
        """Queue it once more."""
        ...


class Accelerator(Protocol):
    """A device that runs captured work. One that `wants_hints` does not know how long it takes unless told."""

    device: str
    clock: Clock
    wants_hints: bool

    def facts(self) -> dict[str, Any]:
        """Name, multiprocessors, memory and L2 in bytes, versions: what torch knows. Opens a context."""
        ...

    def open(self) -> None:
        """Open a context."""
        ...

    def synchronize(self) -> None:
        """Wait until all queued work is done."""
        ...

    def capture(self, work: Callable[[], object], hint: Hint) -> Captured:
        """The work as a graph. Raises Unrunnable."""
        ...

    def loose(self, work: Callable[[], object], hint: Hint) -> Captured:
        """The same launched op by op at every replay, as a model that nobody captured."""
        ...

    def seconds(self, queue: Callable[[], None]) -> float:
        """Seconds of device time that what `queue` queues takes."""
        ...

    def release(self) -> None:
        """Give memory back that nothing uses."""
        ...

    def loose_s(self, steps: int, call: Callable[[], object], launches: int) -> float:
        """Seconds of the host per call, when it only queues and waits once, at the end."""
        ...


class Cuda:
    """A CUDA device by torch's number of it, which honours CUDA_VISIBLE_DEVICES.

    Raises:
        CalibrationError: there is no such device, or this torch has no CUDA.
    """

    wants_hints = False

    def __init__(self, index: int = 0) -> None:
        if not torch.cuda.is_available():
            raise CalibrationError(
                f"target cuda:{index}: torch {torch.__version__} sees no CUDA device here; install a build with CUDA, "
                "check the driver with nvidia-smi, and CUDA_VISIBLE_DEVICES"
            )
        count = torch.cuda.device_count()
        if not 0 <= index < count:
            raise CalibrationError(f"target cuda:{index}: there are cuda:0 to cuda:{count - 1}")
        self.index, self.device = index, f"cuda:{index}"
        self.clock: Clock = SystemClock()

    def open(self) -> None:
        """Open a context."""
        torch.cuda.set_device(self.index)
        torch.zeros(1, device=self.device)
        torch.cuda.synchronize()

    def facts(self) -> dict[str, Any]:
        """What torch knows of the device."""
        properties = torch.cuda.get_device_properties(self.index)
        return {
            "device": properties.name,
            "kind": "gpu",
            "units": properties.multi_processor_count,
            "memory_bytes": properties.total_memory,
            "l2_bytes": getattr(properties, "L2_cache_size", None),
            "capability": f"{properties.major}.{properties.minor}",
            "host": platform.node(),
        }

    def synchronize(self) -> None:
        """Wait until all queued work is done."""
        torch.cuda.synchronize(self.index)

    def capture(self, work: Callable[[], object], hint: Hint) -> Captured:
        """A CUDA graph of the work, after it ran twice outside of one, as libraries want it."""
        graph = torch.cuda.CUDAGraph()
        with _refusing(self):
            stream = torch.cuda.Stream(self.index)
            stream.wait_stream(torch.cuda.current_stream(self.index))
            with torch.cuda.stream(stream):
                work()
                work()
            torch.cuda.current_stream(self.index).wait_stream(stream)
            torch.cuda.synchronize(self.index)
            with torch.cuda.graph(graph):
                kept = work()
            graph.replay()
            torch.cuda.synchronize(self.index)
        return _Graph(graph, kept)

    def loose(self, work: Callable[[], object], hint: Hint) -> Captured:
        """The work itself, after it ran once."""
        with _refusing(self):
            work()
            torch.cuda.synchronize(self.index)
        return _Loose(work)

    def seconds(self, queue: Callable[[], None]) -> float:
        """Seconds between two events around what `queue` queues."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        queue()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3

    def release(self) -> None:
        """Give memory back that nothing uses."""
        gc.collect()
        torch.cuda.empty_cache()

    def loose_s(self, steps: int, call: Callable[[], object], launches: int) -> float:
        """Seconds of the host per call, the wait at the end left out."""
        call()
        torch.cuda.synchronize(self.index)
        start_s = self.clock.now()
        for _ in range(steps):
            call()
        spent_s = self.clock.now() - start_s
        torch.cuda.synchronize(self.index)
        return spent_s / steps


@contextlib.contextmanager
def _refusing(on: Cuda) -> Iterator[None]:
    """Inside, what torch or a kernel raises becomes an Unrunnable that says it in one line."""
    try:
        yield
    except torch.OutOfMemoryError:
        on.release()
        raise Unrunnable("it does not fit into the device's memory") from None
    except (RuntimeError, ValueError, TypeError, NotImplementedError, IndexError) as error:
        raise Unrunnable(said(error)) from error


class _Loose:
    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work

    def replay(self) -> None:
        self._work()


class _Graph:
    def __init__(self, graph: torch.cuda.CUDAGraph, kept: object) -> None:
        self._graph, self._kept = graph, kept

    def replay(self) -> None:
        self._graph.replay()


def libraries() -> dict[str, str]:
    """Versions of what decides which kernels run."""
    found = {"torch": str(torch.__version__), "cuda": str(torch.version.cuda or "none")}
    if torch.backends.cudnn.is_available():
        found["cudnn"] = str(torch.backends.cudnn.version())
    return found


@contextlib.contextmanager
def applied(setting: Setting) -> Iterator[None]:
    """float32 products exact or in tf32, and attention by one kernel, as the setting says; put back afterwards."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_math(tf32=setting.math == "tf32"))
        if setting.attention:
            from torch.nn.attention import SDPBackend, sdpa_kernel

            backend = {
                "flash": SDPBackend.FLASH_ATTENTION,
                "efficient": SDPBackend.EFFICIENT_ATTENTION,
                "cudnn": SDPBackend.CUDNN_ATTENTION,
                "math": SDPBackend.MATH,
            }[setting.attention]
            stack.enter_context(sdpa_kernel([backend]))
        yield


@contextlib.contextmanager
def _math(*, tf32: bool) -> Iterator[None]:
    """Products and convolutions in float32 as they are by IEEE, or in tf32: convolutions would be in tf32 unasked."""
    places: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn]
    name, value = "allow_tf32", tf32
    if hasattr(
        torch.backends.cuda.matmul, "fp32_precision"
    ):  # torch 2.9 and later; mixing both ways is an error
        places = [torch.backends.cuda.matmul, torch.backends.cudnn.conv]
        name, value = "fp32_precision", "tf32" if tf32 else "ieee"  # type: ignore[assignment]
    before = [getattr(place, name) for place in places]
    try:
        for place in places:
            setattr(place, name, value)
        yield
    finally:
        for place, old in zip(places, before, strict=True):
            setattr(place, name, old)


def said(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]
