"""What the converters of published tables share: the command line, the device's rows, the table that is written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

Convert = Callable[[pd.DataFrame, argparse.Namespace], Iterable[pd.DataFrame]]


def main(
    said: str, pattern: str, device_of: Callable[[pd.DataFrame], Any], convert: Convert,
    options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:  # fmt: skip
    """Convert one device's rows of the files in `--data` whose names match the pattern."""
    parser = argparse.ArgumentParser(
        description=said, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help=f"a directory with {pattern}")
    parser.add_argument("--device", required=True, help="the table's name of the device")
    parser.add_argument("-o", "--output", type=Path, required=True, help="FILE.csv or FILE.csv.gz")
    if options is not None:
        options(parser)
    given = parser.parse_args()
    paths = sorted(given.data.glob(pattern))
    if not paths:
        parser.error(f"{given.data}: no file {pattern}")
    table = pd.concat([pd.read_csv(path, low_memory=False) for path in paths], ignore_index=True)
    names = device_of(table).astype(str)
    rows = table[names.str.lower() == given.device.lower()]
    if rows.empty:
        parser.error(
            f"no rows of {given.device!r}; the devices are {', '.join(sorted(set(names)))}"
        )
    parts = [part for part in convert(rows, given) if len(part)]
    if not parts:
        parser.error(f"nothing of {given.device} can be converted")
    done = pd.concat(parts, ignore_index=True)
    done.to_csv(given.output, index=False)
    left = len(rows) - len(done)
    print(f"{given.output}: {len(done)} rows of {given.device}, {left} left out", file=sys.stderr)


def whole(values: pd.Series) -> pd.Series:
    """Numbers as whole ones, empty where there is none."""
    return pd.to_numeric(values, errors="coerce").round().astype("Int64")
