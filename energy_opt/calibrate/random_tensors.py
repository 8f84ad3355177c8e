"""Operands of primitives: random tensors of the right layout, cut from a pool, and the call that runs the operator."""
# ruff: noqa: TID253  (this file is imported where a primitive is run)

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from energy_opt.calibrate.backend import Data, Unrunnable
from energy_opt.calibrate.primitives import Primitive, TensorSpec
from energy_opt.frontend.pytorch.schema import DROPPED

Maker = Callable[[TensorSpec, bool], torch.Tensor]


class Pool:
    """Random memory per type from which operands are cut at moving places, so that no cache holds them by chance.

    `megabytes` is the size per type; operands that do not fit get memory of their own. `data` is `zeros` where the
    influence of what is computed on is measured.
    """

    def __init__(
        self, megabytes: int, seed: int, device: str = "cpu", data: Data = "normal"
    ) -> None:
        self._bytes = megabytes * 2**20
        self._device, self._data = device, data
        self._generator = torch.Generator(device).manual_seed(seed)
        self._memory: dict[torch.dtype, torch.Tensor] = {}
        self._place: dict[torch.dtype, int] = {}

    def tensor(self, spec: TensorSpec, *, own: bool = False) -> torch.Tensor:
        """An operand; with `own` in memory that nothing else shares, because it will be written to."""
        dtype = dtype_of(spec.dtype)
        strides = spec.strides if spec.strides is not None else contiguous(spec.shape)
        length = extent(spec.shape, strides)
        if spec.role == "index" or not (dtype.is_floating_point and dtype.itemsize > 1):
            flat = self._whole(length, dtype, spec.high)
        elif own or length * dtype.itemsize > self._bytes // 2:
            flat = self._fresh(length, dtype)
        else:
            flat = self._cut(length, dtype)
        return flat.as_strided(spec.shape, strides)

    def _whole(self, length: int, dtype: torch.dtype, high: int) -> torch.Tensor:
        if dtype is torch.bool:
            return torch.ones(length, dtype=dtype, device=self._device)
        if dtype.is_complex or dtype.is_floating_point:
            return self._fresh(length, torch.float32).to(dtype)
        high = max(high, 1)
        made = torch.randint(0, high, (length,), generator=self._generator, device=self._device)
        return made.to(dtype)

    def _fresh(self, length: int, dtype: torch.dtype) -> torch.Tensor:
        if self._data == "zeros":
            return torch.zeros(length, dtype=dtype, device=self._device)
        made = torch.empty(length, dtype=dtype, device=self._device)
        source = self._pool(dtype)
        for start in range(0, length, len(source)):  # as random, and ten times as quick as drawing
            part = made[start : start + len(source)]
            part.copy_(source[: len(part)])
        return made

    def _pool(self, dtype: torch.dtype) -> torch.Tensor:
        memory = self._memory.get(dtype)
        if memory is None:
            count = self._bytes // dtype.itemsize
            block = torch.randn(2**20, generator=self._generator, device=self._device).to(dtype)
            if self._data == "zeros":
                block.zero_()
            memory = block.repeat(max(1, -(-count // len(block))))
            self._memory[dtype] = memory
        return memory

    def _cut(self, length: int, dtype: torch.dtype) -> torch.Tensor:
        memory = self._pool(dtype)
        start = self._place.get(dtype, 0)
        if start + length > len(memory):
            start = 0
        # operands start on a cache line, as those that an allocator gives do
        self._place[dtype] = start + -(-length // 64) * 64
        return memory[start : start + length]


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of contiguous memory of that shape, in elements."""
    strides: list[int] = []
    step = 1
    for dim in reversed(shape):
        strides.append(step)
        step *= max(dim, 1)
    return tuple(reversed(strides))


def extent(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Elements from the first to the last that the strides reach."""
    if any(dim == 0 for dim in shape):
        return 1
    return 1 + sum((dim - 1) * stride for dim, stride in zip(shape, strides, strict=True))


def dtype_of(name: str) -> torch.dtype:
    """torch's dtype of that name. Raises Unrunnable."""
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise Unrunnable(f"{name} is no element type of torch {torch.__version__}")
    return found


@functools.cache
def operator(op: str, overload: str) -> Any:
    """torch's operator of that name. Raises Unrunnable where this torch does not have it."""
    domain, _, name = op.rpartition("::")
    try:
        packet = getattr(getattr(torch.ops, domain), name)
        return getattr(packet, overload or "default")
    except (AttributeError, RuntimeError) as error:
        raise Unrunnable(f"{op}: torch {torch.__version__} does not have it") from error


def bound(primitive: Primitive, make: Maker) -> tuple[Any, list[Any], dict[str, Any]]:
    """The operator and its arguments: tensors from `make`, the others from the attributes.

    `make` is told whether the operator writes to the operand.

    Raises:
        Unrunnable: the operator or an argument is not one that this torch takes.
    """
    function = operator(primitive.op, primitive.overload)
    given = primitive.arguments
    tensors = iter(primitive.inputs)
    positional: list[Any] = []
    named: dict[str, Any] = {}
    skipped = False
    for argument in function._schema.arguments:
        if argument.name in DROPPED:
            if not argument.has_default_value():
                positional.append(_implied(argument.name, positional))
            continue
        value = given.get(argument.name)
        if "Tensor" in str(argument.type):
            value = _tensors(argument, tensors, value, make)
        elif argument.name in given:
            value = _plain(value)
        if argument.has_default_value() and _same(value, argument.default_value):
            skipped = True  # what follows is given by name
        elif argument.kwarg_only or skipped:
            named[argument.name] = value
        else:
            positional.append(value)
    return function, positional, named


def _implied(name: str, positional: list[Any]) -> Any:
    """What a graph leaves out because it says nothing of the work: the device, or whether cuDNN may be used."""
    return positional[0].device if name == "device" else True


def _tensors(argument: Any, specs: Iterator[TensorSpec | None], given: Any, make: Maker) -> Any:
    """What a tensor argument is: a tensor, a list of as many as the attribute says, or a number in its place."""
    written = argument.alias_info is not None and argument.alias_info.is_write
    if "List[" in str(argument.type):
        found = [next(specs, None) for _ in range(int(given or 0))]
        return [None if spec is None else make(spec, written) for spec in found]
    spec = next(specs, None)
    return given if spec is None else make(spec, written)


def _same(value: Any, default: Any) -> bool:
    """Whether leaving the argument away means the same."""
    if isinstance(value, torch.Tensor) or (
        isinstance(value, list) and value and isinstance(value[0], torch.Tensor)
    ):
        return False
    return value is None or bool(value == default)


def _plain(value: Any) -> Any:
    """An attribute as the operator takes it: dtypes and memory formats are text in a graph, lists are tuples."""
    if isinstance(value, str):
        found = getattr(torch, value, None)
        return found if isinstance(found, (torch.dtype, torch.memory_format)) else value
    return list(value) if isinstance(value, tuple) else value
