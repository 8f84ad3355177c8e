"""Running a module on the meta device and writing down every operator call; the module is left as it was.

Repeated layers are run once and replayed, see `replay.py`.
"""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from energy_opt.frontend.pytorch.layers import Group, repeated
from energy_opt.frontend.pytorch.mode import Mode, Step, exporting, on_meta
from energy_opt.frontend.pytorch.recording import Weight
from energy_opt.frontend.pytorch.replay import Replay, Replayer
from energy_opt.frontend.pytorch.state import State


@dataclass
class Run:
    """One run of a module: what it called, and the tensors that went in and out.

    `constants` are tensors that neither came in nor were made by an operator.
    """

    steps: list[Step | Replay]
    inputs: dict[int, tuple[tuple[int, ...], torch.dtype]]
    outputs: list[int]
    constants: dict[int, tuple[tuple[int, ...], torch.dtype]]
    count: int  # numbers from here on are free


class Recorder:
    """Records runs of one module, which is restored when the context is left, whatever happened.

    Inside the context its parameters and buffers are on the meta device, so that nothing is computed or copied.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.paths: dict[nn.Module, str] = {}
        self._shared: dict[nn.Module, list[str]] = {}
        for path, child in module.named_modules(remove_duplicate=False):
            if self.paths.setdefault(child, path) != path:
                self._shared.setdefault(child, [self.paths[child]]).append(path)
        self.modules = {
            path: type(child).__name__
            for path, child in module.named_modules(remove_duplicate=False)
        }
        self.weights: dict[int, Weight] = {}
        self.weight_types: dict[int, tuple[tuple[int, ...], torch.dtype]] = {}
        self._numbers: dict[int, int] = {}  # id of a weight -> its number
        self._kept: list[torch.Tensor] = []  # an id is only good while its tensor lives
        self._restore = contextlib.ExitStack()
        self._groups: dict[nn.Module, Group] = {}
        self._weights_of: dict[nn.Module, list[int]] = {}
        self._verified = False
        self._state = State(())

    def __enter__(self) -> Recorder:
        try:
            self._restore.callback(State(()).restore_random)
            self._to_meta()
            self._groups = repeated(self.paths)
            self._state = State(self.paths)
            for layer in (self.module, *self._groups):
                self.weights_of(layer)  # a run may put other tensors in their place
        except BaseException:
            self._restore.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._restore.close()

    def weights_of(self, module: nn.Module) -> list[int]:
        """Numbers of the weights of a module, its children's included, in the order of its attributes."""
        found = self._weights_of.get(module)
        if found is None:
            found = self._weights_of[module] = [
                self._numbers[id(value)]
                for child in module.modules()
                for store in (child._parameters, child._buffers, child.__dict__)
                for value in store.values()
                if isinstance(value, torch.Tensor) and id(value) in self._numbers
            ]
        return found

    def run(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Run:
        """One run on these inputs, whose tensors are on the meta device.

        Raises:
            Unrecordable: a higher-order operator was called, or torch is not as this file knows it.
            Exception: whatever the module raises, which on the meta device includes reading a tensor's values.
        """
        mode = Mode(self.paths, self._shared, self._numbers)
        replayer = Replayer(
            mode, self._groups, self.weights_of, self._state.changed, verify=not self._verified
        )
        leaves = pytree.tree_leaves((list(args), dict(kwargs)))
        given = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        inputs = {mode.take_in(tensor): (tuple(tensor.shape), tensor.dtype) for tensor in given}
        try:
            with exporting(), mode.scopes(), replayer.patched(), torch.no_grad(), mode:
                result = self.module(*args, **kwargs)
        finally:
            self._state.restore()
        gone = [*replayer.different, *replayer.unfit]
        # Layers that look alike and are not: from now on each of them is run.
        self._groups = {m: g for m, g in self._groups.items() if g not in gone}
        if replayer.different:
            return self.run(args, kwargs)
        self._verified = True
        outputs = [
            mode.number(t) for t in pytree.tree_leaves(result) if isinstance(t, torch.Tensor)
        ]
        return Run(mode.steps, inputs, outputs, mode.constants, mode.count)

    def _to_meta(self) -> None:
        swapped: dict[int, torch.Tensor] = {}
        for child, path in self.paths.items():
            if child.training:
                child.training = False
                self._restore.callback(setattr, child, "training", True)
            for store in (child._parameters, child._buffers, child.__dict__):
                for name, value in list(store.items()):
                    if not isinstance(value, torch.Tensor):
                        continue
                    meta = swapped.get(id(value))
                    if meta is None:
                        meta = swapped[id(value)] = on_meta(value)
                        full = f"{path}.{name}" if path else name
                        self._number(meta, Weight(full, store is child._parameters))
                    if meta is not value:
                        self._restore.callback(store.__setitem__, name, value)
                        store[name] = meta

    def _number(self, meta: torch.Tensor, weight: Weight) -> None:
        number = self._numbers[id(meta)] = len(self._kept)
        self._kept.append(meta)
        self.weights[number] = weight
        self.weight_types[number] = (tuple(meta.shape), meta.dtype)
