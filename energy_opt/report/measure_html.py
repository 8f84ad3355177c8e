"""A measurement as an HTML page: the same tables as in the terminal, every module in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from energy_opt import units
from energy_opt.estimators.breakdown import prefixes
from energy_opt.report import html, measure, measure_tables, text
from energy_opt.report.escape import html_text, plain


def render(found: Mapping[str, Any]) -> str:
    """The page as one string; it needs no network.

    Raises:
        EnergyOptError: plotly, whose script the pages carry, is not installed.
    """
    return html.document(f"{text.model_name(found)}, measured", body(found), {})


def body(found: Mapping[str, Any]) -> str:
    """The part of the page that says what was found."""
    target = found["target"]
    name = text.model_name(found) if found["model"].get("source") else plain(target["label"], 80)
    title = f"<h1>{html_text(name)} measured on {html_text(target.get('label') or target['name'], 80)}</h1>"
    said = []
    for line in measure.small_print(found):
        inner = getattr(line, "renderable", line)
        said.append(f"<li>{html_text(getattr(inner, 'plain', ''))}</li>")
    return "".join(
        [
            title,
            _totals(found),
            _table("Meters", _METERS, found.get("meters") or ()),
            _table("Trials", _TRIALS, found.get("trials") or ()),
            _table("Kinds of work", _KINDS, (found.get("trace") or {}).get("kinds") or ()),
            _table("Modules", _MODULES, _nested(found.get("modules") or ())),
            f"<ul class=notes>{''.join(said)}</ul>",
        ]
    )


def _totals(found: Mapping[str, Any]) -> str:
    mine, theirs = found["measured"], found.get("predicted") or {}
    verdict = found.get("comparison") or {}
    rows = [
        {
            "name": quantity,
            "measured": mine.get(name),
            "within": units.bounds(mine.get(name), mine.get(f"{name}_interval"), unit),
            "predicted": theirs.get(name),
            "range": units.bounds(theirs.get(name), theirs.get(f"{name}_interval"), unit),
            "error": verdict.get(f"{quantity}_error"),
            "inside": {None: "", True: "yes", False: "no"}[verdict.get(f"{quantity}_inside")],
        }
        for quantity, name, unit in (("latency", "latency_s", "s"), ("energy", "energy_j", "J"))
    ]
    heads = (
        ("name", "", str), ("measured", "measured", None), ("within", "range", str), ("predicted", "predicted", None),
        ("range", "range", str), ("error", "error", units.signed), ("inside", "in range", str),
    )  # fmt: skip
    shown = [
        {**row, "unit": _or_unavailable(units.time if i == 0 else units.energy)}
        for i, row in enumerate(rows)
    ]
    return _table("One inference", heads, shown)


def _or_unavailable(how: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "unavailable" if value is None else how(value)


def _table(title: str, heads: Any, rows: Any) -> str:
    """A table of these columns, those left out in which no row has anything."""
    if not rows:
        return ""
    heads = [head for head in heads if any(row.get(head[0]) not in (None, "") for row in rows)]
    head = "".join(f"<th{_side(shown)}>{html_text(label)}</th>" for _, label, shown in heads)
    lines = []
    for row in rows:
        cells: list[str] = []
        for key, _, shown in heads:
            value = row.get(key)
            how = shown or row["unit"]
            inner = html_text("" if value is None and shown is not None else how(value), 160)
            cells.append(
                f"<td{_side(shown)}>{'&emsp;' * row.get('indent', 0) * (not cells)}{inner}</td>"
            )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f"<h2>{title}</h2><div class=scroll><table class=narrow><thead><tr>{head}</tr></thead>"
        f"{''.join(lines)}</table></div>"
    )


def _side(shown: Any) -> str:
    return "" if shown is str else " class=n"


def _nested(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Modules under the last part of their names, indented under the modules that are listed above them."""
    paths = {row["path"] for row in rows}
    shown = []
    for row in rows:
        above = [each for each in prefixes(row["path"])[1:] if each in paths]
        nearest = above[0] if above else ""
        name = row["path"][len(nearest) + 1 if nearest else 0 :] or row.get("type") or "the model"
        shown.append({**row, "path": name, "indent": len(above)})
    return shown


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _count(value: int) -> str:
    return f"{value:,}"


_METERS = (
    ("meter", "meter", str), ("provenance", "", str), ("energy_j_per_inference", "energy", units.energy),
    ("mean_power_w", "mean power", units.power), ("relative_error", "stated error", units.share),
    ("boundary", "covers", str), ("difference", "apart", units.signed), ("reason", "", str),
)  # fmt: skip
_TRIALS = (
    ("latency_s", "latency", units.time), ("energy_j", "energy", units.energy), ("calls", "calls", _count),
    ("warmup_calls", "warm-up calls", _count), ("settled", "settled", _yes), ("utilisation", "busy", units.share),
    ("temperature_c", "°C", str),
)  # fmt: skip
_KINDS = (
    ("kind", "kind", str), ("latency_s", "time", units.time), ("pieces", "pieces", measure_tables.pieces),
    ("predicted_latency_s", "predicted", units.time), ("latency_error", "error", units.signed),
)  # fmt: skip
_MODULES = (
    ("path", "module", str), ("type", "class", str), ("calls", "calls", _count), ("latency_s", "in place", units.time),
    ("replayed_latency_s", "replayed", units.time), ("predicted_latency_s", "predicted", units.time),
    ("latency_error", "error", units.signed), ("energy_j", "energy", units.energy),
    ("predicted_energy_j", "predicted energy", units.energy), ("energy_error", "error", units.signed),
    ("replayed_like", "replayed as", str), ("failed", "not replayed", str),
)  # fmt: skip
