"""The tables of a measurement for a terminal: trials, meters, kinds of work, modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from energy_opt import units
from energy_opt.report.escape import plain
from energy_opt.report.widgets import Name, columns

_QUIET = "dim"


def trials(found: Mapping[str, Any]) -> RenderableType | None:
    """One row per trial with what the device was doing; None of a single one."""
    rows: Sequence[Mapping[str, Any]] = found.get("trials") or ()
    if len(rows) < 2:
        return None
    table = columns(
        Name.column("Trials"),
        "latency",
        "energy",
        "calls",
        "warm-up",
        "busy",
        "clock",
        "temperature",
    )
    for index, row in enumerate(rows, 1):
        clocks = row.get("clocks_hz") or {}
        clock = (
            clocks.get("sm") or next(iter(clocks.values()), None)
            if isinstance(clocks, Mapping)
            else None
        )
        heat = row.get("temperature_c")
        busy = row.get("utilisation")
        warm = f"{row['warmup_calls']} calls" + ("" if row["settled"] else ", drifting")
        table.add_row(
            f"  {index}", seconds(row["latency_s"]), joules(row["energy_j"]), f"{row['calls']:,}", warm,
            units.share(busy) if busy is not None else "unknown",
            units.si(clock, "Hz"), f"{heat:.0f} °C" if heat is not None else "unknown",
        )  # fmt: skip
    mine = found["measured"]
    spread = [mine.get("latency_spread"), mine.get("energy_spread")]
    table.add_row(
        "  spread", *(units.share(each) if each is not None else "" for each in spread), *[""] * 5
    )
    return table


def meters(found: Mapping[str, Any]) -> RenderableType | None:
    """What each meter says, over which boundary, and how far it is from the first; None of a single one."""
    rows: Sequence[Mapping[str, Any]] = found.get("meters") or ()
    if len(rows) < 2:
        return None
    table = columns(
        Name.column("Meters"), "energy", "mean power", "stated error", "covers", "apart"
    )
    lines: list[RenderableType] = [table]
    for row in rows:
        error, apart = row.get("relative_error"), row.get("difference")
        known = row.get("energy_j_per_inference") is not None
        name = plain(row["meter"], 24)
        if row.get("provenance") == "modelled" and name != "modelled":
            name += " (modelled)"
        other = "" if row.get("same_boundary") else " (other boundary)"
        table.add_row(
            Text(f"  {name}", no_wrap=True), joules(row.get("energy_j_per_inference")),
            units.power(row["mean_power_w"]) if known else "",
            f"± {units.share(error)}" if known and error is not None else "",
            plain(row.get("boundary") or "", 20) if known else "",
            f"{units.signed(apart)}{other}" if apart is not None else "",
        )  # fmt: skip
        if not known:
            reason = plain(row.get("reason") or "it does not say why", 300)
            lines.append(Text(f"  {name}: {reason}", _QUIET))
    return Group(*lines)


def kinds(found: Mapping[str, Any]) -> RenderableType | None:
    """A trace's time by kind of work beside the prediction; None where there is no trace."""
    trace = found.get("trace")
    if not trace:
        return None
    table = columns(Name.column("Kinds of work"), "time", "share", "pieces", "predicted", "error")
    total = trace["device_s"] or 1.0
    for row in trace["kinds"]:
        spent = row["latency_s"]
        table.add_row(
            Name(plain(row["kind"], 40), "  "), seconds(spent) if spent is not None else "",
            units.share(spent / total) if spent is not None else "", pieces(row["pieces"]),
            units.time(row["predicted_latency_s"]) if row["predicted_latency_s"] is not None else "",
            units.signed(row["latency_error"]),
        )  # fmt: skip
    return table


def modules(
    found: Mapping[str, Any], rows: int | None, *, wide: bool = True
) -> RenderableType | None:
    """Modules as a tree in the order in which they run; those beyond `rows` are counted. None where there are none."""
    known: Sequence[Mapping[str, Any]] = found.get("modules") or ()
    if not known:
        return None
    energy = any(row["energy_j"] is not None for row in known)
    heads = ["in place", "predicted", "error"] + (
        ["energy", "predicted", "error"] if energy else []
    )
    table = columns(Name.column("Modules"), *heads, *([Name.column("")] if wide else []))
    shown = _shallow(known, rows)
    for row in shown:
        name = row["path"].rpartition(".")[2] or row["type"] or "model"
        cells: list[RenderableType] = [
            Name(plain(name, 60), "  " * (row["depth"] + 1)),
            seconds(
                row["latency_s"] if row["latency_s"] is not None else row["replayed_latency_s"]
            ),
            _or_blank(row["predicted_latency_s"], units.time),
            units.signed(row["latency_error"]),
        ]
        if energy:
            cells += [
                _or_blank(row["energy_j"], units.energy),
                _or_blank(row["predicted_energy_j"], units.energy),
                units.signed(row["energy_error"]),
            ]
        if wide:
            said = f"not replayed: {row['failed']}" if row["failed"] else ""
            cells.append(Name(plain(said, 160), style=_QUIET))
        table.add_row(*cells)
    left = len(known) - len(shown)
    return Group(table, Text(f"  and {left} more: -v shows them", _QUIET)) if left else table


def _shallow(rows: Sequence[Mapping[str, Any]], most: int | None) -> Sequence[Mapping[str, Any]]:
    """The deepest levels that fit as a whole; at least the first two."""
    if most is None or len(rows) <= most:
        return rows
    for depth in range(max(row["depth"] for row in rows), 1, -1):
        kept = [row for row in rows if row["depth"] <= depth]
        if len(kept) <= most:
            return kept
    return [row for row in rows if row["depth"] <= 1][: max(most, 1)]


def seconds(value_s: float | None) -> str:
    """Seconds as text; what is not known is unavailable."""
    return "unavailable" if value_s is None else units.time(value_s)


def joules(value_j: float | None) -> str:
    """Joules as text; what is not known is unavailable, never 0."""
    return "unavailable" if value_j is None else units.energy(value_j)


def _or_blank(value: float | None, shown: Any) -> str:
    return "" if value is None else str(shown(value))


def pieces(number: float) -> str:
    """How many in one inference: whole, but where inferences differ."""
    return f"{number:,.0f}" if number == round(number) else units.number(number)
