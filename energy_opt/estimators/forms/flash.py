"""Forms of fused attention kernels: many queries by tiles of scores in waves, few queries by split keys."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from energy_opt.estimators.forms.attention import (
    AROUND,
    NEEDS,
    WIDTH_RATES,
    Bools,
    Shape,
    copy_seconds,
    projection_flops,
    shape_of,
    slow,
    unsized,
)
from energy_opt.estimators.forms.form import At, Chip, Parameter, Parts
from energy_opt.estimators.forms.roofline import p_norm
from energy_opt.estimators.forms.traffic import MEMORY, traffic_seconds
from energy_opt.estimators.work import RowWork
from energy_opt.ir.dims import Value

_KEYS = 128  # keys per step of a decoding kernel
_CROWD = 16  # rows of the smallest matrix instruction
_QUERIES = 64  # query heads that one block of a decoding kernel can share keys among


class Flash:
    """`t = start_s + copies + (t_tiles^norm + t_memory^norm)^(1/norm)`: many queries, tiles of scores in waves.

    A block computes `tile` queries of one head against the keys that they meet: `block_s`, the products at `compute`
    of the matrix peak, and 6 FLOPs per score at `vector` of the vector peak. Blocks beyond full waves cost `wave` of
    a wave; under a causal mask the longest block ends `tail` of its excess late. Less than a wave can be split over
    keys, which shortens it to `waves^split`. `packed` is the share to which the query heads that share keys fill
    tiles together.

    Source: Dao, "FlashAttention-2", 2023, section 3; waves as in NVIDIA, "Matrix Multiplication Background".
    """

    needs: ClassVar[frozenset[str]] = NEEDS
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("compute", "1", 0.7, 0.02, 1.0, "attained share of the matrix peak"),
        Parameter("vector", "1", 0.5, 0.01, 8.0, "softmax, in shares of the vector peak"),
        Parameter("block_s", "s", 1e-6, 1e-9, 1e-4, "one block of queries, however few keys"),
        Parameter("wave", "1", 0.5, 1e-3, 1.0, "cost of an idle part of the last wave"),
        Parameter("tail", "1", 0.4, 1e-3, 1.0, "how late the longest block of a causal mask ends"),
        Parameter("split", "1", 0.2, 1e-3, 1.0, "how well less than a wave is split over keys"),
        Parameter("packed", "1", 0.5, 1e-3, 1.0, "share of tiles filled by heads sharing keys"),
        *WIDTH_RATES,
        Parameter("pad_s", "s", 3e-7, 1e-9, 1e-4, "padding of heads not a multiple of 32 wide"),
        *MEMORY,
        *AROUND,
    )

    def __init__(self, tile: int) -> None:
        self.tile = tile
        self.name = f"flash-{tile}"

    def parts(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """Seconds of one execution of the work."""
        if not work.sizes.keys() >= NEEDS:
            return unsized(work, chip, at["compute"], at)
        shape = shape_of(work)
        compute = self._tiles(shape, chip, at)
        compute = compute + projection_flops(work.sizes) / (chip.peak * at["compute"])
        memory = traffic_seconds(shape.core_bytes, shape.core_bytes + shape.copy_bytes, chip, at)
        start = at["start_s"] + np.where(shape.d % 32 > 0, at["pad_s"], 0.0)
        copy = copy_seconds(shape, chip, at)
        total = start + copy + p_norm(compute, memory, at["norm"])
        return Parts(total, compute, memory + copy, start)

    def _tiles(self, shape: Shape, chip: Chip, at: At) -> Value:
        tile, shared = self.tile, shape.shared
        rows = np.ceil(shape.q / tile)
        together = np.ceil(shape.q * shared / tile) / shared
        blocks = shape.b * (rows + at["packed"] * (together - rows))
        mean, longest = _keys_met(shape, tile)
        rate = chip.peak / chip.units * at["compute"]
        # 2 FLOPs per multiply-add; 6 per score: scale, maximum, difference, exponential, sum, rescaling.
        per_key = 2.0 * tile * shape.width / rate
        per_key = per_key + 6.0 * tile / (chip.vector / chip.units * at["vector"])
        per_key = per_key * slow(shape.d, at)
        waves = blocks / chip.units
        soft = waves + at["wave"] * (np.ceil(waves) - waves)
        late = at["tail"] * np.maximum(longest - mean, 0.0) * per_key
        full = soft * (mean * per_key + at["block_s"]) + late
        part = (longest * per_key + at["block_s"]) * np.minimum(waves, 1.0) ** at["split"]
        return np.where(waves > 1, full, np.minimum(full, part))


def _keys_met(shape: Shape, tile: int) -> tuple[Value, Value]:
    """Keys that a tile of queries computes with, on average and at most, in whole steps of 64."""
    kv, window = shape.kv, shape.window
    whole = np.ceil(np.minimum(kv, np.where(window < kv, window + tile, kv)) / 64) * 64
    rows = np.ceil(shape.q / tile)
    before = np.maximum(kv - shape.q, 0.0)
    # Tile i of a causal mask meets what is before it, within the window, and its own queries' keys.
    ramp = np.clip(np.floor((window - before) / tile), 0.0, rows - 1)
    left = (before + tile * ramp / 2) * (ramp + 1) + (rows - 1 - ramp) * window
    mean = np.minimum(left / rows + tile, np.ceil(kv / 64) * 64)
    longest = np.minimum(kv, window + tile)
    return np.where(shape.causal, mean, whole), np.where(shape.causal, longest, whole)


class Decode:
    """`t = start_s + steps + copies + (t_blocks^norm + t_memory^norm)^(1/norm)`: few queries, many keys.

    A block takes the query heads that share keys through those keys, 128 at a time: `block_s + steps * step_s`, in
    waves of `resident` blocks per unit. Blocks that leave units idle are split over the keys, and `merge_s` joins
    them. Some kernels gather shared heads first (`gather_s`), and neither gather nor split heads that share nothing or
    have a window: `alone` is the share of that, and a step of such a block takes `unsplit` times as long. Where more
    than 16 heads share keys, `crowd_s` is what the kernel for them takes longer.

    Source: Dao et al., "Flash-Decoding for long-context inference", 2023; FlashAttention, csrc, mha_varlen_fwd.
    """

    name: ClassVar[str] = "flash-decode"
    needs: ClassVar[frozenset[str]] = NEEDS
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("block_s", "s", 2e-6, 1e-9, 1e-4, "one block, however few keys"),
        Parameter("step_s", "s", 1e-6, 1e-9, 1e-4, "128 keys of 128 elements, in one block"),
        Parameter("resident", "1", 1.5, 0.5, 16.0, "blocks that a unit works on at once"),
        Parameter("wave", "1", 0.5, 1e-3, 1.0, "cost of an idle part of the last wave"),
        Parameter("alone", "1", 0.5, 1e-2, 1.0, "share to which some heads are not split"),
        Parameter("unsplit", "1", 2.0, 0.5, 20.0, "time of a step of a block that is not split"),
        Parameter("crowd_s", "s", 1e-7, 1e-9, 1e-4, "more than 16 query heads sharing keys"),
        Parameter("merge_s", "s", 3e-6, 1e-8, 1e-4, "joining the parts of split keys"),
        Parameter("gather_s", "s", 2e-6, 1e-8, 1e-4, "gathering the heads that share keys"),
        Parameter("queries", "1", 1.5, 0.1, 16.0, "how often queries and results move"),
        *WIDTH_RATES,
        *MEMORY,
        *AROUND,
    )

    def parts(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """Seconds of one execution of the work."""
        if not work.sizes.keys() >= NEEDS:
            return unsized(work, chip, 1.0, at)
        shape = shape_of(work)
        shared, steps = shape.shared, _steps(shape)
        solo = np.asarray(shared <= 1) | _windowed(work)
        heads = shape.b_kv * np.ceil(shared * shape.q / _QUERIES)
        units = chip.units * at["resident"]
        grouped = self._blocks(heads, steps, True, shape, units, at)
        alone = self._blocks(shape.b, steps * at["unsplit"], False, shape, units, at)
        compute = grouped + np.where(solo, at["alone"], 0.0) * (alone - grouped)
        compute = compute + projection_flops(work.sizes) / chip.peak
        own = _own_bytes(work, shape)
        moved = shape.core_bytes + (at["queries"] - 1.0) * own
        memory = traffic_seconds(np.maximum(moved, 0.0), shape.core_bytes, chip, at)
        split = (steps > 1) & (heads < chip.units)
        start = at["start_s"] + np.where(split, at["merge_s"], 0.0) * np.where(
            solo, 1.0 - at["alone"], 1.0
        )
        apart = (shared > 1) & (shape.key_heads > 1) & (shape.batch > 1)
        start = start + np.where(apart, at["gather_s"], 0.0) * np.where(
            solo, 1.0 - at["alone"], 1.0
        )
        start = start + np.where(shared > _CROWD, at["crowd_s"], 0.0)
        copy = copy_seconds(shape, chip, at)
        total = start + copy + p_norm(compute, memory, at["norm"])
        return Parts(total, compute, memory + copy, start)

    @staticmethod
    def _blocks(
        blocks: Value, steps: Value, split: bool, shape: Shape, units: Value, at: At
    ) -> Value:
        waves = blocks / units
        each = np.maximum(steps * np.minimum(waves, 1.0), 1.0) if split else steps
        soft = np.maximum(waves + at["wave"] * (np.ceil(waves) - waves), 1.0)
        block = at["block_s"] + each * at["step_s"] * (shape.width / 256.0)
        return soft * block * slow(shape.d, at)


def _windowed(work: RowWork) -> Bools:
    return np.asarray(work.sizes.get("window", 0.0)) > 0


def _steps(shape: Shape) -> Value:
    """Steps of 128 keys; a window starts anywhere in one, and so meets one more."""
    inside = np.ceil(shape.kv / _KEYS)
    return np.where(shape.window < shape.kv, np.ceil(shape.window / _KEYS) + 1.0, inside)


def _own_bytes(work: RowWork, shape: Shape) -> Value:
    """Bytes of the queries and the results: as much as the op writes besides a cache, twice."""
    narrow = np.asarray(work.sizes.get("narrow", 0.0)) > 0
    written = work.bytes_written - shape.copy_bytes / np.where(narrow, 3.0, 2.0)
    return 2.0 * np.maximum(written, 0.0)
