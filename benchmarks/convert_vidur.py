"""Vidur's op latencies inside LLM layers as a table that `energy-opt calibrate --from-table` reads.

    python benchmarks/convert_vidur.py --data DIR --device A100 -o a100.csv
    energy-opt calibrate --from-table a100.csv --spec a100-sxm4-80gb -o a100-fitted.json --source "vidur (MIT), float16"

Sizes follow from the model's widths, divided among the tensor-parallel workers; a gated MLP's two projections up are
one product. Rotary embeddings are left out: their kernel's traffic is not in the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pandas as pd
from converting import main, whole


def convert(rows: pd.DataFrame, given: argparse.Namespace) -> Iterator[pd.DataFrame]:
    """Projections are x[tokens, k] by w[n, k]; norms, sums, activations and embeddings a shape."""
    rows = rows.assign(
        gates=rows["use_gated_mlp"].astype(str).str.lower().eq("true").astype(int) + 1,
        tp=rows["num_tensor_parallel_workers"],
    )
    for op, part in rows.groupby("op"):
        tokens, d, tp = part["num_tokens"], part["n_embd"], part["tp"]
        inner = part["n_expanded_embd"] / tp
        made = {"dtype": "float16", "latency_ms": part["lat_ms"]}
        qkv = (part["n_head"] + 2 * part["n_kv_head"]) * d / part["n_head"] / tp
        products = {
            "attn_pre_proj": (qkv, d), "attn_post_proj": (d, d / tp),
            "mlp_up_proj": (inner * part["gates"], d), "mlp_down_proj": (d, inner),
        }  # fmt: skip
        if op in products:
            n, k = products[str(op)]
            made |= {"kind": "matmul", "op": "linear", "m": tokens, "n": whole(n), "k": whole(k)}
        elif op in ("input_layernorm", "post_attention_layernorm"):
            made |= {"kind": "norm", "op": "rms_norm", "shape": _shape(tokens, d)}
        elif op == "add":
            made |= {"kind": "elementwise", "op": "add", "shape": _shape(tokens, d)}
        elif op == "emb":
            made |= {"kind": "gather", "op": "embedding", "shape": _shape(tokens, d)}
        elif op == "mlp_act":
            # silu(gate) * up is one kernel that reads both, a plain activation reads one
            read, written = 2 * tokens * inner * part["gates"], 2 * tokens * inner
            made |= {
                "kind": "elementwise", "op": "silu", "other_flops": tokens * inner * (4 + part["gates"]),
                "bytes_read": read, "bytes_written": written, "group": whole(inner).astype(str),
            }  # fmt: skip
        else:
            continue
        yield pd.DataFrame(made)


def _shape(rows: pd.Series, last: pd.Series) -> pd.Series:
    return whole(rows).astype(str) + "x" + whole(last).astype(str)


if __name__ == "__main__":
    main(__doc__, "vidur_mlp_ops_fp16*.csv*", lambda table: table["device"], convert)
