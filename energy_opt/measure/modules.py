"""What each module of a PyTorch model costs: timed in place by hooks, and replayed alone under a meter.

In place is how long a module takes within the model, its children included. A replay runs the module on the inputs that
it had in one inference, in a steady loop, so that a meter has something to see.

Source: replays of submodules under a meter are how Cao et al., ACL 2021 (IrEne), section 4, got their ground truth.
"""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from energy_opt.errors import EnergyOptError, ModelError
from energy_opt.measure.hooks import Events, Stopwatch, hooks
from energy_opt.measure.runners.pytorch import TorchRunner, failing
from energy_opt.measure.steady import Clock, Meter, Steady, measure

_RUNS = 5
_PLAIN = (type(None), bool, int, float, complex, str, torch.dtype, torch.device, torch.Size, slice)


@dataclass
class ModuleCost:
    """Seconds and joules of one module per inference, its children included.

    `in_place_s` is by hooks; `latency_s` and `energy_j` are of the replay, times `calls`. `like` names the module whose
    replay stands for this one, because both are the same layer on the same shapes. `failed` says why there is none.
    """

    path: str
    type: str
    calls: int
    in_place_s: float | None = None
    latency_s: float | None = None
    latency_s_interval: tuple[float, float] | None = None
    energy_j: float | None = None
    like: str = ""
    failed: str = ""
    steady: Steady | None = field(default=None, repr=False)


def paths_of(module: nn.Module, depth: int | None = None) -> dict[nn.Module, str]:
    """Modules and their paths down to that depth; one that stands in two places has the first."""
    found: dict[nn.Module, str] = {}
    for path, child in module.named_modules():
        if depth is None or (path.count(".") + 1 if path else 0) <= depth:
            found.setdefault(child, path)
    return found


def in_place(runner: TorchRunner, depth: int | None = None, runs: int = _RUNS) -> dict[str, float]:
    """Seconds per inference of every module that is called, by path: the median of some runs with hooks.

    The hooks' own time is in it, some microseconds per call. On a GPU, events in its queue are timed.
    """
    paths = paths_of(runner.module, depth)
    stopwatch = Events(paths) if runner.queued else Stopwatch(paths)
    with hooks(paths, stopwatch.start, stopwatch.stop):
        for _ in range(runs + 1):
            stopwatch.begin()
            runner.run()
            runner.wait()
    later = stopwatch.runs()[1:]
    return {
        path: float(np.median([run.get(path, 0.0) for run in later]))
        for path in paths.values()
        if any(path in run for run in later)
    }


def replay(
    runner: TorchRunner,
    meter: Meter | None,
    seconds: float,
    depth: int | None = None,
    only: Iterable[str] | None = None,
    clock: Clock = time.perf_counter,
) -> Iterator[ModuleCost]:
    """Every called module, replayed alone; yielded one by one, so that what is measured is not lost.

    Equal layers on equal shapes are replayed once. `only` names the paths wanted.
    """
    wanted = None if only is None else set(only)
    recorded = _record(runner, depth, wanted)
    done: dict[Any, ModuleCost] = {}
    for module, seen in recorded.items():
        cost = ModuleCost(seen.path, type(module).__name__, seen.count)
        known = done.get(seen.key(module))
        if known is not None:
            cost.like, cost.failed = known.like or known.path, known.failed
            _scale(cost, known.steady)
            yield cost
            continue
        try:
            cost.steady = _replayed(runner, module, seen, meter, seconds, clock)
        except EnergyOptError as error:
            cost.failed = str(error)
        done[seen.key(module)] = cost
        _scale(cost, cost.steady)
        yield cost


def _scale(cost: ModuleCost, steady: Steady | None) -> None:
    if steady is None:
        return
    cost.steady = steady
    low, high = steady.latency_s_interval
    cost.latency_s = steady.latency_s * cost.calls
    cost.latency_s_interval = (low * cost.calls, high * cost.calls)
    cost.energy_j = None if steady.energy_j is None else steady.energy_j * cost.calls


@dataclass
class _Seen:
    """The calls of one module in one inference; the inputs are those of the first."""

    path: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shapes: set[Any] = field(default_factory=set)
    count: int = 0

    def key(self, module: nn.Module) -> Any:
        tensors = [(n, tuple(t.shape), t.dtype) for n, t in module.named_parameters()]
        return repr(module), tuple(tensors), frozenset(self.shapes)


def _record(
    runner: TorchRunner, depth: int | None, only: set[str] | None
) -> dict[nn.Module, _Seen]:
    """What each module is called with in one inference, in the order of the first calls."""
    paths = {m: p for m, p in paths_of(runner.module, depth).items() if only is None or p in only}
    found: dict[nn.Module, _Seen] = {}

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        seen = found.setdefault(module, _Seen(paths[module], args, dict(kwargs)))
        seen.shapes.add(_signature(args, kwargs))
        seen.count += 1

    with hooks(paths, before, lambda module: None):
        runner.run()
        runner.wait()
    return found


class _Replay:
    """A module and the inputs that it had, as a Runner."""

    name = "eager"

    def __init__(self, runner: TorchRunner, module: nn.Module, seen: _Seen) -> None:
        self.target, self.queued, self.notes = runner.target, runner.queued, list[str]()
        self.wait: Callable[[], None] = runner.wait
        self._module, self._seen = module, seen

    def run(self) -> Any:
        with torch.inference_mode(), failing(f"replaying {self._seen.path or 'the model'}"):
            return self._module(*self._seen.args, **self._seen.kwargs)

    def facts(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        pass


def _replayed(
    runner: TorchRunner,
    module: nn.Module,
    seen: _Seen,
    meter: Meter | None,
    seconds: float,
    clock: Clock,
) -> Steady:
    _refuse(seen)
    alone = _Replay(runner, module, seen)
    tensors = [leaf for leaf in _leaves(seen) if isinstance(leaf, torch.Tensor)]
    before = [tensor.clone() for tensor in tensors]
    alone.run()
    runner.wait()
    if not all(_same(a, b) for a, b in zip(before, tensors, strict=True)):
        raise ModelError(
            "it writes into its inputs, so that every replay would compute something else"
        )
    return measure(alone, meter, seconds, clock)


def _refuse(seen: _Seen) -> None:
    if len(seen.shapes) > 1:
        raise ModelError(
            f"it is called with {len(seen.shapes)} different shapes in one inference; its parts are replayed"
        )
    for leaf in (*seen.args, *seen.kwargs.values()):
        if "Cache" in type(leaf).__name__:
            raise ModelError(
                f"it is called with a {type(leaf).__name__}, which every replay would change"
            )
    for leaf in _leaves(seen):
        if not isinstance(leaf, (torch.Tensor, *_PLAIN)):
            name = type(leaf).__name__
            if callable(leaf) or name.endswith(("Config", "Output")):
                continue
            raise ModelError(f"it is called with a {name}, which a replay might change")


def _leaves(seen: _Seen) -> list[Any]:
    leaves: list[Any] = pytree.tree_leaves((seen.args, seen.kwargs))
    return leaves


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool(torch.equal(a.nan_to_num(), b.nan_to_num()))


def _signature(args: Any, kwargs: Mapping[str, Any]) -> Any:
    flat = pytree.tree_leaves((list(args), dict(kwargs)))
    return tuple(
        (tuple(leaf.shape), leaf.dtype)
        if isinstance(leaf, torch.Tensor)
        else leaf
        if isinstance(leaf, _PLAIN) and not isinstance(leaf, slice)
        else type(leaf).__name__
        for leaf in flat
    )
