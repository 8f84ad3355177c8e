"""A measurement as an HTML page: the same tables as in the terminal, every module in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from energy_opt import units
from energy_opt.report import html, measure, text
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
            _table("Modules", _MODULES, found.get("modules") or ()),
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
            "predicted": theirs.get(name),
            "range": units.bounds(theirs.get(name), theirs.get(f"{name}_interval"), unit),
            "error": verdict.get(f"{quantity}_error"),
            "inside": {None: "", True: "yes", False: "no"}[verdict.get(f"{quantity}_inside")],
        }
        for quantity, name, unit in (("latency", "latency_s", "s"), ("energy", "energy_j", "J"))
    ]
    heads = (
        ("name", "", str), ("measured", "measured", None), ("predicted", "predicted", None),
        ("range", "range", str), ("error", "error", units.signed), ("inside", "in range", str),
    )  # fmt: skip
    shown = [{**row, "unit": units.time if i == 0 else units.energy} for i, row in enumerate(rows)]
    return _table("One inference", heads, shown)


def _table(title: str, heads: Any, rows: Any) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{html_text(label)}</th>" for _, label, _ in heads)
    lines = []
    for row in rows:
        cells = []
        for key, _, shown in heads:
            value = row.get(key)
            how = shown or row["unit"]
            cells.append(f"<td>{html_text('' if value is None else how(value), 160)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<h2>{title}</h2><div class=scroll><table><thead><tr>{head}</tr></thead>{''.join(lines)}</table></div>"


_METERS = (
    ("meter", "meter", str), ("provenance", "", str), ("energy_j_per_inference", "energy", units.energy),
    ("mean_power_w", "mean power", units.power), ("relative_error", "stated error", units.share),
    ("boundary", "covers", str), ("difference", "apart", units.signed), ("reason", "", str),
)  # fmt: skip
_TRIALS = (
    ("latency_s", "latency", units.time), ("energy_j", "energy", units.energy), ("calls", "calls", str),
    ("warmup_calls", "warm-up calls", str), ("settled", "settled", str), ("utilisation", "busy", units.share),
    ("temperature_c", "°C", str),
)  # fmt: skip
_KINDS = (
    ("kind", "kind", str), ("latency_s", "time", units.time), ("pieces", "pieces", units.number),
    ("predicted_latency_s", "predicted", units.time), ("latency_error", "error", units.signed),
)  # fmt: skip
_MODULES = (
    ("path", "module", str), ("type", "class", str), ("calls", "calls", str), ("latency_s", "in place", units.time),
    ("replayed_latency_s", "replayed", units.time), ("predicted_latency_s", "predicted", units.time),
    ("latency_error", "error", units.signed), ("energy_j", "energy", units.energy),
    ("predicted_energy_j", "predicted", units.energy), ("energy_error", "error", units.signed),
    ("replayed_like", "replayed as", str), ("failed", "not replayed", str),
)  # fmt: skip
