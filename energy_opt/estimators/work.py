"""What the rows of a workload compute and move, evaluated: numbers, or arrays over points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from energy_opt.ir.dims import Dim, Evaluator, Value
from energy_opt.ir.row import Row


@dataclass(frozen=True, slots=True)
class RowWork:
    """Quantities of one execution of a row under a binding, and how often it runs."""

    matmul_flops: Value
    other_flops: Value
    bytes_read: Value
    bytes_written: Value
    weight_bytes: Value
    count: Value
    sizes: Mapping[str, Value]
    times: tuple[Value, ...]

    @property
    def bytes(self) -> Value:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written


class WorkTable:
    """The quantities of a list of rows, compiled once and evaluated for any binding."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        dims: list[Dim] = []
        for row in self.rows:
            dims += [row.matmul_flops, row.other_flops, row.bytes_read, row.bytes_written]
            dims += [row.weight_bytes, row.count]
            dims += [size for _, size in row.sizes]
            dims += [use.times for use in row.uses]
        self._evaluate = Evaluator(dims)

    def __call__(self, binding: Mapping[str, Any]) -> list[RowWork]:
        """Quantities of every row. Raises KeyError where a symbol is not bound."""
        values = iter(self._evaluate(binding))
        works = []
        for row in self.rows:
            flops, other, read, written, weights, count = (next(values) for _ in range(6))
            sizes = {name: next(values) for name, _ in row.sizes}
            times = tuple([next(values) for _ in row.uses])
            works.append(RowWork(flops, other, read, written, weights, count, sizes, times))
        return works


FEWER = 4.0
"""How many times fewer products F(4x4, 3x3) takes than the convolution it stands for: 36 for 16 * 9.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.
"""

_PLANE = frozenset({"m", "n", "k", "images", "rows", "columns", "inputs", "side"})


def suits_winograd(work: RowWork) -> Any:
    """Where Winograd's transforms apply: 3 by 3 over a plane, one group, no more inputs than a stride of 1 has."""
    sizes = work.sizes
    if not sizes.keys() >= _PLANE:
        return False
    rows, columns = sizes["rows"], sizes["columns"]
    near = sizes["inputs"] <= (rows + 2) * (columns + 2)
    single = (np.asarray(sizes.get("b", 1.0)) == 1) & (rows > 1) & (columns > 1)
    return (np.asarray(sizes["side"]) == 3) & single & near


def least_matmul_flops(work: RowWork) -> Value:
    """Matmul FLOPs of the quickest algorithm known for the work: its own, or Winograd's where that applies."""
    suits = suits_winograd(work)
    if not np.any(suits):
        return work.matmul_flops
    return work.matmul_flops / np.where(suits, FEWER, 1.0)
