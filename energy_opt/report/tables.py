"""The page's tables as HTML. A number's cell carries the raw value, so that sorting does not read units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from energy_opt import units
from energy_opt.report.escape import html_text
from energy_opt.report.tree import Node, tree

MAX_ROWS = 2000


@dataclass(frozen=True)
class Column:
    """A heading and how to get a cell from a row: the value to sort by and its HTML."""

    heading: str
    cell: Callable[[Mapping[str, Any]], tuple[object, str]]
    numeric: bool = True


def text_column(heading: str, name: str, limit: int = 120) -> Column:
    """A column of names."""

    def cell(row: Mapping[str, Any]) -> tuple[object, str]:
        value = row.get(name)
        return "", html_text("" if value is None else value, limit)

    return Column(heading, cell, numeric=False)


def number_column(heading: str, name: str, shown: Callable[[Any], str]) -> Column:
    """A column of quantities in one unit."""

    def cell(row: Mapping[str, Any]) -> tuple[object, str]:
        value = row.get(name)
        return ("" if value is None else value), html_text(
            shown(value)
        ) if value is not None else ""

    return Column(heading, cell)


def interval_column(heading: str, name: str, unit: str) -> Column:
    """A column of predicted quantities with their intervals."""

    def cell(row: Mapping[str, Any]) -> tuple[object, str]:
        value = row.get(name)
        ends = units.bounds(value, row.get(f"{name}_interval"), unit)
        small = f' <small title="interval">{html_text(ends)}</small>' if ends else ""
        return ("" if value is None else value), html_text(units.si(value, unit)) + small

    return Column(heading, cell)


def share_column(total: float) -> Column:
    """Energy as a share of the whole, with a bar."""

    def cell(row: Mapping[str, Any]) -> tuple[object, str]:
        part = (row.get("energy_j") or 0.0) / total if total else 0.0
        bar = f'<span class="bar"><i style="width:{100 * min(1.0, part):.2f}%"></i></span>'
        return part, f'{bar} <span class="pct">{html_text(units.share(part))}</span>'

    return Column("share", cell)


def bound_column() -> Column:
    """What limits an op, as a coloured tag."""

    def cell(row: Mapping[str, Any]) -> tuple[object, str]:
        bound = html_text(row.get("bound") or "unknown", 20)
        known = bound if bound in ("compute", "memory", "launch") else "other"
        return "", f'<span class="tag {known}">{bound}</span>'

    return Column("bound by", cell, numeric=False)


def table(name: str, columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> str:
    """A sortable table; beyond 2000 rows it says how many it leaves out."""
    rows = list(rows)
    head = "".join(
        f'<th scope="col"{" class=n" if c.numeric else ""}><button>{html_text(c.heading)}</button></th>'
        for c in columns
    )
    body = "".join(
        f"<tr>{''.join(_cell(c, row) for c in columns)}</tr>\n" for row in rows[:MAX_ROWS]
    )
    rest = len(rows) - MAX_ROWS
    more = f"<p class=quiet>{rest:,} cheaper rows are left out; --format csv has every op.</p>"
    return (
        f'<div class="scroll"><table id="{name}"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>'
        f"</div>{more if rest > 0 else ''}"
    )


def module_rows(analysis: Mapping[str, Any]) -> str:
    """The folded module tree as an indented table with bars, for the page and for notebooks."""
    root = tree(analysis)
    if not root.children or root.energy_j <= 0:
        return ""
    lines: list[str] = []
    stack: list[tuple[Node, int]] = [(child, 0) for child in reversed(root.children)]
    while stack and len(lines) < 400:
        node, depth = stack.pop()
        part = node.energy_j / root.energy_j
        if part < 0.002 and len(lines) > 20:
            continue
        times = f" <small>{node.repeats}×</small>" if node.repeats > 1 else ""
        lines.append(
            f'<tr><td style="padding-left:{0.6 + 1.2 * min(depth, 12):.1f}em">{html_text(node.label, 80)}{times}</td>'
            f"<td class=quiet>{html_text(node.type, 60)}</td>"
            f'<td class=n><span class="bar"><i style="width:{100 * min(1.0, part):.2f}%"></i></span> '
            f'<span class="pct">{html_text(units.share(part))}</span></td>'
            f"<td class=n>{units.energy(node.energy_j)}</td><td class=n>{units.time(node.totals['latency_s'])}</td>"
            f"<td class=n>{units.count(node.totals['macs'])}</td>"
            f"<td class=n>{units.count(node.totals['parameters'])}</td></tr>"
        )
        stack.extend((child, depth + 1) for child in reversed(node.children))
    head = (
        "<th>module</th><th>type</th><th class=n>share of energy</th><th class=n>energy</th><th class=n>latency</th>"
        "<th class=n>MACs</th><th class=n>parameters</th>"
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _cell(column: Column, row: Mapping[str, Any]) -> str:
    value, shown = column.cell(row)
    if not column.numeric:
        return f"<td>{shown}</td>"
    return f'<td class=n data-v="{html_text(value)}">{shown}</td>'
