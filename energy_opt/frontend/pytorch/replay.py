"""Repeated layers of a module: run once, replayed where a layer of the same signature gets the same kind of inputs.

A signature is everything a layer's forward can see of itself but its number: classes, plain attributes, shapes and
dtypes of weights, and the identity of what it shares (a config, an activation function). That nothing depends on the
number is checked: the second and the last layer of a group are run too and compared, the first time.
"""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from energy_opt.frontend.pytorch.recorder import Mode

_CONTAINERS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)
_SIMPLE = (int, float, str, bool, types.NoneType, torch.dtype)
_NUMBERS = frozenset({"layer_idx", "layer_id", "layer_index", "layer_number", "training"})
_OWN = frozenset({"_parameters", "_buffers", "_modules"})


class Replay(NamedTuple):
    """A layer that runs like an earlier one: steps `start` to `end` again, with other tensors, at another path.

    `entering` and `leaving` pair the numbers of tensors in the earlier run with those in this one; weights are among
    the former.
    """

    start: int
    end: int
    first: str
    path: str
    entering: tuple[tuple[int, int], ...]
    leaving: tuple[tuple[int, int], ...]


@dataclass(eq=False)
class Group:
    """Modules of equal signature, in the order in which the model holds them."""

    members: list[nn.Module] = field(default_factory=list)

    def is_probe(self, module: nn.Module) -> bool:
        """Whether the module is run although it could be replayed, the first time."""
        return module is self.members[1] or module is self.members[-1]


def repeated(paths: Mapping[nn.Module, str]) -> dict[nn.Module, Group]:
    """The groups of two or more equal layers in the module's lists and sequences, by layer."""
    groups: dict[Any, Group] = {}
    signatures: dict[nn.Module, Any] = {}
    for module in paths:
        if isinstance(module, _CONTAINERS):
            for child in module.children():
                if (
                    next(child.children(), None) is not None
                ):  # a single op is as cheap as its replay
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
            if name not in _NUMBERS and name not in _OWN
        ]
        weights = [
            (name, None if t is None else (tuple(t.shape), t.dtype))
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
        return (tuple(value.shape), value.dtype)
    if isinstance(value, functools.partial):
        return (id(value.func), *map(_described, (*value.args, *sorted(value.keywords.items()))))
    return id(value)


class _Template(NamedTuple):
    """A recorded call of a layer, with what a replay has to give back."""

    start: int
    end: int
    born: int  # tensors from this number on are its own
    module: nn.Module
    entering: list[int]
    changed: list[tuple[int, int]]  # (index of an input, its number after the call)
    leaves: list[Any]
    numbers: list[int | None]
    spec: Any


class Replayer:
    """Makes the layers of the groups replay during one run. `different` are groups whose probes disagreed."""

    def __init__(
        self,
        mode: Mode,
        groups: Mapping[nn.Module, Group],
        weights_of: Callable[[nn.Module], list[int]],
        *,
        verify: bool,
    ) -> None:
        self.different: list[Group] = []
        self._mode = mode
        self._groups = groups
        self._weights_of = weights_of
        self._verify = verify
        self._templates: dict[Any, _Template] = {}

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """Layers replay inside this context."""
        changed: list[tuple[nn.Module, Any]] = []
        try:
            for module, group in self._groups.items():
                changed.append((module, module.__dict__.get("forward")))
                module.__dict__["forward"] = self._forward(module, group)
            yield
        finally:
            for module, own in changed:
                module.__dict__.pop("forward")
                if own is not None:
                    module.__dict__["forward"] = own

    def _forward(self, module: nn.Module, group: Group) -> Callable[..., Any]:
        original = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            leaves, spec = pytree.tree_flatten((args, kwargs))
            inputs = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
            kinds = [_leaf(leaf, inputs) for leaf in leaves]
            if None in kinds:
                return original(*args, **kwargs)
            key = (group, str(spec), tuple(kinds))
            template = self._templates.get(key)
            entering = [self._mode.number(tensor) for tensor in inputs]
            if template is not None and not (self._verify and group.is_probe(module)):
                return self._replayed(template, module, inputs, entering)
            start, born = len(self._mode.steps), self._mode.count
            result = original(*args, **kwargs)
            made = self._template(module, start, born, inputs, entering, result)
            if template is None:
                weights = set(self._weights_of(self._mode.root))
                if weights.isdisjoint(n for n in made.numbers if n is not None):
                    self._templates[key] = made
            elif group not in self.different:
                if self._same(template, made):  # then this run is written down as the others are
                    self._mode.rewind(start, born, inputs, entering)
                    self._templates = {k: t for k, t in self._templates.items() if t.start < start}
                    return self._replayed(template, module, inputs, entering)
                self.different.append(group)
            return result

        return forward

    def _template(
        self,
        module: nn.Module,
        start: int,
        born: int,
        inputs: list[torch.Tensor],
        entering: list[int],
        result: Any,
    ) -> _Template:
        after = [self._mode.number(tensor) for tensor in inputs]
        changed = [
            (i, new) for i, (old, new) in enumerate(zip(entering, after, strict=True)) if old != new
        ]
        leaves, spec = pytree.tree_flatten(result)
        numbers = [self._mode.number(t) if isinstance(t, torch.Tensor) else None for t in leaves]
        end = len(self._mode.steps)
        return _Template(start, end, born, module, entering, changed, leaves, numbers, spec)

    def _replayed(
        self,
        template: _Template,
        module: nn.Module,
        inputs: list[torch.Tensor],
        entering: list[int],
    ) -> Any:
        mode = self._mode
        pairs = self._pairs(template, module, entering)
        leaving: list[tuple[int, int]] = []
        given_back: dict[int, torch.Tensor] = dict(zip(template.entering, inputs, strict=True))
        for index, after in template.changed:
            leaving.append((after, mode.take_in(inputs[index])))
            given_back[after] = inputs[index]
        leaves = []
        for leaf, number in zip(template.leaves, template.numbers, strict=True):
            if number is not None and number not in given_back and number >= template.born:
                given_back[number] = likeness = mode.likeness(leaf)
                leaving.append((number, mode.take_in(likeness)))
            leaves.append(leaf if number is None else given_back.get(number, leaf))
        paths = mode.paths
        mode.steps.append(
            Replay(
                template.start,
                template.end,
                paths[template.module],
                paths[module],
                pairs,
                tuple(leaving),
            )
        )
        return pytree.tree_unflatten(leaves, template.spec)

    def _pairs(
        self, template: _Template, module: nn.Module, entering: Sequence[int]
    ) -> tuple[tuple[int, int], ...]:
        first, this = self._weights_of(template.module), self._weights_of(module)
        return tuple(zip([*first, *template.entering], [*this, *entering], strict=True))

    def _same(self, a: _Template, b: _Template) -> bool:
        """Whether two recorded calls are the same but for the tensors they work on."""
        steps: list[Any] = self._mode.steps
        if a.end - a.start != b.end - b.start:
            return False
        renamed = dict(self._pairs(a, b.module, b.entering))
        first, this = self._mode.paths[a.module], self._mode.paths[b.module]
        for x, y in zip(steps[a.start : a.end], steps[b.start : b.end], strict=True):
            if isinstance(x, Replay) or isinstance(y, Replay):
                if type(x) is not type(y) or (x.start, x.end) != (y.start, y.end):
                    return False
                renamed.update(zip(_numbers(x.leaving), _numbers(y.leaving), strict=True))
                continue
            alike = (x.schema, x.values, x.types, x.reuses) == (
                y.schema,
                y.values,
                y.types,
                y.reuses,
            )
            inputs = tuple([renamed.get(i, i) if i is not None else None for i in x.inputs])
            if not alike or inputs != y.inputs or x.path[len(first) :] != y.path[len(this) :]:
                return False
            renamed.update(zip(x.outputs, y.outputs, strict=True))
        return [renamed.get(n, n) if n is not None else None for n in a.numbers] == b.numbers


def _numbers(pairs: Sequence[tuple[int, int]]) -> list[int]:
    return [number for _, number in pairs]


def _leaf(leaf: Any, tensors: Sequence[torch.Tensor]) -> Any:
    """What a replay depends on in one argument; None where it could depend on more than can be seen."""
    if isinstance(leaf, torch.Tensor):
        same = next(i for i, tensor in enumerate(tensors) if tensor is leaf)
        return (tuple(leaf.shape), leaf.stride(), leaf.dtype, same)
    if isinstance(leaf, _SIMPLE):
        return (type(leaf), leaf)
    return None
