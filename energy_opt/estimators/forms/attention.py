"""Seconds of fused attention: tiles of scores by waves, keys and values read once, and the steps around the kernel.

Problem sizes: `b` batch * query heads, `b_kv` batch * key heads, `q` queries, `kv` keys, `d` and `dv` head widths.
Where a row has them also `batch`, `causal` (1: a query meets no later key), `window` (keys that a query meets, 0 for
all), `cache` (bytes moved per element of the new keys and values when the op copies them into a cache, 0 where it does
not) and `narrow` (1: keys and values are of a narrower type than the queries).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from energy_opt.estimators.forms.form import At, Chip, Parameter, Parts
from energy_opt.estimators.forms.roofline import p_norm
from energy_opt.estimators.forms.traffic import traffic_seconds
from energy_opt.estimators.work import RowWork
from energy_opt.ir.dims import Value

Bools = np.ndarray[Any, np.dtype[np.bool_]]

NEEDS = frozenset({"b", "q", "kv", "d"})
"""Problem sizes without which attention is a roofline."""

WIDTHS = (32, 64, 96, 128, 192, 256, 512)
"""Head widths that kernels are built for; a head is padded to the next. Source: FlashAttention 2 and 3, csrc."""

_DECODE = 16  # so few queries, of 16 times as many keys, are checked together while decoding
_COPY_THREADS = 512  # vLLM's reshape_and_cache: a block per token
_UNIT_THREADS = 2048  # CUDA's limit per multiprocessor


def regime(sizes: Mapping[str, Value]) -> Any:
    """Which measurements attention is like: `decode` of few queries, causal `prefill`, or `encoder`; per execution.

    `/narrow` is added where keys and values are of a narrower type than queries, which other kernels serve.
    """
    q, kv = np.asarray(sizes["q"]), np.asarray(sizes["kv"])
    few = (q == 1) | ((q <= _DECODE) & (_DECODE * q <= kv))
    causal = np.asarray(sizes.get("causal", 0.0)) > 0
    narrow = np.where(np.asarray(sizes.get("narrow", 0.0)) > 0, "/narrow", "")
    return np.char.add(np.where(few, "decode", np.where(causal, "prefill", "encoder")), narrow)


def performed(kind: str, work: RowWork) -> RowWork:
    """The work without the scores that a mask or a window spares a kernel; counts of FLOPs hold them."""
    if kind != "attention" or not work.sizes.keys() >= NEEDS:
        return work
    if not {"causal", "window"} & work.sizes.keys():
        return work
    share, apart = attended(work.sizes), projection_flops(work.sizes)
    scores = np.maximum(work.matmul_flops - apart, 0.0)
    return replace(
        work,
        matmul_flops=work.matmul_flops - scores * (1.0 - share),
        other_flops=work.other_flops * share,
    )


def projection_flops(sizes: Mapping[str, Value]) -> Value:
    """FLOPs of the product that makes queries, keys and values, where the operator does: no mask spares any."""
    if not sizes.keys() >= {"m", "n", "k"}:
        return 0.0
    return 2.0 * sizes["m"] * sizes["n"] * sizes["k"]


def attended(sizes: Mapping[str, Value]) -> Value:
    """Share of the scores that a mask or a window leaves: 1 without either; kernels skip most of the others."""
    q, kv = np.maximum(sizes["q"], 1.0), np.maximum(sizes["kv"], 1.0)
    causal = np.asarray(sizes.get("causal", 0.0)) > 0
    window = window_of(sizes, kv)
    # Of query i of q, whose own key is kv - q + i: itself and what is before it, within the window.
    before = np.maximum(kv - q, 0.0)
    ramp = np.clip(window - before, 0.0, q)  # queries that see less than a window
    met = ramp * before + ramp * (ramp + 1) / 2 + (q - ramp) * window
    return np.asarray(np.where(causal, np.minimum(met / (q * kv), 1.0), window / kv))


def window_of(sizes: Mapping[str, Value], kv: Value) -> Value:
    """Keys that a window leaves to a query, at most all `kv`."""
    window = np.asarray(sizes.get("window", 0.0), dtype=np.float64)
    return np.where(window > 0, np.minimum(window, kv), kv)


def padded(d: Value) -> Value:
    """The head width that the kernel computes with."""
    place = np.minimum(np.searchsorted(WIDTHS, d), len(WIDTHS) - 1)
    return np.maximum(np.asarray(WIDTHS, dtype=np.float64)[place], d)


WIDTH_RATES = (
    Parameter(
        "uneven", "1", 1.0, 0.01, 2.0, "rate of heads no multiple of 16 wide, against others"
    ),
    Parameter("between", "1", 1.0, 0.01, 2.0, "of multiples of 16 that are no power of two"),
    Parameter("broad", "1", 1.0, 0.01, 2.0, "of heads 256 wide"),
    Parameter("wide", "1", 0.5, 0.01, 2.0, "of wider heads"),
)
AROUND = (
    Parameter("start_s", "s", 9e-6, 1e-7, 1e-3, "one execution, however small"),
    Parameter("norm", "1", 2.0, 1.0, 8.0, "how far arithmetic and traffic overlap"),
    Parameter("copy", "1", 1.0, 1e-3, 8.0, "how often new keys and values move into the cache"),
    Parameter("token_s", "s", 3e-6, 1e-8, 1e-4, "one wave of blocks that copy a token's keys"),
)


def unsized(work: RowWork, chip: Chip, share: Value, at: At) -> Parts:
    """A roofline, for attention whose sizes no rule gives."""
    compute = work.matmul_flops / (chip.peak * share)
    memory = traffic_seconds(work.bytes, work.bytes, chip, at)
    return Parts(
        at["start_s"] + p_norm(compute, memory, at["norm"]), compute, memory, at["start_s"]
    )


@dataclass(frozen=True)
class Shape:
    """Sizes of attention, floats or arrays, and the bytes of its core and of the copy into the cache."""

    b: Value
    b_kv: Value
    batch: Value
    q: Value
    kv: Value
    d: Value
    width: Value  # of a query's and a value's head, padded, summed
    window: Value
    causal: Bools
    core_bytes: Value
    copy_bytes: Value

    @property
    def shared(self) -> Value:
        """Query heads per key head."""
        shared: Value = np.maximum(np.round(self.b / self.b_kv), 1.0)
        return shared

    @property
    def key_heads(self) -> Value:
        """Key heads of one sequence."""
        return np.maximum(self.b_kv / self.batch, 1.0)


def shape_of(work: RowWork) -> Shape:
    """The sizes of a row whose problem sizes include `NEEDS`."""
    sizes = work.sizes
    b, q, kv, d = (np.maximum(sizes[name], 1.0) for name in ("b", "q", "kv", "d"))
    b_kv = np.maximum(sizes.get("b_kv", b), 1.0)
    dv = sizes.get("dv", d)
    batch = np.maximum(sizes.get("batch", 1.0), 1.0)
    copied = sizes.get("cache", 0.0) * b_kv * np.minimum(q, kv) * (d + dv)
    causal = np.asarray(sizes.get("causal", 0.0)) > 0
    width = padded(d) + padded(dv)
    window = window_of(sizes, kv)
    core = np.maximum(work.bytes - copied, 0.0)
    return Shape(b, b_kv, batch, q, kv, d, width, window, causal, core, copied)


def copy_seconds(shape: Shape, chip: Chip, at: At) -> Value:
    """Seconds of copying new keys and values into the cache: traffic, and waves of blocks of one token each."""
    threads = np.minimum(shape.key_heads * shape.d, _COPY_THREADS)
    waves = shape.batch * shape.q * threads / (chip.units * _UNIT_THREADS)
    moved = traffic_seconds(shape.copy_bytes, shape.core_bytes + shape.copy_bytes, chip, at)
    return np.where(shape.copy_bytes > 0, at["copy"] * moved + at["token_s"] * waves, 0.0)


def slow(d: Value, at: At) -> Value:
    """How much longer the arithmetic takes for heads of a width that other kernels serve."""
    slow = np.where(d % 16 > 0, 1.0 / at["uneven"], 1.0)
    between = (d % 16 == 0) & (np.log2(d) % 1 > 0)
    slow = slow * np.where(between, 1.0 / at["between"], 1.0)
    slow = slow * np.where(d == 256, 1.0 / at["broad"], 1.0)
    return np.asarray(slow * np.where(d > 256, 1.0 / at["wide"], 1.0))
