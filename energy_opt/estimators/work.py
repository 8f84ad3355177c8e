"""What the rows of a workload compute and move, evaluated: numbers, or arrays over points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
