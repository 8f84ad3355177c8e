"""Attention of the aiconfigurator tables as rows of work: what each measured kernel computes and moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from energy_opt.estimators.forms.attention import attended
from energy_opt.estimators.work import RowWork

SIXTEEN = 2.0


def attention_work(rows: Any, table: str, item: float) -> RowWork:
    """Attention of queries [b, heads, q, d] on keys [b, kv heads, kv, d]; masked scores are not counted as FLOPs.

    Prefill and decode write the new keys and values into a cache, which may be of a narrower type; sizes are those
    that energy_opt.estimators.forms.attention names. `item` is the bytes of an element of the queries' type.
    """
    batch, q, heads, d = (_column(rows, c) for c in ("batch_size", "isl", "num_heads", "head_dim"))
    encoder, decode = table == "encoder_attention", table == "generation_attention"
    kv_heads = heads if encoder else _column(rows, "num_key_value_heads")
    if decode:
        q = np.ones_like(q)
    kv = q + _column(rows, "step")
    window = _column(rows, "window_size")
    narrow = np.zeros_like(d) if encoder else (rows["kv_cache_dtype"] == "fp8").to_numpy(float)
    stored = np.where(narrow > 0, 1.0, item)
    sizes = {
        "b": batch * heads, "q": q, "kv": kv, "d": d, "dv": d, "b_kv": batch * kv_heads, "batch": batch,
        "causal": np.full_like(d, float(not encoder)), "window": window, "narrow": narrow,
        "cache": np.zeros_like(d) if encoder else SIXTEEN + stored,
    }  # fmt: skip
    pairs = batch * heads * q * kv * attended(sizes)
    met = np.where(window > 0, np.minimum(kv, q + window), kv)
    new = 0.0 if encoder else 2 * batch * kv_heads * q * d
    read = item * batch * heads * q * d + 2 * stored * batch * kv_heads * met * d + SIXTEEN * new
    written = SIXTEEN * batch * heads * q * d + stored * new
    return RowWork(4 * pairs * d, 6 * pairs, read, written, 0.0 * d, 1.0, sizes, ())


def by_kernel(rows: Any, table: str) -> Iterator[tuple[str, Any]]:
    """The rows that other kernels serve apart, each with a name: framework, few or many queries, narrow keys."""
    few = (rows["isl"] == 1) & (table == "context_attention")
    name = np.where(few, "generation_attention", table)
    narrow = rows["kv_cache_dtype"] == "fp8" if "kv_cache_dtype" in rows else few & False
    suffix = np.where(narrow & (table != "encoder_attention"), "/narrow", "")
    for (kind, tail, framework), part in rows.groupby([name, suffix, rows["framework"]], sort=True):
        yield f"{kind}{tail} {framework}", part


def _column(rows: Any, name: str) -> Any:
    if name not in rows:
        return np.zeros(len(rows))
    return rows[name].fillna(0).to_numpy(np.float64)
