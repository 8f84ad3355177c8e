"""Seconds of an operator that passes over its operands once on a CPU: one thread or all, from caches or from memory."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from energy_opt.estimators.forms.form import At, Chip, Parameter, Parts
from energy_opt.estimators.work import RowWork

GRAIN_BYTES = 4.0 * 32768
"""Results up to this size are made by one thread.

Source: PyTorch, aten/src/ATen/Parallel.h and TensorIterator.h, GRAIN_SIZE of 32768 elements (of 4 bytes).
"""


class Stream:
    """`t = start_s + (vector_flop_s * V + byte_s * bytes) / speedup + far_byte_s * beyond(bytes)`, and `fork_s`.

    A result of up to 32768 elements is made by one thread: neither `speedup` nor `fork_s` then. What is beyond
    `near_bytes` comes from memory, or is a page that is touched for the first time.
    """

    name: ClassVar[str] = "stream"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("start_s", "s", 2e-6, 0.0, 1.0, "one execution, however small"),
        Parameter("fork_s", "s", 2e-6, 0.0, 1.0, "handing work to the other threads"),
        Parameter("speedup", "1", 2.0, 1.0, 1e3, "how many times faster all threads are than one"),
        Parameter("vector_flop_s", "s/FLOP", 1e-10, 0.0, 1.0, "one FLOP on one thread"),
        Parameter("byte_s", "s/byte", 5e-11, 0.0, 1.0, "one byte read or written by one thread, from caches"),
        Parameter("far_byte_s", "s/byte", 1e-11, 0.0, 1.0, "one more byte where caches do not hold them all"),
        Parameter("near_bytes", "byte", 4e6, 1e5, 1e9, "what caches hold"),
    )  # fmt: skip

    def parts(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """Seconds of one execution of the work."""
        alone = work.bytes_written <= GRAIN_BYTES
        threads = np.where(alone, 1.0, at["speedup"])
        other = work.other_flops + work.matmul_flops
        compute = at["vector_flop_s"] * other / threads
        # Smooth, so that a fit can find the edge; about bytes - near_bytes where that is large.
        beyond = work.bytes * (work.bytes / (work.bytes + at["near_bytes"]))
        memory = at["byte_s"] * work.bytes / threads + at["far_byte_s"] * beyond
        start = at["start_s"] + np.where(alone, 0.0, 1.0) * at["fork_s"]
        return Parts(start + compute + memory, compute, memory, start)
