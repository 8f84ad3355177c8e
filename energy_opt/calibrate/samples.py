"""Samples: measured executions of one kind of work in one type, which fits are made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from energy_opt.estimators.work import RowWork

Array = np.ndarray[Any, np.dtype[np.float64]]
Index = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Samples:
    """Measured executions of one kind of work in one type under one runtime: arrays over the executions.

    `op` is the operator where all executions are of one, else empty. `work` holds what one execution computes and
    moves and its problem sizes, as `Row` has them. `group` names what must be left out together when an error is
    estimated: the shape of the weights, or the model. `energy_j` and `power_w` are NaN where nobody measured them.
    `kernels` is how many launches an execution makes.
    """

    kind: str
    op: str
    dtype: str
    runtime: str
    work: RowWork
    latency_s: Array
    energy_j: Array
    power_w: Array
    group: Index
    kernels: int = 1

    def __len__(self) -> int:
        return len(self.latency_s)

    def take(self, index: Any) -> Samples:
        """The executions at those places, or where a mask is true."""
        return Samples(
            self.kind, self.op, self.dtype, self.runtime, take_work(self.work, index), self.latency_s[index],
            self.energy_j[index], self.power_w[index], self.group[index], self.kernels,
        )  # fmt: skip

    def sample(self, size: int, seed: int = 0) -> Samples:
        """At most `size` of the executions, at random."""
        if len(self) <= size:
            return self
        chosen = np.random.default_rng(seed).choice(len(self), size, replace=False)
        return self.take(np.sort(chosen))

    def folds(self, count: int, seed: int = 0) -> list[Index]:
        """Masks of `count` parts of about equal size that split no group; fewer where there are fewer groups."""
        names, inverse = np.unique(self.group, return_inverse=True)
        order = np.random.default_rng(seed).permutation(len(names))
        fold_of_name = np.empty(len(names), dtype=int)
        fold_of_name[order] = np.arange(len(names)) % count
        fold = fold_of_name[inverse]
        return [fold == number for number in range(min(count, len(names)))]


def take_work(work: RowWork, index: Any) -> RowWork:
    """The executions of a RowWork of arrays at those places."""

    def part(value: Any) -> Any:
        return value[index] if isinstance(value, np.ndarray) else value

    return RowWork(
        part(work.matmul_flops),
        part(work.other_flops),
        part(work.bytes_read),
        part(work.bytes_written),
        part(work.weight_bytes),
        part(work.count),
        {name: part(size) for name, size in work.sizes.items()},
        (),
    )


def concatenate(parts: Sequence[Samples]) -> Samples:
    """Samples of one kind, type and runtime, put together; `op` is kept where it is the same everywhere.

    Raises:
        ValueError: there are none, or they are of different kinds, types, runtimes or problem sizes.
    """
    if len({(p.kind, p.dtype, p.runtime, tuple(sorted(p.work.sizes))) for p in parts}) != 1:
        raise ValueError("samples of one kind, type, runtime and set of problem sizes are needed")
    first = parts[0]

    def join(values: Iterable[Any]) -> Any:
        pairs = zip(values, parts, strict=True)
        return np.concatenate([np.broadcast_to(value, len(part)) for value, part in pairs])

    work = RowWork(
        join(p.work.matmul_flops for p in parts),
        join(p.work.other_flops for p in parts),
        join(p.work.bytes_read for p in parts),
        join(p.work.bytes_written for p in parts),
        join(p.work.weight_bytes for p in parts),
        join(p.work.count for p in parts),
        {name: join(p.work.sizes[name] for p in parts) for name in first.work.sizes},
        (),
    )
    ops = {p.op for p in parts}
    return Samples(
        first.kind, first.op if len(ops) == 1 else "", first.dtype, first.runtime, work,
        join(p.latency_s for p in parts), join(p.energy_j for p in parts), join(p.power_w for p in parts),
        join(p.group for p in parts), first.kernels,
    )  # fmt: skip
