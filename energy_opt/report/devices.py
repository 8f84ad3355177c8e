"""Device profiles as terminal tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from energy_opt import units
from energy_opt.report.escape import plain
from energy_opt.report.widgets import Name, columns

_NUMBERS = ("float32", "float16", "GB/s", "W", "latency", "energy")


def table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """All devices, one per line."""
    return _Table(rows)


class _Table:
    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= 110
        shown = columns(Name.column("name"), *([Name.column("device")] if wide else []), *_NUMBERS)
        for row in self.rows:
            peaks = row.get("peaks") or {}
            half = peaks.get("float16") or peaks.get("bfloat16")
            # Never shortened: it is what the user has to type.
            cells: list[RenderableType] = [Text(plain(row.get("name"), 60), "bold", no_wrap=True)]
            if wide:
                cells.append(Name(plain(row.get("label"), 60)))
            cells += [_scaled(peaks.get("float32"), 1e12), _scaled(half, 1e12)]
            cells += [_scaled(row.get("mem_bw_bytes_per_s"), 1e9), _scaled(row.get("tdp_w"), 1.0)]
            cells.append(plain(row.get("provenance"), 12))
            cells.append(plain(row.get("energy_provenance"), 12))
            shown.add_row(*cells)
        yield shown
        yield Text()
        yield Text(
            "float32 and float16: peaks in TFLOP/s (bfloat16 where there is no float16); GB/s: memory bandwidth; "
            "W: the power cap. Latency and energy say where their coefficients come from: measured on that device, "
            "fitted to published measurements, modelled from power facts, or the datasheet alone. "
            "`energy-opt devices NAME` shows a device's sources and what is unverified.",
            "dim",
        )


def one(device: Mapping[str, Any]) -> RenderableType:
    """One device with every fact, its sources, and what nobody has verified."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    shown: list[tuple[str, str]] = [
        ("kind", plain(device.get("kind"))),
        *(
            (f"peak {plain(n, 20)}", units.flop_rate(rate))
            for n, rate in (device.get("peaks") or {}).items()
        ),
        ("vector units", units.flop_rate(device.get("vector_flops_per_s"))),
        ("memory bandwidth", units.byte_rate(device.get("mem_bw_bytes_per_s"))),
        ("memory", units.nbytes(device.get("memory_bytes"))),
        ("power cap", units.power(device.get("tdp_w"))),
        ("idle power", units.power(device.get("idle_w"))),
        ("latency from", plain(device.get("provenance"))),
        ("energy from", plain(device.get("energy_provenance"))),
        ("energy covers", f"the {plain(device.get('boundary'))}"),
    ]
    for name, value in shown:
        facts.add_row(name, value)
    parts: list[RenderableType] = [_title(device), facts]
    for heading, key, style in (
        ("Unverified", "unverified", "yellow"),
        ("Notes", "notes", ""),
        ("Sources", "sources", "dim"),
    ):
        lines = [plain(line) for line in device.get(key) or ()]
        if lines:
            parts += [Text(), Text(heading, "bold"), *(_bullet(line, style) for line in lines)]
    return Group(*parts)


def _title(device: Mapping[str, Any]) -> Text:
    return Text.assemble((plain(device.get("name")), "bold cyan"), "  ", plain(device.get("label")))


def _bullet(line: str, style: str) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_row("  -", Text(line, style))
    return grid


def _scaled(value: float | None, scale: float) -> str:
    return "" if value is None else units.number(value / scale)
