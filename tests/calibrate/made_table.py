"""A table of made-up kernels whose law is known, so that a fit of it can be checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FLOPS_PER_S, BYTES_PER_S, START_S = 10e12, 600e9, 6e-6


def write(path: Path, points: int = 48, *, noise: float = 0.03, metered: bool = True) -> Path:
    """float32 products, and sums and activations of 2-D tensors: their start, and then arithmetic and traffic."""
    random = np.random.default_rng(1)
    rows = ["kind,op,dtype,latency_us,power_w,m,n,k,shape"]

    def row(kind: str, op: str, seconds: float, rest: str) -> None:
        power = "150" if metered else ""
        rows.append(
            f"{kind},{op},fp32,{1e6 * seconds * random.lognormal(0, noise):.6g},{power},{rest}"
        )

    for _ in range(points):
        m, n, k = (int(2 ** random.uniform(7, 12)) for _ in range(3))
        traffic_s = 4 * (m * k + k * n + m * n) / BYTES_PER_S
        row("matmul", "linear", START_S + 2 * m * n * k / FLOPS_PER_S + traffic_s, f"{m},{n},{k},")
        row("elementwise", "add", START_S + 12 * m * n / BYTES_PER_S, f",,,{m}x{n}")
        row("elementwise", "gelu", START_S + 8 * m * n / BYTES_PER_S, f",,,{m}x{n}")
    path.write_text("\n".join(rows) + "\n")
    return path
