"""Terminal parts: a bar, a name that keeps its end, tables of them, and ASCII for terminals without Unicode."""

from __future__ import annotations

import codecs

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from energy_opt.report.escape import shorten

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_ASCII = str.maketrans(dict(zip("▏▎▍▌▋▊▉█·×…–µ─", "  .:-=##-x~-u-", strict=True)))


class Bar:
    """A share between 0 and 1 as a bar of eighth blocks."""

    def __init__(self, fraction: float, width: int, style: str = "cyan") -> None:
        self.fraction, self.width, self.style = min(1.0, max(0.0, fraction)), width, style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        eighths = round(self.fraction * options.max_width * 8)
        if self.fraction > 0:
            eighths = max(1, eighths)
        text = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
        yield Text(text.ljust(options.max_width), self.style, no_wrap=True, end="")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(6, options.max_width), min(self.width, options.max_width))


class Name:
    """A name that loses its middle when there is no room, and keeps its indentation and its end."""

    def __init__(self, text: str, indent: str = "", style: str = "") -> None:
        self.text, self.indent, self.style = text, indent, style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width - len(self.indent)
        text = shorten(self.text, room)
        # Wide characters take two cells: shorten by characters until the cells fit.
        while room > 0 and cell_len(text) > options.max_width - len(self.indent):
            room -= 1
            text = shorten(self.text, room)
        yield Text(self.indent + text, self.style, no_wrap=True, overflow="crop", end="")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        widest = len(self.indent) + cell_len(self.text[:200])
        return Measurement(min(widest, 12, options.max_width), min(widest, options.max_width))

    @staticmethod
    def column(header: str) -> Column:
        """A left-aligned column for names."""
        return Column(header)


def columns(*headers: str | Column) -> Table:
    """A borderless table; plain headers are numbers and stand to the right, an empty one holds a bar."""
    table = Table(
        box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", show_edge=False
    )
    for header in headers:
        if isinstance(header, Column):
            # Only columns that may wrap give way when room is short; a Name never wraps but cuts itself.
            table.add_column(header.header)
        elif header in ("", "op"):
            table.add_column(header, no_wrap=True)
        else:
            table.add_column(header, justify="right", no_wrap=True)
    return table


def _to_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    piece = error.object[error.start : error.end].translate(_ASCII)
    return "".join(char if char.isascii() else "?" for char in piece), error.end


def register_ascii() -> str:
    """The name of a codec error handler that writes bars and signs as ASCII where the terminal has no Unicode."""
    codecs.register_error("energy_opt.ascii", _to_ascii)
    return "energy_opt.ascii"
