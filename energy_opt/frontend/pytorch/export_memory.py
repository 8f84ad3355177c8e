"""In whose memory the tensors of an exported program live, by the storage and strides of torch's fake ones."""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch


class Ref(NamedTuple):
    """A tensor of the recording, with what torch knows of it: a fake tensor of its shape, strides and storage."""

    number: int
    fake: Any


def is_ref(value: Any) -> bool:
    """Whether the value is a tensor of the recording."""
    return isinstance(value, Ref)


def unwrapped(fake: Any) -> Any:
    """The memory behind a tensor that a vmap shows one element of."""
    functorch = torch._C._functorch
    while functorch.is_batchedtensor(fake):
        fake = functorch.get_unwrapped(fake)
    return fake


def _storage(fake: Any) -> int | None:
    try:
        return int(fake.untyped_storage()._cdata)
    except NotImplementedError:  # sparse tensors have none
        return None


def shared(made: Ref, operands: Sequence[Ref | None]) -> int | None:
    """Index of the first operand in whose memory the result lives."""
    storage = _storage(made.fake)
    if storage is None:
        return None
    for index, operand in enumerate(operands):
        if operand is not None and _storage(operand.fake) == storage:
            return index
    return None


def laid_out(query: Ref, key: Ref, value: Ref, mask: Ref | None = None) -> Any:
    """A fake result of attention as fused kernels leave it, in the order of the queries' axes.

    torch's own, of the operators one by one, would make copies of what follows where there are views. None where
    torch has to take it apart.
    """
    q, v = query.fake, value.fake
    if q.dim() != 4 or not q.dtype == key.fake.dtype == v.dtype or not hasattr(q, "fake_mode"):
        return None
    if mask is not None and mask.fake.dim() != 4:
        return None
    try:
        with unguarded(q.fake_mode), q.fake_mode:
            order = sorted(range(4), key=lambda axis: -q.stride(axis))
            return torch.empty_permuted(
                (*q.shape[:3], v.shape[3]), order, dtype=q.dtype, device=q.device
            )
    except Exception:  # noqa: BLE001 - strides that only the data knows cannot be put in order
        return None


def unguarded(mode: Any) -> contextlib.AbstractContextManager[Any]:
    """Nothing that is asked here about sizes becomes a condition of the program."""
    environment = mode.shape_env
    return environment.suppress_guards() if environment is not None else contextlib.nullcontext()
