"""Hooks around the calls of modules, and stopwatches that hang on them."""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn


@contextlib.contextmanager
def hooks(
    paths: Mapping[nn.Module, str], before: Callable[..., None], after: Callable[[nn.Module], None]
) -> Iterator[None]:
    """Inside, `before(module, args, kwargs)` and `after(module)` are called around every call of these modules."""

    def pre(module: nn.Module, args: Any, kwargs: Any) -> None:
        before(module, args, kwargs)

    def post(module: nn.Module, *_: Any) -> None:
        after(module)

    with contextlib.ExitStack() as stack:
        for module in paths:
            first = module.register_forward_pre_hook(pre, with_kwargs=True)
            stack.callback(first.remove)
            stack.callback(module.register_forward_hook(post).remove)
        yield


class Stopwatch:
    """Seconds of modules per run, by the clock of the host."""

    def __init__(self, paths: Mapping[nn.Module, str]) -> None:
        self.paths = paths
        self._runs: list[dict[str, float]] = []
        self._open: list[float] = []

    def begin(self) -> None:
        """A run begins."""
        self._runs.append({})
        self._open.clear()  # a run that failed left some

    def start(self, module: nn.Module, *_: Any) -> None:
        """A module is called."""
        self._open.append(time.perf_counter())

    def stop(self, module: nn.Module) -> None:
        """It returns."""
        spent = time.perf_counter() - self._open.pop()
        path = self.paths[module]
        self._runs[-1][path] = self._runs[-1].get(path, 0.0) + spent

    def runs(self) -> Sequence[Mapping[str, float]]:
        """Seconds by path of every run, all calls of a module together."""
        return self._runs


class Events(Stopwatch):
    """The same by events in the queue of a GPU, which cost the queue next to nothing."""

    def __init__(self, paths: Mapping[nn.Module, str]) -> None:
        super().__init__(paths)
        self._pairs: list[list[tuple[str, Any, Any]]] = []
        self._started: list[Any] = []

    def begin(self) -> None:
        """A run begins."""
        self._pairs.append([])
        self._started.clear()

    def start(self, module: nn.Module, *_: Any) -> None:
        """A module is called."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._started.append(event)

    def stop(self, module: nn.Module) -> None:
        """It returns."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._pairs[-1].append((self.paths[module], self._started.pop(), event))

    def runs(self) -> Sequence[Mapping[str, float]]:
        """Seconds by path of every run, all calls of a module together."""
        found: list[dict[str, float]] = []
        for pairs in self._pairs:
            totals: dict[str, float] = {}
            for path, start, end in pairs:
                totals[path] = totals.get(path, 0.0) + 1e-3 * float(start.elapsed_time(end))
            found.append(totals)
        return found
