"""Public measurements as rows of work: what each measured kernel computes and moves, and how long it took.

Reads tables laid out as docs/estimators.md names them, from a directory given by the caller. Nothing depends on which
devices or shapes the files hold; a device without a profile is left out and named.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measured_attention import attention_work, by_kernel

from energy_opt.calibrate.samples import Samples
from energy_opt.errors import DeviceError
from energy_opt.estimators.device import Device
from energy_opt.estimators.work import RowWork

ALIASES = {
    "v100": "v100-pcie-32gb",
    "a100-40gb": "a100-pcie-40gb",
    "a100-80gb": "a100-pcie-80gb",
    "a100": "a100-sxm4-80gb",
    "a100_sxm": "a100-sxm4-80gb",
    "h100": "h100-sxm",
    "h200": "h200-sxm",
    "b200": "b200-sxm",
    "nvidia_h100_80gb_hbm3": "h100-sxm",
    "nvidia_a100_80gb_pcie": "a100-pcie-80gb",
}
"""The tables' names of devices that a slug alone does not settle."""

BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "float8": 1.0, "float4": 0.5625}
DTYPES = {
    "bfloat16": "bfloat16",
    "float16": "float16",
    "fp8": "float8",
    "fp8_block": "float8",
    "nvfp4": "float4",
}


@dataclass(frozen=True)
class Group:
    """Samples of one op in one type on one device, and the table they are from.

    `harness_s` is what the measuring itself took, in every one of them.
    """

    table: str
    device: Device
    samples: Samples
    harness_s: float

    op = property(lambda self: self.samples.op)
    kind = property(lambda self: self.samples.kind)
    dtype = property(lambda self: self.samples.dtype)
    work = property(lambda self: self.samples.work)
    kernels = property(lambda self: self.samples.kernels)
    seconds = property(lambda self: self.samples.latency_s)

    @property
    def power_w(self) -> Any:
        """W of each execution, or None where nobody measured it."""
        power_w = self.samples.power_w
        return None if np.isnan(power_w).all() else power_w

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, index: Any) -> Group:
        """The executions at those places."""
        return replace(self, samples=self.samples.take(index))

    def sample(self, size: int, seed: int = 0) -> Group:
        """At most `size` of the executions, at random."""
        return replace(self, samples=self.samples.sample(size, seed))


def _group(
    table: str, device: Device, op: str, kind: str, dtype: str, work: RowWork, seconds: Any, harness_s: float,
    weights: Any, power_w: Any = None, kernels: int = 1,
) -> Group:  # fmt: skip
    """A group; `weights` are the columns that name the weight's shape, which is left out as a whole."""
    power = np.full(len(seconds), np.nan) if power_w is None else power_w
    names = np.unique(np.stack(weights, axis=1), axis=0, return_inverse=True)[1].ravel()
    samples = Samples(kind, op, dtype, "", work, seconds, power * seconds, power, names, kernels)
    return Group(table, device, samples, harness_s)


@functools.cache
def device_of(name: str) -> Device | None:
    """The profile of a table's device, or None."""
    try:
        slug = name.lower().removeprefix("tesla_")
        return Device.load(ALIASES.get(slug, slug.replace("_", "-")))
    except DeviceError:
        return None


def unfitted(device: Device) -> Device:
    """The device as its datasheet has it: without what was fitted to measurements of it."""
    return device.model_copy(update={"fits": ()})


def as_performed(work: RowWork) -> RowWork:
    """The work for pricing: FLOPs of these tables leave masked scores out already, so no size may say it again."""
    told = {name: size for name, size in work.sizes.items() if name not in ("causal", "window")}
    return replace(work, sizes=told)


def latency_groups(data: Path) -> Iterator[Group]:
    """Every group of op latencies in the directory."""
    for path in sorted(data.glob("neusight_ops_fp32*.csv*")):
        yield from _neusight(path)
    for path in sorted(data.glob("vidur_mlp_ops_fp16*.csv*")):
        yield from _vidur(path)
    for path in sorted(data.glob("aiconfigurator_latency*.csv*")):
        yield from _aiconfigurator(path, "aiconfigurator")


def power_groups(data: Path) -> Iterator[Group]:
    """Every group of op latencies with board power in the directory."""
    for path in sorted(data.glob("aiconfigurator_power*.csv*")):
        yield from _aiconfigurator(path, "aiconfigurator-power")


def _work(flops: Any, other: Any, read: Any, written: Any, **sizes: Any) -> RowWork:
    as_floats = {name: np.asarray(size, dtype=np.float64) for name, size in sizes.items()}
    return RowWork(
        *(np.asarray(v, dtype=np.float64) for v in (flops, other, read, written)),
        0.0,
        1.0,
        as_floats,
        (),
    )


# FLOPs and operands (reads, writes) per element, as the package's rules count them.
_ELEMENTWISE = {
    "add": (1, 2), "mul": (1, 2), "div": (1, 2), "pow": (1, 2), "addu": (1, 1), "mulu": (1, 1), "divu": (1, 1),
    "powu": (1, 1), "relu": (1, 1), "tanh": (1, 1), "gelu": (8, 1),
}  # fmt: skip


def _neusight(path: Path) -> Iterator[Group]:
    table = pd.read_csv(path, low_memory=False)
    for (name, op), rows in table.groupby(["device", "op"], sort=True):
        device = device_of(str(name))
        if device is None:
            continue
        columns = {
            c: rows[c].to_numpy(np.float64) for c in "B H M N K Cin Cout R HW stride pad".split()
        }
        b, h, m, n, k = (columns[c] for c in ("B", "H", "M", "N", "K"))
        if op == "linear":
            kind, work = (
                "matmul",
                _work(
                    2 * b * m * n * k,
                    b * m * k,
                    4 * (b * m * n + n * k + k),
                    4 * b * m * k,
                    b=np.ones_like(b),
                    m=b * m,
                    n=k,
                    k=n,
                ),
            )
            weights = (n, k)
        elif op == "bmm":
            kind, work = (
                "matmul",
                _work(
                    2 * b * m * n * k,
                    0 * b,
                    4 * b * (m * n + n * k),
                    4 * b * m * k,
                    b=b,
                    m=m,
                    n=k,
                    k=n,
                ),
            )
            weights = (m, n, k)
        elif op == "conv":
            cin, cout, r, hw, stride, pad = (
                columns[c] for c in ("Cin", "Cout", "R", "HW", "stride", "pad")
            )
            out = np.floor((hw + 2 * pad - r) / stride) + 1
            positions = b * out * out
            work = _work(
                2 * positions * cout * cin * r * r,
                0 * b,
                4 * (b * cin * hw * hw + cout * cin * r * r),
                4 * positions * cout,
                b=np.ones_like(b),
                m=positions,
                n=cout,
                k=cin * r * r,
                images=b,
                rows=out,
                columns=out,
                inputs=hw * hw,
                side=r,
            )
            kind, weights = "conv", (cin, cout, r, stride)
        elif op in _ELEMENTWISE:
            flops, reads = _ELEMENTWISE[str(op)]
            kind, work = "elementwise", _work(0 * b, flops * b * h, 4 * reads * b * h, 4 * b * h)
            weights = (h,)
        elif op in ("softmax", "ln"):
            kind = "softmax" if op == "softmax" else "norm"
            work = _work(0 * b, (5 if op == "softmax" else 7) * b * h, 4 * b * h, 4 * b * h)
            weights = (h,)
        else:
            continue
        seconds = rows["lat_ms"].to_numpy(np.float64) / 1e3
        # The harness launches, synchronises and reads a clock: the quickest calls of each op say how long that takes.
        harness = float(seconds.min())
        yield _group("neusight", device, str(op), kind, "float32", work, seconds, harness, weights)


def _vidur(path: Path) -> Iterator[Group]:
    table = pd.read_csv(path)
    for (name, op), rows in table.groupby(["device", "op"], sort=True):
        device = device_of(str(name))
        if device is None:
            continue
        t = rows["num_tokens"].to_numpy(np.float64)
        tp = rows["num_tensor_parallel_workers"].to_numpy(np.float64)
        heads, kv, d, wide = (
            rows[c].to_numpy(np.float64)
            for c in ("n_head", "n_kv_head", "n_embd", "n_expanded_embd")
        )
        gated = rows["use_gated_mlp"].to_numpy() == True  # noqa: E712  (may be text or bool)
        up = wide * np.where(gated, 2.0, 1.0) / tp
        width = {
            "attn_pre_proj": ((heads + 2 * kv) * d / heads / tp, d),
            "attn_post_proj": (d, d / tp),
            "mlp_up_proj": (up, d),
            "mlp_down_proj": (d, wide / tp),
        }.get(str(op))
        if width is not None:
            n, k = width
            kind, work = (
                "matmul",
                _work(
                    2 * t * n * k,
                    0 * t,
                    2 * (t * k + n * k),
                    2 * t * n,
                    b=np.ones_like(t),
                    m=t,
                    n=n,
                    k=k,
                ),
            )
        elif op in ("input_layernorm", "post_attention_layernorm"):
            kind, work = "norm", _work(0 * t, 6 * t * d, 2 * t * d, 2 * t * d)
        elif op == "add":
            kind, work = "elementwise", _work(0 * t, t * d, 4 * t * d, 2 * t * d)
        elif op == "mlp_act":
            kind, work = (
                "elementwise",
                _work(0 * t, 5 * t * wide / tp, 2 * t * up, 2 * t * wide / tp),
            )
        elif op == "emb":
            kind, work = "gather", _work(0 * t, 0 * t, 2 * t * d, 2 * t * d)
        else:
            continue
        seconds = rows["lat_ms"].to_numpy(np.float64) / 1e3
        yield _group("vidur", device, str(op), kind, "float16", work, seconds, 0.0, (d, wide, tp))


def _aiconfigurator(path: Path, table_name: str) -> Iterator[Group]:
    table = pd.read_csv(path, low_memory=False)
    for (name, kind), part in table.groupby(["device", "table"], sort=True):
        device = device_of(str(name))
        if device is None:
            continue
        if kind not in ("gemm", "scale_matrix") and not str(kind).endswith("attention"):
            continue
        column = {"gemm": "gemm_dtype", "scale_matrix": "quant_dtype"}.get(str(kind), "attn_dtype")
        for dtype, rows in part.groupby(column, sort=True):
            if "block" in str(dtype):
                continue  # a scheme of scales per block: on two of three devices it runs in software
            if str(kind).endswith("attention"):
                yield from _attention(table_name, device, str(kind), str(dtype), rows)
                continue
            if kind == "gemm":
                name_of, work = "matmul", _gemm(rows, str(dtype))
                weights = (rows["n"], rows["k"])
            else:
                m, k = (rows[c].to_numpy(np.float64) for c in "mk")
                name_of, work = "quantize", _work(0 * m, 2 * m * k, 2 * m * k, m * k)
                weights = (k,)
            seconds = rows["latency_ms"].to_numpy(np.float64) / 1e3
            power = rows["power_w"].to_numpy(np.float64) if "power_w" in rows else None
            # A narrow product also scales its activations, in a kernel of its own.
            kernels = 2 if kind == "gemm" and DTYPES.get(str(dtype)) in ("float8", "float4") else 1
            whole = _group(
                table_name, device, f"{kind} {dtype}", name_of, DTYPES.get(str(dtype), str(dtype)),
                work, seconds, 0.0, weights, power, kernels,
            )  # fmt: skip
            yield whole.take(np.flatnonzero(seconds > 0))


def _gemm(rows: Any, dtype: str) -> RowWork:
    m, n, k = (rows[c].to_numpy(np.float64) for c in "mnk")
    size = BYTES[DTYPES.get(dtype, "bfloat16")]
    return _work(
        2 * m * n * k, 0 * m, size * (m * k + n * k), 2 * m * n, b=np.ones_like(m), m=m, n=n, k=k
    )


def _attention(table: str, device: Device, kind: str, dtype: str, every: Any) -> Iterator[Group]:
    """Attention by framework and regime; head layouts are left out as a whole."""
    name = DTYPES.get(dtype, dtype)
    for op, rows in by_kernel(every, kind):
        if op.startswith("generation") and op.endswith("trtllm"):
            continue  # these kernels ignore shared heads, and the lengths mean something else
        seconds = rows["latency_ms"].to_numpy(np.float64) / 1e3
        power = rows["power_w"].to_numpy(np.float64) if "power_w" in rows else None
        heads = rows["num_key_value_heads"].fillna(rows["num_heads"])
        whole = _group(
            table, device, f"{op} {dtype}", "attention", name,
            attention_work(rows, kind, BYTES[name]), seconds, 0.0,
            (rows["num_heads"], heads, rows["head_dim"]), power,
        )  # fmt: skip
        yield whole.take(np.flatnonzero(seconds > 0))
