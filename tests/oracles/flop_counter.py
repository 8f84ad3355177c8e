"""torch's FlopCounterMode as an oracle: helped where it would miss matrix products."""

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


def macs(module: Any, inputs: Mapping[str, Any], *, helped: bool = True) -> float:
    """Multiply-adds that FlopCounterMode counts (it says 2 FLOPs for each) on fake tensors, with no mask given.

    It knows neither fused attention on CPUs nor grouped products of experts. `helped` has attention written out as
    products (SDPA's math backend) and experts as batched ones, which transformers offers as well. Fake tensors rather
    than plain meta ones: transformers then takes no value from the mask that it makes.
    """
    # In float32 transformers asks for grouped products that fake tensors refuse; experts "helped" are never grouped.
    counter = FlopCounterMode(display=False)
    attention = sdpa_kernel(SDPBackend.MATH) if helped else contextlib.nullcontext()
    experts = _batched_experts(module) if helped else contextlib.nullcontext()
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True) as fake:
        given = {name: fake.from_tensor(tensor) for name, tensor in inputs.items()}
        with experts, attention, counter:
            module(**given)
    return counter.get_total_flops() / 2


@contextlib.contextmanager
def _batched_experts(module: Any) -> Iterator[None]:
    before = getattr(module.config, "_experts_implementation", None)
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)  # mamba: hints about kernels that are not installed
    if before is not None and hasattr(module, "set_experts_implementation"):
        module.set_experts_implementation("batched_mm")
    try:
        yield
    finally:
        logger.setLevel(level)
        if before is not None and hasattr(module, "set_experts_implementation"):
            module.set_experts_implementation(before)
