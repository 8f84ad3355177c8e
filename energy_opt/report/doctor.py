"""The doctor's findings as a terminal table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from energy_opt.report.escape import plain

_LEVELS = {"ok": "green", "absent": "dim", "note": "yellow", "broken": "bold red"}


def table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The doctor's findings: what, how it is, and what to do."""
    shown = Table.grid(padding=(0, 2))
    shown.add_column(no_wrap=True)
    shown.add_column(no_wrap=True)
    shown.add_column()
    for row in rows:
        level = str(row.get("level"))
        body = Text().append(plain(row.get("detail")))
        if row.get("todo"):
            body.append("\n" + plain(row["todo"]), "cyan")
        shown.add_row(
            Text(plain(level), _LEVELS.get(level, "")), Text(plain(row.get("what"))), body
        )
    return shown
