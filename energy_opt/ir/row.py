"""Rows of work: what estimators and calibration speak of. A row is one distinct signature and where it occurs."""

from __future__ import annotations

from dataclasses import dataclass

from energy_opt.ir.dims import Dim


@dataclass(frozen=True, slots=True)
class Use:
    """One node that does the row's work: its name, its module path and how often it runs per inference.

    `parameters` and `weight_bytes` are those of the weights that this node is the first to use. `step` is its place in
    the workload's schedule.
    """

    name: str
    path: str
    times: Dim = 1
    parameters: int = 0
    weight_bytes: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One distinct piece of work. Quantities are of ONE execution; `count` says how many there are in an inference.

    `dtype` is the arithmetic's type in lower case (`float32`, `float16`, `int8`, ...), which picks the peak.
    `sizes` are the problem sizes, such as (("b", 8), ("m", 128), ("n", 768), ("k", 768)), empty where no formula needs
    them. `weight_bytes` is the part of `bytes_read` that comes from weights. `kernels` is how many launches one
    execution costs: 0 for views and shape arithmetic. `fused` names the ops of a fusion group. `modelled` is false
    where the op has no rule and is priced as traffic.
    """

    kind: str
    op: str
    dtype: str
    matmul_flops: Dim
    other_flops: Dim
    bytes_read: Dim
    bytes_written: Dim
    weight_bytes: Dim
    sizes: tuple[tuple[str, Dim], ...]
    kernels: int
    modelled: bool
    count: Dim
    uses: tuple[Use, ...]
    fused: tuple[str, ...] = ()
