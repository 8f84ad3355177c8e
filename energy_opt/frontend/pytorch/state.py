"""What the modules of a model hold, so that it can be put back after a run, and seen whether a run changed it."""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import nn

_CONTAINERS = (dict, OrderedDict, list, set)
_GONE = object()


class _Held(NamedTuple):
    attributes: dict[str, Any]
    containers: list[tuple[Any, Any]]  # (the object, what it held)


class State:
    """The attributes of modules and what is in their lists and dictionaries, and torch's random numbers."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._random = torch.random.get_rng_state()
        self._held = {module: _held(module) for module in modules}

    def changed(self, module: nn.Module) -> bool:
        """Whether the module or one of its children is not as it was, its `forward` aside."""
        return any(_differs(child, self._held.get(child)) for child in module.modules())

    def restore(self) -> None:
        """Make every module hold again what it held."""
        for module, held in self._held.items():
            now = module.__dict__
            if not _same(now, held.attributes):
                now.clear()
                now.update(held.attributes)
            for container, before in held.containers:
                if (container or before) and not _same(container, before):
                    container.clear()
                    (container.extend if isinstance(container, list) else container.update)(before)

    def restore_random(self) -> None:
        """Make torch draw the random numbers that it would have drawn."""
        torch.random.set_rng_state(self._random)


def _held(module: nn.Module) -> _Held:
    containers = [v for v in module.__dict__.values() if type(v) in _CONTAINERS]
    return _Held(dict(module.__dict__), [(v, v.copy() if v else ()) for v in containers])


def _differs(module: nn.Module, held: _Held | None) -> bool:
    if held is None:
        return True
    now, before = module.__dict__, held.attributes
    return (
        len(now) - ("forward" in now) != len(before) - ("forward" in before)
        or any(now.get(k, _GONE) is not v for k, v in before.items() if k != "forward")
        or any((c or b) and not _same(c, b) for c, b in held.containers)
    )


def _same(a: Any, b: Any) -> bool:
    if len(a) != len(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(map(operator.is_, a.values(), b.values()))
    if isinstance(a, set):
        return {id(item) for item in a} == {id(item) for item in b}
    return all(map(operator.is_, a, b))
