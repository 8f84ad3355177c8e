"""Repeated layers of a module: run once, replayed where a layer of the same signature gets the same kind of inputs.

Which layers are alike is told by what they hold (`layers.py`). A layer is replayed only if its run left no trace but
what it returned: it read no number of its own, changed no attribute and no weight, kept no tensor, and looked at none
that it was not given. That others run like it is checked the first time: all of them are run too and compared where the
code is anybody's, the second and the last where it is of a known library.
"""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.utils import _pytree as pytree

from energy_opt.frontend.pytorch.layers import Group, Reads, is_plain

if TYPE_CHECKING:
    from energy_opt.frontend.pytorch.mode import Mode


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
    """Makes the layers of the groups replay during one run.

    `different` are groups whose probes disagreed, `unfit` those whose layers left a trace and so were all run.
    """

    def __init__(
        self,
        mode: Mode,
        groups: Mapping[nn.Module, Group],
        weights_of: Callable[[nn.Module], list[int]],
        changed: Callable[[nn.Module], bool],
        *,
        verify: bool,
    ) -> None:
        self.different: list[Group] = []
        self.unfit: list[Group] = []
        self._reads = Reads(groups)
        self._changed = changed
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
            with self._reads.counted():
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
            if None in kinds or group in self.unfit or self._mode.wrote_weight:
                return original(*args, **kwargs)
            key = (group, str(spec), tuple(kinds))
            template = self._templates.get(key)
            entering = [self._mode.number(tensor) for tensor in inputs]
            if template is not None and not (self._verify and group.is_probe(module)):
                return self._replayed(template, module, inputs, entering)
            start, born, reads = len(self._mode.steps), self._mode.count, self._reads.count
            known = dict(self._templates)
            result = original(*args, **kwargs)
            made = self._template(module, start, born, inputs, entering, result)
            if template is None:
                if reads == self._reads.count and self._left_no_trace(made, inputs):
                    self._templates[key] = made
                else:
                    self.unfit.append(group)
            elif group not in self.different:
                if self._same(template, made):  # then this run is written down as the others are
                    self._mode.rewind(start, born, inputs, entering)
                    self._templates = known
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

    def _left_no_trace(self, made: _Template, inputs: Sequence[torch.Tensor]) -> bool:
        """Whether all that the layer did was to return what it made of its inputs."""
        mode = self._mode
        if mode.wrote_weight or self._changed(made.module):
            return False
        if any(
            n is None and not is_plain(x) for n, x in zip(made.numbers, made.leaves, strict=True)
        ):
            return False
        weights = set(self._weights_of(mode.root))
        if not weights.isdisjoint(n for n in made.numbers if n is not None):
            return False
        given = weights.union(made.entering)
        if any(n < made.born and n not in given for n in _read(mode.steps[made.start :])):
            return False
        # What is left is held by us: what came in, what goes out (twice: as the result and as leaves), templates.
        ours = Counter(id(leaf) for leaf in made.leaves for _ in range(2))
        ours.update(id(leaf) for template in self._templates.values() for leaf in template.leaves)
        came = set(map(id, inputs))
        held = mode.holders(made.born)
        return all(number <= ours[tensor] or tensor in came for tensor, number in held.items())

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


def _read(steps: Sequence[Any]) -> Iterator[int]:
    """Numbers of the tensors that steps read."""
    for step in steps:
        if isinstance(step, Replay):
            yield from _numbers(step.entering)
        else:
            yield from (number for number in step.inputs if number is not None)


def _leaf(leaf: Any, tensors: Sequence[torch.Tensor]) -> Any:
    """What a replay depends on in one argument; None where it could depend on more than can be seen."""
    if isinstance(leaf, torch.Tensor):
        same = next(i for i, tensor in enumerate(tensors) if tensor is leaf)
        return (tuple(leaf.shape), leaf.stride(), leaf.dtype, same)
    if is_plain(leaf):
        return (type(leaf), leaf)
    return None
