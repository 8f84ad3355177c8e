"""The columns of a table of measurements, read as text and checked: a bad cell is named by file, line and column."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from energy_opt.calibrate.samples import Array
from energy_opt.errors import CalibrationError

_MOST_BYTES = 400_000_000


class TableError(CalibrationError):
    """A table of measurements that cannot be read or makes no sense: file, line, column, value, what is allowed."""


@dataclass(frozen=True)
class Columns:
    """Rows of a table, every cell text, the index the line in the file."""

    path: str
    frame: Any

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, mask: Any) -> Columns:
        """The rows where the mask is true."""
        return Columns(self.path, self.frame[mask])

    def given(self, name: str) -> Any:
        """Where the column holds something: a mask[rows]."""
        if name not in self.frame:
            return np.zeros(len(self), dtype=bool)
        return (self.frame[name] != "").to_numpy()

    def text(self, name: str, default: str = "") -> Any:
        """The cells, the default where they are empty: str[rows]."""
        if name not in self.frame:
            return np.full(len(self), default, dtype=object)
        cells = self.frame[name].to_numpy(dtype=object)
        return np.where(cells == "", default, cells)

    def numbers(
        self, name: str, default: float | None = None, *, low: float = 0.0, above: bool = False,
        whole: bool = False, high: float = 1e30,
    ) -> Array:  # fmt: skip
        """The cells as numbers, the default where they are empty.

        Raises:
            TableError: a cell is no finite number, is under `low` (or not above it) or over `high`, is not `whole`, or
                is empty and there is no default.
        """
        import pandas as pd

        cells = self.text(name)
        values = np.asarray(pd.to_numeric(pd.Series(cells), errors="coerce"), dtype=np.float64)
        empty = cells == ""
        limit = f"{'above' if above else 'of at least'} {low:g}"
        allowed = f"a {'whole ' if whole else ''}number {limit}"
        under = values <= low if above else values < low
        bad = ~empty & (~np.isfinite(values) | under | (values > high))
        if whole:
            bad |= ~empty & (values != np.round(values))
        self.refuse(bad, name, allowed)
        if default is None:
            self.refuse(empty, name, allowed)
            return values
        return np.where(empty, default, values)

    def choices(self, name: str, names: Collection[str], default: str | None = None) -> Any:
        """The cells, each one of the names (or empty, where there is a default). Raises TableError."""
        cells = self.text(name, default or "")
        self.refuse(~np.isin(cells, list(names)), name, f"one of {', '.join(sorted(names))}")
        return cells

    def mapped(self, name: str, parse: Callable[[str], Any], allowed: str) -> list[Any]:
        """`parse` of every cell. Raises TableError with `allowed` where it raises ValueError."""
        cells = self.text(name)
        found = {cell: _attempt(parse, cell) for cell in set(cells)}
        self.refuse(np.array([found[cell] is None for cell in cells]), name, allowed)
        return [found[cell] for cell in cells]

    def refuse(self, bad: Any, name: str, allowed: str) -> None:
        """Raise TableError for the first row that is bad."""
        if not np.any(bad):
            return
        place = int(np.argmax(bad))
        value = self.text(name)[place]
        got = f"got {_short(value)!r}" if value != "" else "the cell is empty"
        if name not in self.frame:
            got = "there is no such column"
        more = f"; so are {int(np.sum(bad)) - 1} more" if np.sum(bad) > 1 else ""
        raise TableError(
            f"{self.path}, line {int(self.frame.index[place])}, column {name}: {got}; {allowed} is needed{more}"
        )


def load(path: str | Path, known: Iterable[str], patterns: tuple[str, ...]) -> Columns:
    """The table in a CSV file, plain or compressed (`.csv.gz`).

    Columns whose names start with one of the patterns need not be known.

    Raises:
        TableError: it cannot be read, is no table with commas, or has a column that is not known.
    """
    frame = _frame(Path(path))
    frame.columns = [str(name).strip().lower() for name in frame.columns]
    known = list(known)
    seen: set[str] = set()
    for name in frame.columns:
        if name in seen:
            raise TableError(f"{path}: the column {name!r} is there twice; keep one")
        seen.add(name)
        if name not in known and not name.startswith(patterns):
            raise TableError(_unknown(path, name, known, list(frame.columns)))
    if frame.empty:
        raise TableError(f"{path}: no rows under its header; there is nothing to fit")
    frame.index = np.arange(2, len(frame) + 2)
    frame = frame.apply(lambda column: column.str.strip())
    return Columns(str(path), frame[(frame != "").any(axis=1)])


def _frame(path: Path) -> Any:
    import pandas as pd

    try:
        if path.is_dir():
            raise TableError(f"{path}: a directory; name a CSV file in it")
        if path.stat().st_size > _MOST_BYTES:
            raise TableError(f"{path}: over {_MOST_BYTES / 1e6:.0f} MB; give a sample of its rows")
        with warnings.catch_warnings():
            # Cells beyond the header would be dropped with no more than a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False,
                index_col=False, on_bad_lines="error",
            )  # fmt: skip
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror or error}") from error
    except EOFError as error:
        raise TableError(f"{path}: compressed data ends too early; copy the file again") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: not text in UTF-8; save the table as CSV in UTF-8") from error
    except (
        ValueError,
        pd.errors.ParserError,
        pd.errors.ParserWarning,
    ) as error:  # EmptyDataError is a ValueError
        reason = str(error).splitlines()[0].strip()
        raise TableError(f"{path}: not a CSV table with commas: {_short(reason, 120)}") from error


def _unknown(path: str | Path, name: str, known: list[str], columns: list[str]) -> str:
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if len(columns) == 1 and separator in name:
            return f"{path}: its columns are separated by {called}; save it with commas and decimal points"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return (
        f"{path}: the column {_short(name)!r} is not known; {hint}"
        f"docs/calibration.md lists them; a column that is for people alone is named note or note_..."
    )


def _attempt(parse: Callable[[str], Any], cell: str) -> Any:
    try:
        return parse(cell)
    except ValueError:
        return None


def _short(value: object, most: int = 40) -> str:
    text = str(value)
    return text if len(text) <= most else text[: most - 1] + "…"
