"""DeepBench's matrix products and convolutions as a table that `energy-opt calibrate --from-table` reads.

    python benchmarks/convert_deepbench.py --data DIR --device V100 [--dtype float16] -o v100.csv

Dense products and forward convolutions of the sheets in one type are converted; recurrent, sparse, backward and
all-reduce rows are left out. A sheet's type is what its name says (FP32; FP16 inputs with mixed mathematics); of the
others, "mixed precision" does not say which type the products are in, so they are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from converting import main, whole

# The sheets spell their columns in several ways, misspellings included: names by how they begin.
CONV = {
    "width": ("w (input", "w"), "height": ("h (input", "h"), "in_channels": ("c (channels", "c"),
    "batch": ("n (batch", "n"), "out_channels": ("k  (number", "k"), "kw": ("s (f", "s"), "kh": ("r (f", "r"),
    "pad_w": ("pad_w",), "pad_h": ("pad_h",), "stride_w": ("horizontal stride",), "stride_h": ("vertical stride",),
    "p": ("p",), "q": ("q",), "msec": ("forward (msec)",),
}  # fmt: skip


def device_of(table: pd.DataFrame) -> pd.Series:
    """`train/DeepBench_NV_V100.xlsx` is of the device V100."""
    stem = table["file"].str.split("/").str[-1].str.removesuffix(".xlsx")
    return stem.str.replace(r"^DeepBench_(NV_|AMD_|IA_)?", "", regex=True)


def dtype_of(sheet: str) -> str:
    """The type that a sheet's name tells; empty where it tells none."""
    lower = sheet.lower()
    if "fp32" in lower:
        return "float32"
    return "float16" if "fp16 ip" in lower else ""


def convert(rows: pd.DataFrame, given: argparse.Namespace) -> Iterator[pd.DataFrame]:
    """C[M, N] of column-major A[M, K] is x[N, K] by w[M, K]: M is the width of a layer, N the batch."""
    dtype = rows["sheet"].map(dtype_of)
    rows = rows[dtype == given.dtype]
    gemm = rows[_number(rows, "M").notna() & _number(rows, "Time (msec)").gt(0)]
    dense = gemm[_number(gemm, "Sparsity").isna()]
    yield pd.DataFrame(
        {
            "kind": "matmul", "dtype": given.dtype, "latency_ms": _number(dense, "Time (msec)"),
            "m": whole(dense["N"]), "n": whole(dense["M"]), "k": whole(dense["K"]),
        }
    )  # fmt: skip
    yield _convolutions(rows.drop(gemm.index), given.dtype)


def _convolutions(rows: pd.DataFrame, dtype: str) -> pd.DataFrame:
    c = pd.DataFrame({name: _first(rows, starts) for name, starts in CONV.items()})
    c = c[c.drop(columns=["p", "q"]).notna().all(axis=1) & c["msec"].gt(0)]
    # Sheets differ in which of the two filter sizes is the height: the size of the result tells.
    straight, swapped = _matches(c, c["kh"], c["kw"]), _matches(c, c["kw"], c["kh"])
    kh, kw = np.where(straight, c["kh"], c["kw"]), np.where(straight, c["kw"], c["kh"])
    c = c.assign(kh=kh, kw=kw)[straight | swapped]

    def pair(height: str, width: str) -> pd.Series:
        return whole(c[height]).astype(str) + "x" + whole(c[width]).astype(str)

    sizes = ("batch", "in_channels", "out_channels", "height", "width")
    return pd.DataFrame(
        {
            "kind": "conv", "dtype": dtype, "latency_ms": c["msec"], **{n: whole(c[n]) for n in sizes},
            "kernel": pair("kh", "kw"), "padding": pair("pad_h", "pad_w"), "stride": pair("stride_h", "stride_w"),
        }
    )  # fmt: skip


def _matches(c: pd.DataFrame, kh: pd.Series, kw: pd.Series) -> pd.Series:
    out_h = (c["height"] + 2 * c["pad_h"] - kh) // c["stride_h"] + 1
    out_w = (c["width"] + 2 * c["pad_w"] - kw) // c["stride_w"] + 1
    unknown = c["p"].isna() | c["q"].isna()
    same = ((out_h == c["q"]) & (out_w == c["p"])) | ((out_h == c["p"]) & (out_w == c["q"]))
    return same | unknown


def _number(rows: pd.DataFrame, column: str) -> pd.Series:
    if column not in rows:
        return pd.Series(np.nan, index=rows.index)
    return pd.to_numeric(rows[column], errors="coerce")


def _first(rows: pd.DataFrame, starts: tuple[str, ...]) -> pd.Series:
    """The first value of a row among the columns that begin, or are named, like that."""
    found = pd.Series(np.nan, index=rows.index)
    for start in starts:
        for column in rows.columns:
            lower = str(column).strip().lower()
            if lower == start or (len(start) > 1 and lower.startswith(start)):
                found = found.fillna(_number(rows, column))
    return found


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16"])


if __name__ == "__main__":
    main(__doc__, "deepbench*.csv*", device_of, convert, _options)
