"""An analysis as one HTML file that needs no network: figures, tables and plotly are all inside it."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import string
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from energy_opt import units
from energy_opt.errors import EnergyOptError
from energy_opt.report import crosscheck, figures, panels, tables, text
from energy_opt.report.escape import html_text, script_json


def render(analysis: Mapping[str, Any], *, full: bool = True) -> str:
    """The page as one string; with `full=False` a fragment without scripts and figures, for notebooks.

    Raises: EnergyOptError when a full page is asked for and plotly is not installed.
    """
    if not full:
        return fragment(panels.heading(analysis) + _summary(analysis))
    parts = {"icicle": figures.icicle(analysis), "roofline": figures.roofline(analysis)}
    title = f"{text.model_name(analysis)} on {text.device_name(analysis)}"
    return document(title, panels.heading(analysis) + _body(analysis, parts), parts)


def document(title: str, body: str, parts: Mapping[str, Any]) -> str:
    """A page around a body whose elements with these ids become plotly figures; it needs nothing beside it.

    Raises: EnergyOptError when plotly is not installed.
    """
    plotly, script = _plotly_js(), _part("report.js")
    # Only these two scripts may run: even a name that broke out of its element could not.
    policy = (
        f"default-src 'none'; script-src {_hash(plotly)} {_hash(script)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )
    page = string.Template(_part("report.html")).substitute(
        policy=policy,
        title=html_text(title),
        css=_part("report.css"),
        body=body,
        data=script_json(parts),
        plotly=plotly,
        script=script,
    )
    return page + "\n"


def fragment(body: str) -> str:
    """A part of our pages for a page of others, with our styles for it alone."""
    return f'<div class="energy-opt"><style>{_part("report.css")}</style>{body}</div>'


def _summary(analysis: Mapping[str, Any]) -> str:
    rows = tables.module_rows(analysis)
    modules = f"<h2>Where the energy goes</h2>{rows}" if rows else ""
    ops = f"<h2>Most expensive ops</h2>{panels.top_ops(analysis)}"
    return (
        panels.cards(analysis)
        + modules
        + ops
        + panels.advice(analysis)
        + panels.small_print(analysis)
    )


def _body(analysis: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    total = (analysis.get("totals") or {}).get("energy_j") or 0.0
    return "".join(
        [
            panels.cards(analysis),
            panels.footprint(analysis),
            panels.advice(analysis),
            _figure(
                "icicle",
                "Where the energy goes",
                "Read it from left to right: each column splits the one before it, and a tile is as tall as its share "
                "of the energy. Its colour is the kind of operation that costs most in it. Click a tile to look "
                "inside; click the bar on top to come back.",
                parts,
            ),
            _figure(
                "roofline",
                "What limits the operations",
                "Each dot is an operation, as large as its energy. Dots under the slope wait for memory; dots under a "
                "flat line could at best reach that line; the further below its limit a dot is, the more is to be won. "
                + _left_out(analysis),
                parts,
            ),
            _details(
                "Modules",
                "The module tree; repeated blocks count as one.",
                tables.module_rows(analysis),
                True,
            ),
            _details(
                "Kinds of operation",
                "Click a heading to sort.",
                panels.kinds(analysis, total),
                True,
            ),
            _details(
                "Operations",
                "The costliest first; click a heading to sort.",
                panels.ops(analysis, total),
            ),
            crosscheck.page(analysis.get("cross_check")),
            panels.small_print(analysis),
            _details(
                "Sizes",
                "Every free dimension of the model, and what it was taken as.",
                panels.dims(analysis),
            ),
            _details("Device", "The facts that the prediction rests on.", panels.device(analysis)),
        ]
    )


def _figure(name: str, title: str, how: str, parts: Mapping[str, Any]) -> str:
    if parts.get(name) is None:
        return ""
    return f'<h2>{title}</h2><p class=quiet>{how}</p><figure id="{name}"></figure>'


def _left_out(analysis: Mapping[str, Any]) -> str:
    count, part = figures.without_arithmetic(analysis)
    if not count:
        return ""
    energy = f" ({units.share(part)} of the energy)" if part > 0 else ""
    if count == 1:
        return f"One op that does no arithmetic{energy} has no place in it."
    return f"{count:,} ops that do no arithmetic{energy} have no place in it."


def _details(title: str, how: str, content: str, opened: bool = False) -> str:
    if not content:
        return ""
    return f"<details{' open' if opened else ''}><summary>{title}</summary><p class=quiet>{how}</p>{content}</details>"


def _part(name: str) -> str:
    return (
        (resources.files("energy_opt.report") / "templates" / name)
        .read_text(encoding="utf-8")
        .strip()
    )


def _plotly_js() -> str:
    # Found, not imported: the page needs one file of the package, and importing all of it takes longer than the page.
    spec = importlib.util.find_spec("plotly")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path.read_text(encoding="utf-8").replace("\r\n", "\n").strip()
    raise EnergyOptError(
        "the HTML report needs plotly, which is not installed; install it with: pip install plotly"
    )


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
