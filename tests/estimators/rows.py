"""Hand-written rows and a stand-in for a workload, so that these tests need no graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from energy_opt.ir.dims import Dim, symbol
from energy_opt.ir.row import Row, Use

BATCH = symbol("batch")


def row(
    kind: str = "matmul",
    *,
    dtype: str = "float32",
    flops: Dim | float = 0,
    other: Dim | float = 0,
    read: Dim | float = 0,
    written: Dim | float = 0,
    weights: Dim = 0,
    sizes: Mapping[str, Dim] | None = None,
    kernels: int = 1,
    paths: tuple[str, ...] = ("",),
    times: Dim = 1,
    op: str = "Op",
) -> Row:
    uses = tuple(Use(f"{op}_{i}", path, times) for i, path in enumerate(paths))
    return Row(
        kind=kind,
        op=op,
        dtype=dtype,
        matmul_flops=_dim(flops),
        other_flops=_dim(other),
        bytes_read=_dim(read),
        bytes_written=_dim(written),
        weight_bytes=weights,
        sizes=tuple((sizes or {}).items()),
        kernels=kernels,
        modelled=True,
        count=times * len(paths),
        uses=uses,
    )


def _dim(value: Dim | float) -> Dim:
    """So that tests may write 1e9."""
    return int(value) if isinstance(value, float) else value


def gemm(b: Dim, m: Dim, n: Dim, k: Dim, dtype: str = "float32", **more: Any) -> Row:
    """b products of [m, k] by [k, n], 4 bytes per element."""
    return row(
        "matmul",
        dtype=dtype,
        flops=2 * b * m * n * k,
        read=4 * b * (m * k + k * n),
        written=4 * b * m * n,
        sizes={"b": b, "m": m, "n": n, "k": k},
        op="MatMul",
        **more,
    )


@dataclass
class FakeWorkload:
    """The part of a workload that estimates use."""

    rows: list[Row]
    vocabulary: str = "onnx"
    source: str = "hand.onnx"
    name: str = "hand"
    parameters: int = 10
    weight_bytes: int = 40
    modules: dict[str, str] = field(default_factory=dict)
    dims: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unmodelled: dict[str, int] = field(default_factory=dict)
    formulas: dict[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def nodes(self) -> int:
        return sum(len(r.uses) for r in self.rows)

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {"batch": 1, **given}

    def defaulted(self, given: Mapping[str, Any]) -> list[str]:
        return [] if "batch" in given else ["batch"]

    def peak_activation_bytes(self, binding: Mapping[str, Any], *, frames: bool = False) -> Any:
        return 100.0 * np.asarray(binding["batch"])

    def live_activation_bytes(
        self, binding: Mapping[str, Any], *, frames: bool = False
    ) -> list[tuple[str, float]]:
        return [("", 100.0 * binding["batch"])]
