"""Mixtures of experts of the aiconfigurator tables as rows of work: which experts a device is given, and their rows.

The tables name a distribution of rows over experts, not the rows. How it falls is drawn here as the collector draws it:
`balanced`, or a power law of that exponent whose busiest device is the one measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from energy_opt.estimators.work import RowWork

BYTES = {
    "bfloat16": 2.0, "float16": 2.0, "fp8": 1.0, "fp8_block": 1.0, "nvfp4": 0.5625, "int4_wo": 0.53125,
    "w4a16_mxfp4": 0.53125, "w4a8_mxfp4_mxfp8": 0.53125,
}  # fmt: skip
"""Bytes of a weight, with its share of the scales."""

UNGATED = frozenset({(2688, 1856), (4096, 2688), (1024, 2688), (2048, 5120)})
"""(hidden, inter) of the Nemotron 3 family, whose experts have two matrices, not three. Source: their config.json."""

_OLDER = (
    0,
    20,
)  # vLLM collections before this ran every expert with a gate and filled experts in order
_REPEATS = 3


def moe_parts(table: Any) -> Iterator[tuple[str, str, Any]]:
    """(framework, type, rows) of a table's mixtures of experts."""
    rows = table[table["table"] == "moe"]
    for (framework, dtype), part in rows.groupby(["framework", "moe_dtype"], sort=True):
        if dtype in BYTES:
            yield str(framework), str(dtype), part


def moe_work(rows: Any, dtype: str) -> RowWork:
    """FLOPs of the rows that fall to the device, and the weights of the experts that they meet."""
    names = "num_tokens hidden_size inter_size topk num_experts moe_tp_size moe_ep_size".split()
    tokens, hidden, inter, topk, experts, tp, ep = (rows[c].to_numpy(np.float64) for c in names)
    older = np.array([_version(v) < _OLDER for v in rows["version"]])
    old = older & (rows["framework"] == "vllm").to_numpy()
    pairs = zip(hidden, inter, strict=True)
    gates = np.where(np.array([pair in UNGATED for pair in pairs]) & ~old, 1.0, 2.0)
    inter = inter / tp
    routed, met = _falls(tokens, topk, experts, ep, rows["distribution"], old)
    weights = (gates + 1) * hidden * inter
    sizes = {
        "b": met, "m": tokens, "k": topk, "experts": experts / ep, "weights": weights,
        "hidden": hidden, "inter": inter, "routed": routed,
    }  # fmt: skip
    other = 5 * tokens * experts + routed * (5 * inter + 2 * hidden)
    read = BYTES[dtype] * met * weights + 2 * tokens * hidden
    return RowWork(
        2 * routed * weights, other, read, 2 * tokens * hidden, BYTES[dtype] * met * weights, 1.0,
        sizes, (),
    )  # fmt: skip


def _version(text: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in str(text).split(".")[:2] if part.isdigit())


def _falls(tokens: Any, topk: Any, experts: Any, ep: Any, names: Any, old: Any) -> tuple[Any, Any]:
    """Rows that fall to the measured device, and how many of its experts they meet, on average."""
    random = np.random.default_rng(0)
    result = []
    for t, k, e, p, name, ordered in zip(tokens, topk, experts, ep, names, old, strict=True):
        alpha = float(str(name).rpartition("_")[2]) if str(name).startswith("power_law") else 0.0
        if not alpha or (t == 1 and not ordered):
            routed = t * k / p
            result.append((routed, max(min(routed, e / p), 0.5)))
            continue
        draws = [
            _draw(int(t), int(t * k), int(e), int(p), alpha, ordered, random)
            for _ in range(_REPEATS)
        ]
        mean = np.mean([(loads.sum(), (loads > 0).sum()) for loads in draws], axis=0)
        result.append((max(mean[0], 0.5), max(mean[1], 0.5)))
    routed, met = np.array(result).T
    return routed, met


def _draw(
    tokens: int, rows: int, experts: int, ep: int, alpha: float, ordered: bool, random: Any
) -> Any:
    """Rows of each expert of the busiest device. Source: aiconfigurator, collector/helper.py, power_law_logits."""
    low, high = (1.0, 0.8 * tokens) if rows > experts else (0.01, 2.0)
    power = 1.0 - alpha
    uniform = random.random(experts)
    loads = ((high**power - low**power) * uniform + low**power) ** (1.0 / power)
    loads = np.round(loads / loads.sum() * rows).astype(int)
    missing = rows - int(loads.sum())
    order = np.lexsort((np.arange(experts) if ordered else random.random(experts), -loads))
    if missing < 0:
        order = order[loads[order] > 0]
    np.add.at(loads, np.resize(order, abs(missing)), int(np.sign(missing)))
    groups = np.maximum(loads, 0).reshape(ep, -1)
    return groups[groups.sum(axis=1).argmax()]
