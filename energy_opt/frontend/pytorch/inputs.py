"""Example inputs of a module: their names, which of their axes are free, and likenesses of them at other sizes."""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from energy_opt.errors import UsageError
from energy_opt.ir.graph import DimInfo

_NAME = re.compile(r"[A-Za-z_]\w{0,60}", re.ASCII)
_HOW = 'free axes are named as {"input_ids": {0: "batch", 1: "seq"}}'


@dataclass
class Leaf:
    """One tensor among the inputs: its name in the module's signature, shape, dtype, and its free axes by dim."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    axes: dict[int, str]


class Inputs:
    """What a module is called with. `args` and `kwargs` may hold tensors in lists, tuples and dictionaries.

    `dynamic` is None (guess: axis 0 is the batch, axis 1 of token ids the sequence), False (nothing is free), or names
    the free axes of inputs by the input's name: {"input_ids": {0: "batch", 1: "seq"}}.

    Raises:
        UsageError: the inputs do not fit the module's signature, or `dynamic` names what is not there.
    """

    def __init__(self, module: nn.Module, inputs: Any, dynamic: Any = None) -> None:
        self.args: tuple[Any, ...]
        if isinstance(inputs, Mapping):
            self.args, self.kwargs = (), dict(inputs)
        elif isinstance(inputs, (tuple, list)):
            self.args, self.kwargs = tuple(inputs), {}
        else:
            self.args, self.kwargs = (inputs,), {}
        self.guessed = dynamic is None
        named = _named(module, self.args, self.kwargs)
        self._flat, self._spec = pytree.tree_flatten((self.args, self.kwargs))
        names = _leaf_names(named)
        self.leaves = [
            Leaf(name, tuple(value.shape), value.dtype, {})
            for name, value in zip(names, self._flat, strict=True)
            if isinstance(value, torch.Tensor)
        ]
        if not self.leaves:
            kinds = ", ".join(sorted({type(value).__name__ for value in self._flat})) or "nothing"
            raise UsageError(
                f"{type(module).__name__}: the example inputs hold {kinds} and no torch.Tensor; give tensors "
                "of the shapes and types that it takes, such as torch.zeros(8, 64)"
            )
        if dynamic is None:
            self._guess()
        elif dynamic:
            self._declare(dynamic, list(named))
        self._check()

    @property
    def dims(self) -> dict[str, DimInfo]:
        """The free dims; each defaults to the example's size."""
        infos: dict[str, DimInfo] = {}
        for leaf in self.leaves:
            for axis, name in leaf.axes.items():
                where = f"{leaf.name} axis {axis}"
                infos.setdefault(name, DimInfo(name, (), where, "input", leaf.shape[axis]))
        return infos

    def fixed(self, sizes: Mapping[str, int]) -> Inputs:
        """The same inputs with these dims no longer free, at these sizes."""
        other = copy.copy(self)
        other.leaves = [
            Leaf(
                leaf.name,
                tuple(
                    sizes.get(leaf.axes.get(axis, ""), size) for axis, size in enumerate(leaf.shape)
                ),
                leaf.dtype,
                {axis: name for axis, name in leaf.axes.items() if name not in sizes},
            )
            for leaf in self.leaves
        ]
        return other

    def at(
        self, point: Mapping[str, int], *, real: bool = False
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """(args, kwargs) with likenesses on the meta device, the free axes at these sizes.

        With `real`, examples that have the wanted shape are handed on as they are.
        """
        made = iter(self.leaves)
        flat = []
        for value in self._flat:
            if not isinstance(value, torch.Tensor):
                flat.append(value)
                continue
            leaf = next(made)
            shape = list(leaf.shape)
            for axis, name in leaf.axes.items():
                shape[axis] = point[name]
            if real and shape == list(value.shape):
                flat.append(value)
                continue
            flat.append(torch.empty(shape, dtype=leaf.dtype, device="meta"))
        args, kwargs = pytree.tree_unflatten(flat, self._spec)
        return args, kwargs

    def _guess(self) -> None:
        batch = next((leaf.shape[0] for leaf in self.leaves if leaf.shape), None)
        lengths: dict[str, int] = {}
        for leaf in self.leaves:
            if not leaf.shape or leaf.shape[0] != batch:
                continue
            leaf.axes[0] = "batch"
            if len(leaf.shape) == 2 and not (leaf.dtype.is_floating_point or leaf.dtype.is_complex):
                name = "decoder_seq" if leaf.name.startswith("decoder") else "seq"
                if lengths.setdefault(name, leaf.shape[1]) == leaf.shape[1]:
                    leaf.axes[1] = name

    def _declare(self, dynamic: Any, names: list[str]) -> None:
        if isinstance(dynamic, (tuple, list)):
            dynamic = dict(zip(names, dynamic, strict=False))
        if not isinstance(dynamic, Mapping):
            raise UsageError(f"dynamic is a {type(dynamic).__name__}; {_HOW}")
        known = {leaf.name for leaf in self.leaves}
        for name, axes in dynamic.items():
            members = [
                leaf
                for leaf in self.leaves
                if leaf.name == name or leaf.name.startswith(f"{name}.")
            ]
            if not members and axes:
                raise UsageError(
                    f"dynamic names the input {name!r}; the module's tensor inputs are {', '.join(sorted(known))}"
                )
            specs = _axes(axes, name)
            for leaf in members:
                for axis, dim in specs.items():
                    rank = len(leaf.shape)
                    if not -rank <= axis < rank:
                        raise UsageError(f"dynamic: {leaf.name} has {rank} axes, so no axis {axis}")
                    leaf.axes[axis % rank] = _dim_name(dim, leaf.name, axis)

    def _check(self) -> None:
        sizes: dict[str, tuple[int, str]] = {}
        for leaf in self.leaves:
            for axis, name in leaf.axes.items():
                size, where = leaf.shape[axis], f"{leaf.name} axis {axis}"
                if size == 0:
                    raise UsageError(f"{where} is empty: example inputs need at least one element")
                known = sizes.setdefault(name, (size, where))
                if known[0] != size:
                    raise UsageError(
                        f"the dim {name!r} is {known[0]} at {known[1]} and {size} at {where}: "
                        "one dim has one size; give the axes different names"
                    )


def _named(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
    except TypeError as error:
        raise UsageError(
            f"{type(module).__name__}: the inputs do not fit its forward: {error}"
        ) from None
    except ValueError:  # a forward without a signature
        return {**{f"input_{i}": value for i, value in enumerate(args)}, **kwargs}
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            named.update({f"{name}_{i}": item for i, item in enumerate(value)})
        elif kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        else:
            named[name] = value
    order = list(named)[: len(args)] + list(kwargs)
    return {name: named[name] for name in order if name in named}


def _leaf_names(named: Mapping[str, Any]) -> list[str]:
    names = []
    for name, value in named.items():
        for path, _ in pytree.tree_flatten_with_path(value)[0]:
            parts = [
                str(getattr(key, "idx", getattr(key, "key", getattr(key, "name", key))))
                for key in path
            ]
            names.append(".".join([name, *parts]))
    return names


def _axes(axes: Any, name: str) -> dict[int, Any]:
    if axes is None:
        return {}
    if isinstance(axes, Mapping) and all(isinstance(axis, int) for axis in axes):
        return {axis: dim for axis, dim in axes.items() if dim is not None}
    if isinstance(axes, (tuple, list)):
        return {axis: dim for axis, dim in enumerate(axes) if dim is not None}
    raise UsageError(f"dynamic[{name!r}] is {axes!r}; {_HOW}")


def _dim_name(dim: Any, name: str, axis: int) -> str:
    """The name of a dim given as text or as a torch.export.Dim; one that is only marked free is named by its axis."""
    text = dim if isinstance(dim, str) else getattr(dim, "__name__", None)
    if text is None:
        text = "batch" if axis == 0 else f"{name.replace('.', '_')}_dim_{axis}"
    if not _NAME.fullmatch(text):
        raise UsageError(f"dynamic: {text!r} is no name for a dim; use letters, digits and _")
    return text
