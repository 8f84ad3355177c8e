"""Seconds of a collective between devices: latency and bandwidth, for one number of ranks."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from energy_opt.estimators.forms.form import At, Chip, Parameter, Parts
from energy_opt.estimators.work import RowWork


class AlphaBeta:
    """`t = max(host_s, start_s + min(near_byte_s * B, phase_s + byte_s * B))` of B bytes of message.

    Small messages go in one step, each rank reading all the others'; large ones in two, scattered and gathered, which
    costs `phase_s` more and less per byte. What the links do depends on the ranks, so each number of them is fitted on
    its own. `host_s` is how long the host needs to launch one.

    Source: Thakur et al., "Optimization of collective communication operations in MPICH", 2005 (alpha-beta model).
    """

    name: ClassVar[str] = "alpha-beta"
    needs: ClassVar[frozenset[str]] = frozenset({"message"})
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("host_s", "s", 5e-6, 1e-7, 1e-2, "launching one, however small"),
        Parameter("start_s", "s", 8e-6, 1e-7, 1e-2, "one step, however small"),
        Parameter("near_byte_s", "s/byte", 3e-11, 1e-14, 1e-6, "one byte of a message in one step"),
        Parameter("phase_s", "s", 1e-5, 1e-8, 1e-2, "what two steps take longer"),
        Parameter("byte_s", "s/byte", 1e-11, 1e-14, 1e-6, "one byte of a message in two steps"),
    )

    def parts(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """Seconds of one execution of the work, of `message` bytes."""
        message = work.sizes["message"]
        near = at["near_byte_s"] * message
        sent = np.minimum(near, at["phase_s"] + at["byte_s"] * message)
        start = np.maximum(at["start_s"], at["host_s"] - sent)
        return Parts(start + sent, np.zeros_like(sent), sent, start)
