"""A cross-check as a table: our FLOPs by operator beside other counters', and what each of them misses.

Takes the JSON dict of a cross-check and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from energy_opt import units
from energy_opt.report.escape import html_text, plain
from energy_opt.report.widgets import Name, columns

_SHORT = {
    "flop_counter": "FlopCounter, CPU",
    "flop_counter_math": "FlopCounter, fake",
    "fvcore": "fvcore",
}
_EQUAL = 1e-3
_UNIT = "FLOPs of matrix arithmetic, a multiply-add being 2"


def render(found: Mapping[str, Any]) -> RenderableType:
    """The table and a sentence for every counter."""
    ran = [counter for counter in found["counters"] if "failed" not in counter]
    heading = Text(f"Cross-check: {_UNIT}", "bold")
    table = columns(Name.column("  operator"), "ours", *(_short(c) for c in ran))
    for row in found["operators"]:
        cells = [_cell(row[counter["name"]], row["ours"]) for counter in ran]
        table.add_row(Name(plain(row["operator"], 60), "  "), units.count(row["ours"]), *cells)
    totals = [_cell(counter["total"], found["total"]) for counter in ran]
    table.add_row(Name("total", "  "), units.count(found["total"]), *totals)
    lines: list[RenderableType] = [heading, table]
    for counter in found["counters"]:
        said = Text.assemble((f"{plain(counter['label'], 100)}: ", "bold"), says(counter, found))
        lines.append(Padding(said, (0, 0, 0, 2), expand=False))
    for note in found["notes"]:
        said = Text.assemble(("Note: ", "yellow"), (plain(note, 400), "dim"))
        lines.append(Padding(said, (0, 0, 0, 2), expand=False))
    return Group(*lines)


def page(found: Mapping[str, Any] | None) -> str:
    """The same for the HTML report; empty where no cross-check was asked for."""
    if not found:
        return ""
    ran = [counter for counter in found["counters"] if "failed" not in counter]
    head = "".join(f"<th class=n>{html_text(_short(counter))}</th>" for counter in ran)
    rows = [
        (row["operator"], row["ours"], [row[c["name"]] for c in ran]) for row in found["operators"]
    ]
    rows.append(("total", found["total"], [counter["total"] for counter in ran]))
    body = "".join(
        f"<tr><td>{html_text(name, 60)}</td><td class=n>{html_text(units.count(ours))}</td>"
        + "".join(_html_cell(flops, ours) for flops in theirs)
        + "</tr>"
        for name, ours, theirs in rows
    )
    said = [
        f"<b>{html_text(c['label'], 100)}</b>: {html_text(says(c, found))}"
        for c in found["counters"]
    ]
    said += [html_text(note, 400) for note in found["notes"]]
    return (
        f"<h2>Cross-check</h2><p class=quiet>{_UNIT}.</p><div class=scroll><table><thead><tr>"
        f"<th>operator</th><th class=n>ours</th>{head}</tr></thead>{body}</table></div>"
        f"<ul class=notes>{''.join(f'<li>{line}</li>' for line in said)}</ul>"
    )


def says(counter: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """What a counter missed and counted otherwise, by name, and what it prints itself."""
    if "failed" in counter:
        return f"could not run this model ({plain(counter['failed'], 300)})."
    return "; ".join(_findings(counter, found)) + "."


def _findings(counter: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    rows = {row["operator"]: row for row in found["operators"]}
    if counter["missed"]:
        lost = sum(rows[name]["ours"] for name in counter["missed"])
        share = units.share(lost / found["total"]) if found["total"] else "0 %"
        yield f"counts nothing for {_names(counter['missed'])} ({share} of our FLOPs)"
    other = []
    for name in counter["different"]:
        theirs, ours = rows[name][counter["name"]], rows[name]["ours"]
        other.append(
            f"{plain(name, 60)} ({units.share(theirs / ours)} of ours)"
            if ours
            else f"{plain(name, 60)} (we: none)"
        )
    if other:
        yield f"counts differently: {', '.join(other)}"
    if not counter["missed"] and not other:
        yield "agrees on every operator"
    printed = f"prints {units.count(counter['printed'])} {counter['printed_unit']}"
    if counter["printed_other"]:
        printed += f", {_names(counter['printed_other'])} included"
    yield printed


def _names(names: Any) -> str:
    shown = [plain(name, 60) for name in names]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")


def _short(counter: Mapping[str, Any]) -> str:
    return _SHORT.get(counter["name"], plain(counter["name"], 20))


def _html_cell(theirs: float, ours: float) -> str:
    shown = _cell(theirs, ours)
    return f"<td class='n{' warn' * bool(shown.style)}'>{html_text(shown.plain)}</td>"


def _cell(theirs: float, ours: float) -> Text:
    if ours and not theirs:
        return Text("missed", "bold yellow")
    style = "" if abs(theirs - ours) <= _EQUAL * max(theirs, ours) else "yellow"
    return Text(units.count(theirs), style)
