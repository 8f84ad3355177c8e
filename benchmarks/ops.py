"""Operators from tables of measurements: errors on what calibration has not seen, beside baselines, in one run.

    python benchmarks/ops.py --data DIR [--json FILE]
        [--part gemm,conv,pointwise,attention,moe,collectives,power,transfer,models]

Nothing depends on which devices, operators or models the files in DIR hold; a device without a profile is left out.
Each part says what it leaves out and what it compares with. Gradient boosting needs scikit-learn (the extra `bench`).
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Part = Callable[[Path], list[dict[str, Any]]]


def _attention(part: str) -> Part:
    return lambda data: importlib.import_module("ops_attention").run(data, (part,))


def _function(module: str, name: str) -> Part:
    return lambda data: getattr(importlib.import_module(module), name)(data)


PARTS: dict[str, Part] = {
    "gemm": _function("ops_gemm", "gemm"),
    "conv": _function("ops_gemm", "conv"),
    "pointwise": _attention("pointwise"),
    "attention": _attention("attention"),
    "moe": _attention("moe"),
    "collectives": _attention("collectives"),
    "power": _function("ops_power", "run"),
    "transfer": _function("ops_transfer", "run"),
    "models": _function("ops_models", "run"),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="directory of the tables")
    parser.add_argument("--json", type=Path, help="also write the figures as rows")
    parser.add_argument("--part", default=",".join(PARTS), help="only these, separated by commas")
    options = parser.parse_args()
    wanted = [name.strip() for name in options.part.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        print(f"--part: {', '.join(unknown)}: there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if not options.data.is_dir():
        print(f"{options.data}: not a directory", file=sys.stderr)
        return 1
    rows: list[dict[str, Any]] = []
    for name in wanted:
        rows += PARTS[name](options.data)
    if not rows:
        print(f"{options.data}: holds no table that these parts read", file=sys.stderr)
        return 1
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
