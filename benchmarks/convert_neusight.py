"""NeuSight's op latencies as a table that `energy-opt calibrate --from-table` reads.

    python benchmarks/convert_neusight.py --data DIR --device T4 -o t4.csv
    energy-opt calibrate --from-table t4.csv --spec t4 -o t4-fitted.json --source "NeuSight (MIT), float32"

Latencies are as measured: eager calls, launch and synchronisation included.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pandas as pd
from converting import main, whole

SCALAR = {"addu": "add", "mulu": "mul", "divu": "div", "powu": "pow"}
"""Ops on a tensor and a number: one operand is read."""


def convert(rows: pd.DataFrame, given: argparse.Namespace) -> Iterator[pd.DataFrame]:
    """linear and bmm are x[B, M, N] by w[N, K]; elementwise, softmax and ln [B, H]; convolutions square."""
    for op, part in rows.groupby("op"):
        made = {"dtype": "float32", "runtime": "eager", "latency_ms": part["lat_ms"]}
        if op in ("linear", "bmm"):
            sizes = {"b": part["B"], "m": part["M"], "n": part["K"], "k": part["N"]}
            made |= {"kind": "matmul", "op": op} | {n: whole(size) for n, size in sizes.items()}
            if op == "linear":
                made |= {"b": 1, "m": whole(part["B"] * part["M"]), "bias": 1}
        elif op == "conv":
            sizes = {
                "batch": "B", "in_channels": "Cin", "out_channels": "Cout", "kernel": "R", "height": "HW",
                "width": "HW", "stride": "stride", "padding": "pad",
            }  # fmt: skip
            made |= {"kind": "conv", "op": "conv2d"} | {n: whole(part[c]) for n, c in sizes.items()}
        else:
            kind = {"softmax": "softmax", "ln": "norm"}.get(str(op), "elementwise")
            named = "layer_norm" if op == "ln" else SCALAR.get(str(op), str(op))
            shape = whole(part["B"]).astype(str) + "x" + whole(part["H"]).astype(str)
            made |= {"kind": kind, "op": named, "shape": shape, "reads": ""}
            if op in SCALAR:
                # A fit of its own: its traffic is another than that of the op on two tensors.
                made["reads"] = 1
        yield pd.DataFrame(made)


if __name__ == "__main__":
    main(__doc__, "neusight_ops_fp32*.csv*", lambda table: table["device"], convert)
