"""Public power readings as samples: every op of aiconfigurator's power tables, by framework, whose kernels differ.

    for part in power_parts(DIR): part.samples, part.device, part.readings ...

A device without a profile is left out and named on stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measured import BYTES, DTYPES, device_of
from measured_attention import attention_work, by_kernel
from measured_moe import moe_work

from energy_opt.calibrate.samples import Samples
from energy_opt.estimators.device import Device
from energy_opt.estimators.work import RowWork

_DTYPE_COLUMN = {
    "gemm": "gemm_dtype",
    "moe": "moe_dtype",
    "scale_matrix": "quant_dtype",
    "computescale": "quant_dtype",
}
_KINDS = {"gemm": "matmul", "moe": "moe", "scale_matrix": "quantize", "computescale": "quantize"}
_GROUPED_BY = {
    "gemm": ("n", "k"),
    "moe": ("hidden_size", "inter_size", "num_experts", "moe_tp_size", "moe_ep_size"),
    "scale_matrix": ("k",),
    "computescale": ("k",),
}
_SHAPE = (
    "batch_size isl num_heads num_key_value_heads head_dim window_size step m n k num_tokens hidden_size inter_size "
    "topk num_experts moe_tp_size moe_ep_size"
).split()
"""Columns that name a shape, of whatever op."""


@dataclass(frozen=True)
class PowerPart:
    """Samples of one op in one type of one framework on one device, with what the instrument did.

    `readings` is how many readings, 0.1 s apart, each mean power is of; `shape[points, sizes]` the sizes as the table
    has them, in log2.
    """

    device: Device
    framework: str
    samples: Samples
    readings: Any
    shape: Any

    @property
    def name(self) -> str:
        """The op and the framework whose kernels ran it."""
        return f"{self.samples.op} ({self.framework})"

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, index: Any) -> PowerPart:
        """The executions at those places."""
        return replace(
            self, samples=self.samples.take(index), readings=self.readings[index], shape=self.shape[index]
        )  # fmt: skip

    def sample(self, size: int, seed: int = 0) -> PowerPart:
        """At most `size` of the executions, at random."""
        if len(self) <= size:
            return self
        return self.take(
            np.sort(np.random.default_rng(seed).choice(len(self), size, replace=False))
        )


def power_parts(data: Path) -> Iterator[PowerPart]:
    """Every op, type and framework with power readings in the directory."""
    for path in sorted(data.glob("aiconfigurator_power*.csv*")):
        table = pd.read_csv(path, low_memory=False)
        for name, rows in table.groupby("device", sort=True):
            device = device_of(str(name))
            if device is None:
                print(f"{path.name}: no profile of {name}: left out", file=sys.stderr)
                continue
            yield from _of_device(as_collected(device, rows), rows)


def as_collected(device: Device, rows: Any) -> Device:
    """The device with the power limit that the table names, and the least that it drew as its power with a context."""
    limit_w = float(rows["power_limit_w"].median())
    floor_w = float(rows["power_w"].quantile(0.001))
    return device.model_copy(
        update={"tdp_w": limit_w, "idle_context_w": min(floor_w, 0.4 * limit_w)}
    )


def _of_device(device: Device, rows: Any) -> Iterator[PowerPart]:
    keys = ["framework", "table"]
    for (framework, table), part in rows.groupby(keys, sort=True):
        attention = str(table).endswith("attention")
        if not attention and table not in _KINDS:
            continue
        for scheme, one in part.groupby(_DTYPE_COLUMN.get(str(table), "attn_dtype"), sort=True):
            if str(scheme) not in DTYPES:
                continue  # weights and activations in different types
            for name, same in by_kernel(one, str(table)) if attention else ((str(table), one),):
                same = same[(same["latency_ms"] > 0) & (same["power_w"] > 0)]
                if len(same):
                    op = f"{name.split()[0]} {scheme}"
                    yield _part(device, str(framework), str(table), str(scheme), op, same)


def _part(device: Device, framework: str, table: str, scheme: str, op: str, rows: Any) -> PowerPart:
    dtype = DTYPES[scheme]
    if table.endswith("attention"):
        work = attention_work(rows, table, BYTES[dtype])
        heads = rows["num_key_value_heads"].fillna(rows["num_heads"])
        weights = (rows["num_heads"], heads, rows["head_dim"])
    else:
        work = (
            moe_work(rows, scheme)
            if table == "moe"
            else (_gemm if table == "gemm" else _quantize)(rows, table, BYTES[dtype])
        )
        weights = tuple(rows[column] for column in _GROUPED_BY[table])
    seconds = rows["latency_ms"].to_numpy(np.float64) / 1e3
    power_w = rows["power_w"].to_numpy(np.float64)
    names = np.unique(np.stack(weights, axis=1), axis=0, return_inverse=True)[1].ravel()
    samples = Samples(
        _KINDS.get(table, "attention"), op, dtype, "", work, seconds, power_w * seconds, power_w, names
    )  # fmt: skip
    shape = np.log2(np.maximum(rows[_SHAPE].fillna(0).to_numpy(np.float64), 0.5))
    balanced = (rows["distribution"] == "balanced").to_numpy(np.float64)
    return PowerPart(
        device, framework, samples, rows["n_samp"].to_numpy(np.float64), np.column_stack([shape, balanced])
    )  # fmt: skip


def _gemm(rows: Any, table: str, item: float) -> RowWork:
    m, n, k = _columns(rows, "m n k")
    return RowWork(
        2 * m * n * k, 0 * m, item * (m * k + n * k), 2 * m * n, 0.0, 1.0, {"b": 1 + 0 * m, "m": m, "n": n, "k": k}, ()
    )  # fmt: skip


def _quantize(rows: Any, table: str, item: float) -> RowWork:
    """Scales of a 16-bit matrix [m, k] (`computescale`), or also the matrix in 8 bits (`scale_matrix`)."""
    m, k = _columns(rows, "m k")
    written = m * k if table == "scale_matrix" else 0 * m
    return RowWork(0 * m, 2 * m * k, 2 * m * k, written, 0.0, 1.0, {}, ())


def _columns(rows: Any, names: str) -> list[Any]:
    return [rows[name].to_numpy(np.float64) for name in names.split()]
