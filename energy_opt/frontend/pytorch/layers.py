"""Which layers of a module are alike: one is run, and the others are replayed (see `replay.py`).

A signature is everything a layer's forward can see of itself but its number: classes, plain attributes, shapes and
dtypes of weights, and the identity of what it shares (a config, an activation function). Whether the number is read
is watched.
"""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

_CONTAINERS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)
_SIMPLE = (int, float, str, bool, types.NoneType, torch.dtype)
_NUMBERS = frozenset({"layer_idx", "layer_id", "layer_index", "layer_number"})
_KNOWN = frozenset({"diffusers", "timm", "torch", "torchvision", "transformers"})
"""Packages whose layers keep no count of their calls outside of themselves."""
_OWN = frozenset({"_parameters", "_buffers", "_modules"})


@dataclass(eq=False)
class Group:
    """Modules of equal signature, in the order in which the model holds them."""

    members: list[nn.Module] = field(default_factory=list)

    @functools.cached_property
    def known(self) -> bool:
        """Whether all of its code is of packages that are known."""
        return {type(m).__module__.partition(".")[0] for m in self.members[0].modules()} <= _KNOWN

    def is_probe(self, module: nn.Module) -> bool:
        """Whether the module is run although it could be replayed, the first time: of code not known, every one is."""
        return not self.known or module is self.members[1] or module is self.members[-1]


def repeated(paths: Mapping[nn.Module, str]) -> dict[nn.Module, Group]:
    """The groups of two or more equal layers in the module's lists and sequences, by layer."""
    groups: dict[Any, Group] = {}
    signatures: dict[nn.Module, Any] = {}
    for module in paths:
        if isinstance(module, _CONTAINERS):
            for child in module.children():
                if next(child.children(), None) is not None:  # an op is as cheap as its replay
                    group = groups.setdefault(_signature(child, signatures), Group())
                    if child not in group.members:
                        group.members.append(child)
    return {m: group for group in groups.values() if len(group.members) > 1 for m in group.members}


def _signature(module: nn.Module, known: dict[nn.Module, Any]) -> Any:
    found = known.get(module)
    if found is None:
        attributes = [
            (name, _described(value))
            for name, value in module.__dict__.items()
            if name not in _NUMBERS and name not in _OWN and name != "training"
        ]
        weights = [
            (name, None if t is None else (tuple(t.shape), t.stride(), t.dtype))
            for store in (module._parameters, module._buffers)
            for name, t in store.items()
        ]
        children = [
            (name, None if child is None else _signature(child, known))
            for name, child in module._modules.items()
        ]
        found = known[module] = hash(
            (type(module), tuple(attributes), tuple(weights), tuple(children))
        )
    return found


def _described(value: Any) -> Any:
    """What tells two attributes apart: the value of plain ones, the identity of all others."""
    if isinstance(value, _SIMPLE):
        return (type(value), value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, _SIMPLE) for item in value):
        return (type(value), tuple(value))
    if isinstance(value, dict) and not value:
        return dict
    if isinstance(value, (set, frozenset)) and all(isinstance(item, _SIMPLE) for item in value):
        return frozenset(value)
    if isinstance(value, torch.Tensor):
        return (tuple(value.shape), value.stride(), value.dtype)
    if isinstance(value, functools.partial):
        named = [(name, _described(item)) for name, item in sorted(value.keywords.items())]
        return (id(value.func), *map(_described, value.args), *named)
    return id(value)


def is_plain(value: Any) -> bool:
    """Whether two values that are equal are the same for all a layer does with them."""
    return isinstance(value, _SIMPLE)


class Reads:
    """How often layers have read their number. Counted inside the context, by properties on their classes."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.count = 0
        self._named = {
            (type(child), name)
            for module in modules
            for child in module.modules()
            for name in _NUMBERS.intersection(child.__dict__)
        }

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count inside this context."""
        with contextlib.ExitStack() as restore:
            for kind, name in self._named:
                if name in kind.__dict__:
                    restore.callback(setattr, kind, name, kind.__dict__[name])
                else:
                    restore.callback(delattr, kind, name)
                setattr(kind, name, self._property(name))
            yield

    def _property(self, name: str) -> property:
        def read(module: nn.Module) -> Any:
            self.count += 1
            try:
                return module.__dict__[name]
            except KeyError:
                raise AttributeError(name) from None

        def write(module: nn.Module, value: Any) -> None:
            module.__dict__[name] = value

        def remove(module: nn.Module) -> None:
            module.__dict__.pop(name, None)

        return property(read, write, remove)
