"""torch's FlopCounterMode as an oracle, with help where it would miss matrix products."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def at(inputs: Mapping[str, Any], dynamic: Mapping[str, Any], sizes: Mapping[str, int]) -> Any:
    """Meta tensors like `inputs` with the free axes at these sizes."""
    made = {}
    for name, tensor in inputs.items():
        free = dynamic.get(name, {})
        shape = [sizes.get(free.get(axis, ""), size) for axis, size in enumerate(tensor.shape)]
        made[name] = torch.empty(shape, dtype=tensor.dtype, device="meta")
    return made


def macs(module: Any, inputs: Mapping[str, Any], *, batched_experts: bool = True) -> float:
    """Multiply-adds that FlopCounterMode counts (it says 2 FLOPs for each) on fake tensors, with no mask given.

    Attention is written out as products (SDPA's math backend), since fused kernels of CPUs are unknown to it. So are
    grouped products of experts: they are batched instead, which transformers offers as well. Fake tensors rather than
    plain meta ones, since transformers then reads no value from the masks that it makes.
    """
    counter = FlopCounterMode(display=False)
    experts = _batched(module) if batched_experts else contextlib.nullcontext()
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True) as fake:
        given = {name: fake.from_tensor(tensor) for name, tensor in inputs.items()}
        with _quiet(), experts, sdpa_kernel(SDPBackend.MATH), counter:
            module(**given)
    return counter.get_total_flops() / 2


@contextlib.contextmanager
def _batched(module: Any) -> Iterator[None]:
    before = module.config._experts_implementation
    module.set_experts_implementation("batched_mm")
    try:
        yield
    finally:
        module.set_experts_implementation(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)  # hints about kernels of mamba that are not installed
    try:
        yield
    finally:
        logger.setLevel(level)
