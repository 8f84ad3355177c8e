"""Seconds of an operator that passes over its operands once on a GPU: from L2 while they fit, else from memory."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from energy_opt.estimators.forms.form import At, Chip, Parameter, Parts
from energy_opt.estimators.forms.roofline import p_norm
from energy_opt.estimators.forms.traffic import MEMORY, traffic_seconds
from energy_opt.estimators.work import RowWork


class Pass:
    """`t = start_s + ((t_vector + t_memory)^norm + ramp_s'^norm)^(1/norm)`, ramp_s' = ramp_s where work is little.

    `t_memory` is the traffic at `memory` of the bandwidth, what stays in L2 at `l2` times the bandwidth; `t_vector`
    the FLOPs at `vector` of the vector peak. `ramp_s` is how long one block takes from its first load to its last
    store: nothing with any traffic is quicker.
    """

    name: ClassVar[str] = "pass"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("start_s", "s", 3e-6, 1e-7, 1e-2, "one execution, however small"),
        Parameter(
            "ramp_s", "s", 2e-6, 1e-8, 1e-3, "one block, from its first load to its last store"
        ),
        Parameter("vector", "1", 0.5, 1e-3, 1.0, "attained share of the vector peak"),
        Parameter(
            "norm", "1", 2.0, 1.0, 8.0, "how sharply traffic takes over from one block's time"
        ),
        *MEMORY,
    )

    def parts(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """Seconds of one execution of the work."""
        compute = (work.other_flops + work.matmul_flops) / (chip.vector * at["vector"])
        memory = traffic_seconds(work.bytes, work.bytes, chip, at)
        ramp = np.where(np.asarray(work.bytes) > 0, at["ramp_s"], 0.0)
        total = at["start_s"] + p_norm(np.maximum(compute, memory), ramp, at["norm"])
        return Parts(total, compute, memory, at["start_s"])
