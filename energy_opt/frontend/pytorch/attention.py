"""What fused attention returns: laid out as its kernels do it, and without running its math on the meta device."""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

NAME = "aten.scaled_dot_product_attention.default"


def fused(tensors: Sequence[torch.Tensor | None], values: Sequence[Any]) -> torch.Tensor | None:
    """What the fused kernels return; None where torch has to check the operands.

    On the meta device torch takes its operators one by one, which is slow.
    """
    q, k, v, mask = (*tensors, None)[:4]
    if q is None or k is None or v is None or q.dim() != 4 or not q.dtype == k.dtype == v.dtype:
        return None
    grouped = bool(values[-1])  # enable_gqa
    heads = q.shape[1] % k.shape[1] == 0 if grouped else q.shape[1] == k.shape[1]
    if (
        not heads
        or q.shape[0] != k.shape[0]
        or q.shape[3] != k.shape[3]
        or k.shape[:3] != v.shape[:3]
    ):
        return None
    if mask is not None and (
        mask.dim() != 4
        or mask.shape[3] not in (1, k.shape[2])
        or mask.shape[2] not in (1, q.shape[2])
    ):
        return None
    return torch.empty((*q.shape[:3], v.shape[3]), dtype=q.dtype, device=q.device)


def by_position(q: torch.Tensor) -> bool:
    """Whether queries[b, heads, s, d] lie in memory as [b, s, heads, d], as models make them."""
    return bool(q.dim() == 4 and q.stride(1) < q.stride(2))
