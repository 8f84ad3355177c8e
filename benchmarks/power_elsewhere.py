"""Rules of power on devices that they were not made from: what public tables of other GPUs say of them.

The Titan X, V100 and RTX 4000 Ada tables hold utilisations or rates beside power; training and serving tables hold mean
power alone, which is printed beside what devices of their generation are assumed to draw, and fitted to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls

Array = np.ndarray[Any, np.dtype[np.float64]]
Row = dict[str, Any]

BLACKWELL = (0.45, 0.75, 0.75)
"""Base, compute and traffic as shares of the TDP, about as GEMM, attention and streams have them on B200 and GB200."""

PRIOR = (0.21, 0.9, 0.4)
"""What is assumed of a GPU of an unheard-of generation (estimators/priors/gpu.json)."""

ADA_PEAK = 107e12
"""Dense fp16 FLOP/s of RTX 4000 Ada (SFF boards: 76e12). Source: 26.7 TFLOP/s fp32 at boost, times 4."""


def run(data: Path) -> list[Row]:
    """Prints the tables of whatever files are there, and gives their figures as rows."""
    rows: list[Row] = []
    lines = []
    for table, device, rates, power, groups in _tables(data):
        for method, error in _errors(rates, power, groups).items():
            for metric, value in (
                ("mape", float(np.mean(np.abs(error)))),
                ("p90", float(np.quantile(np.abs(error), 0.9))),
                ("bias", float(np.mean(error))),
            ):
                rows.append(_row(table, device, method, metric, 100 * value, len(power)))
            lines.append(
                f"{device:28s} {method:34s} {len(power):6d} {100 * np.mean(np.abs(error)):8.1f} "
                f"{100 * np.mean(error):8.1f}"
            )
    if lines:
        print(
            "\nRules of power on other devices: P/TDP = min(1, base + compute + traffic), mean error and bias (%)"
        )
        print("\n".join(lines))
    for title, totals in (("training", _training(data)), ("serving", _serving(data))):
        found = list(totals)
        if found:
            print(
                f"\nMean power of {title} as a share of the power limit: 10 %, median, 90 %; nothing is fitted to it"
            )
        for device, share in found:
            low, middle, high = np.quantile(share, [0.1, 0.5, 0.9])
            print(f"{device:28s} {len(share):6d} {low:8.2f} {middle:8.2f} {high:8.2f}")
            rows.append(
                _row(title, device, "measured", "median-share-of-limit", float(middle), len(share))
            )
    return rows


def _errors(rates: Array, power: Array, groups: Array) -> dict[str, Array]:
    """Relative errors of two rules from elsewhere, of the device's own with workloads left out, and of the TDP."""
    found = {"TDP": 1 / power - 1}
    for name, rule in (
        ("shares pooled over Blackwell", BLACKWELL),
        ("prior of an unknown GPU", PRIOR),
    ):
        found[name] = np.minimum(1.0, rates @ np.array(rule)) / power - 1
    own = np.full(len(power), np.nan)
    for fold in range(5):
        mask = groups % 5 == fold
        if np.any(mask) and np.any(~mask):
            design = rates[~mask] / power[~mask, None]
            at = nnls(design, np.ones(len(design)))[0]
            own[mask] = np.minimum(1.0, rates[mask] @ at) / power[mask] - 1
    if np.all(np.isfinite(own)):
        found["its own, workloads left out"] = own
    return found


def _tables(data: Path) -> Iterator[tuple[str, str, Array, Array, Array]]:
    """Table, device, rates [rows, 3] as shares of peaks, power as a share of the TDP, group of each row."""
    for path in sorted(data.glob("ulisboa_titanx_micro*.csv*")):
        table = pd.read_csv(path)
        for device, rows in table.groupby("device"):
            # The clocks are variables there; a datasheet rule knows the default ones alone.
            core, memory = rows["core_mhz"], rows["mem_mhz"]
            rows = rows[
                (memory == memory.mode()[0]) & (core == core[memory == memory.mode()[0]].max())
            ]
            units = [
                c for c in rows if c.startswith("u_") and c not in ("u_DRAM", "u_L2", "u_Shared")
            ]
            busy = rows[units].max(axis=1).to_numpy(np.float64)
            rates = np.column_stack([np.ones(len(rows)), busy, rows["u_DRAM"].to_numpy(np.float64)])
            yield (
                "titanx",
                str(device),
                rates,
                rows["power_w"].to_numpy(np.float64) / 250.0,
                np.arange(len(rows)),
            )
    for path in sorted(data.glob("powersensor3_*.csv*")):
        table = pd.read_csv(path)
        for device, rows in table.groupby("device"):
            share = rows["TFLOPS"].to_numpy(np.float64) * 1e12 / ADA_PEAK
            rates = np.column_stack([np.ones(len(rows)), share, np.zeros(len(rows))])
            names = np.unique(
                rows.drop(columns=["nvml_gr_clock", "ps_energy", "ps_power", "core_freq", "temperature", "time",
                                   "TFLOPS", "device"]).astype(str).agg("/".join, axis=1), return_inverse=True
            )[1]  # fmt: skip
            yield (
                "powersensor3",
                str(device),
                rates,
                rows["ps_power"].to_numpy(np.float64) / 130.0,
                names,
            )


def _training(data: Path) -> Iterator[tuple[str, Array]]:
    for path in sorted(data.glob("zeus_power*.csv*")):
        table = pd.read_csv(path)
        for device, rows in table.groupby("device"):
            most = rows[rows["power_limit_w"] == rows["power_limit_w"].max()]
            yield str(device), (most["avg_power_w"] / most["power_limit_w"]).to_numpy(np.float64)


_LIMIT_W = {"A100-SXM4-40GB": 400.0, "H100 80GB HBM3": 700.0}


def _serving(data: Path) -> Iterator[tuple[str, Array]]:
    """Diffusion on one device, whose energy and time of a batch are both given."""
    for path in sorted(data.glob("mlenergy_*.csv*")):
        table = pd.read_csv(path)
        if not {"Energy/image (J)", "Batch latency (s)", "Batch size", "GPU"} <= set(table):
            continue
        for device, rows in table.groupby("GPU"):
            limit = next((w for name, w in _LIMIT_W.items() if name in str(device)), None)
            joules = rows["Energy/image (J)"].fillna(rows.get("Energy/video (J)"))
            power = (
                (joules * rows["Batch size"] / rows["Batch latency (s)"])
                .dropna()
                .to_numpy(np.float64)
            )
            if limit and len(power):
                yield str(device), power / limit


def _row(table: str, device: str, method: str, metric: str, value: float, n: int) -> Row:
    return {
        "benchmark": "ops", "table": table, "device": device, "method": method,
        "setting": "static/leave-one-device-out",
        "level": "workload", "quantity": "power", "metric": metric, "value": round(value, 3), "n": n,
    }  # fmt: skip
