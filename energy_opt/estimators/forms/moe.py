"""Seconds of a mixture of experts: grouped products of the rows that each expert got, and the steps around them.

Problem sizes of a whole layer, as `com.microsoft::MoE` has them: `b` experts that are met, `m` tokens, `k` experts per
token, `experts` held here, `hidden`, `inter` and `weights` (parameters of one expert); `routed` where fewer rows than
`k * m` are computed here, because other devices hold the other experts. Of one grouped product, as in PyTorch: `b`
experts that are met, `m` rows of each, `n` and `k`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from energy_opt.estimators.forms.form import At, Chip, Parameter, Parts
from energy_opt.estimators.forms.roofline import p_norm
from energy_opt.estimators.forms.traffic import kept_in_l2
from energy_opt.estimators.work import RowWork
from energy_opt.ir.dims import Value

ROWS = (16, 64, 128)
"""Rows of an output tile. Source: vLLM, fused_moe, default and tuned configurations."""

_COLUMNS = 128
_ITEM = 2.0  # bytes of an activation between the products


class Experts:
    """`t = starts + experts * expert_s + t_around + sum over products of (t_tiles^norm + t_memory^norm)^(1/norm)`.

    Each expert's rows are padded to tiles of 16, 64 or 128, whichever is quickest; a tile costs `edge` rows and
    `depth` of the reduction more than it has. Less than a wave of tiles takes `wave` of a whole one. Gathering,
    activation and summing move every routed row `around` times, and `absent` of those whose experts are elsewhere.

    Source: Gale et al., "MegaBlocks", 2023 (grouped products); vLLM, fused_moe.py (steps around them).
    """

    name: ClassVar[str] = "experts"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("compute", "1", 0.6, 0.02, 1.0, "attained share of the matrix peak"),
        Parameter("edge", "1", 30.0, 0.1, 300.0, "rows that a tile costs beside its own"),
        Parameter("depth", "1", 200.0, 0.1, 3000.0, "reduction that a tile costs beside its own"),
        Parameter("wave", "1", 0.8, 1e-3, 1.0, "cost of idle units in less than a wave"),
        Parameter("norm", "1", 3.0, 1.0, 8.0, "how far arithmetic and traffic overlap"),
        Parameter("memory", "1", 0.75, 0.05, 1.0, "attained share of the bandwidth"),
        Parameter("cached", "1", 0.5, 1e-3, 1.5, "share of the L2 cache that operands stay in"),
        Parameter("l2", "1", 2.0, 0.5, 8.0, "bandwidth of what stays in L2, in multiples"),
        Parameter("around", "1", 1.0, 0.1, 10.0, "traffic of gathering, activation and summing"),
        Parameter("absent", "1", 0.5, 1e-3, 1.0, "share of rows of absent experts that move too"),
        Parameter("start_s", "s", 1e-5, 1e-7, 1e-3, "one product, however small, with its steps"),
        Parameter("expert_s", "s", 1e-8, 1e-11, 1e-5, "sorting the rows, per expert held"),
    )

    def parts(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """Seconds of one execution of the work."""
        sizes = work.sizes
        if {"b", "m", "n", "k"} <= sizes.keys():
            return self._product(work, chip, at)
        if not {"b", "m", "k", "experts", "weights", "hidden", "inter"} <= sizes.keys():
            return self._unsized(work, chip, at)
        met = np.maximum(sizes["b"], 1e-3)
        every = np.maximum(sizes["k"] * sizes["m"], 1e-3)
        rows = np.maximum(sizes.get("routed", every), 1e-3)
        hidden, inter = sizes["hidden"], sizes["inter"]
        wide = np.maximum(
            sizes["weights"] / hidden - inter, inter
        )  # a gate stands beside the layer
        # Between the products lie the first's results and the activation's; the second's are summed per token.
        between = _ITEM * rows * (wide + inter + hidden)
        weights = np.maximum(work.bytes - 2 * _ITEM * sizes["m"] * hidden, 0.0)
        first = weights * wide / (wide + inter) + _ITEM * (sizes["m"] * hidden + rows * wide)
        second = weights * inter / (wide + inter) + _ITEM * rows * (inter + hidden)
        rate = _per_byte(weights + between, chip, at)
        one, compute_1 = self._tiles(rows, met, wide, hidden, first * rate, chip, at)
        two, compute_2 = self._tiles(rows, met, hidden, inter, second * rate, chip, at)
        touched = rows + at["absent"] * np.maximum(every - rows, 0.0)
        each = _ITEM * touched * np.maximum(wide + inter, hidden)  # what one step hands to the next
        moved = _ITEM * touched * (2 * wide + inter + 2 * hidden)
        around = at["around"] * moved * _per_byte(each, chip, at)
        start = 2.0 * at["start_s"] + sizes["experts"] * at["expert_s"]
        memory = (first + second) * rate + around
        return Parts(start + around + one + two, compute_1 + compute_2, memory, start)

    @staticmethod
    def _unsized(work: RowWork, chip: Chip, at: At) -> Parts:
        """A roofline, for experts whose sizes no rule gives."""
        compute = work.matmul_flops / (chip.peak * at["compute"])
        memory = work.bytes * _per_byte(work.bytes, chip, at)
        total = at["start_s"] + p_norm(compute, memory, at["norm"])
        return Parts(total, compute, memory, at["start_s"])

    def _product(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """One grouped product of `b` experts with `m` rows each."""
        sizes = work.sizes
        met = np.maximum(sizes["b"], 1e-3)
        memory = work.bytes * _per_byte(work.bytes, chip, at)
        total, compute = self._tiles(
            met * sizes["m"], met, sizes["n"], sizes["k"], memory, chip, at
        )
        return Parts(at["start_s"] + total, compute, memory, at["start_s"])

    @staticmethod
    def _tiles(
        rows: Value, met: Value, n: Value, k: Value, memory: Value, chip: Chip, at: At
    ) -> tuple[Value, Value]:
        """Seconds of a grouped product and of its arithmetic alone, with the best tile."""
        columns = np.ceil(n / _COLUMNS)
        per_flop = 1.0 / (chip.peak / chip.units * at["compute"])
        best: Value | None = None
        for tile in ROWS:
            # How rows fall to experts is data: on average the last tile of each is half full.
            tiles = columns * np.maximum(rows / tile + 0.5 * met, met)
            waves = tiles / chip.units
            waves = waves + at["wave"] * np.maximum(1.0 - waves, 0.0)
            flops = 2.0 * (tile + at["edge"]) * _COLUMNS * (k + at["depth"])
            seconds = waves * flops * per_flop
            best = seconds if best is None else np.minimum(best, seconds)
        assert best is not None
        return p_norm(best, memory, at["norm"]), best


def _per_byte(working: Value, chip: Chip, at: At) -> Value:
    """Seconds per byte of a working set of which the L2 cache holds a part."""
    kept = kept_in_l2(working, chip, at)
    share: Value = ((1.0 - kept) / at["memory"] + kept / at["l2"]) / chip.bandwidth
    return share
