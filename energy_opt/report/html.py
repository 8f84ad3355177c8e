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
from energy_opt.report import figures, tables, text
from energy_opt.report.escape import html_text, script_json


def render(analysis: Mapping[str, Any], *, full: bool = True) -> str:
    """The page as one string; with `full=False` a fragment without scripts and figures, for notebooks.

    Raises: EnergyOptError when a full page is asked for and plotly is not installed.
    """
    css = _part("report.css")
    if not full:
        return f'<div class="energy-opt"><style>{css}</style>{_heading(analysis)}{_summary(analysis)}</div>'
    plotly, script = _plotly_js(), _part("report.js")
    parts = {"icicle": figures.icicle(analysis), "roofline": figures.roofline(analysis)}
    # Only these two scripts may run: even a name that broke out of its element could not.
    policy = (
        f"default-src 'none'; script-src {_hash(plotly)} {_hash(script)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )
    return string.Template(_part("report.html")).substitute(
        policy=policy,
        title=html_text(f"{text.model_name(analysis)} on {text.device_name(analysis)}"),
        css=css,
        body=_heading(analysis) + _body(analysis, parts),
        data=script_json(parts),
        plotly=plotly,
        script=script,
    )


def _heading(analysis: Mapping[str, Any]) -> str:
    device = analysis.get("device") or {}
    chips = [("runtime", analysis.get("runtime")), ("precision", analysis.get("precision") or "as-is")]
    found = [f"<span class=chip>{name} <b>{html_text(value, 40)}</b></span>" for name, value in chips if value]
    for name, value, defaulted in text.dims(analysis)[:24]:
        mark = ' <em title="not given on the command line">not given</em>' if defaulted else ""
        found.append(f"<span class=chip>{html_text(name)} = <b>{html_text(value)}</b>{mark}</span>")
    if device.get("assumed"):
        found.append("<span class=chip><em>no --device was given; this one was assumed</em></span>")
    return (
        f"<header><h1>{html_text(text.model_name(analysis))} <span>on {html_text(text.device_name(analysis))}"
        f"</span></h1><p class=chips>{' '.join(found)}</p></header>"
    )


def _summary(analysis: Mapping[str, Any]) -> str:
    rows = tables.module_rows(analysis)
    modules = f"<h2>Where the energy goes</h2>{rows}" if rows else ""
    return _cards(analysis) + modules + f"<h2>Most expensive ops</h2>{_top_ops(analysis)}" + _advice(analysis) + _small_print(analysis)


def _body(analysis: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    total = (analysis.get("totals") or {}).get("energy_j") or 0.0
    return "".join(
        [
            _cards(analysis),
            _footprint(analysis),
            _advice(analysis),
            _figure(
                "icicle",
                "Where the energy goes",
                "Read it from left to right: each column splits the one before it, and a tile is as tall as its share "
                "of the energy. Its colour is the kind of operation that costs most in it. Click a tile to look inside; "
                "click the bar on top to come back.",
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
            _details("Modules", "The module tree; repeated blocks count as one.", tables.module_rows(analysis), True),
            _details("Kinds of operation", "Click a heading to sort.", _kinds(analysis, total), True),
            _details("Operations", "Every operation, the costliest first; click a heading to sort.", _ops(analysis, total)),
            _small_print(analysis),
            _details("Sizes", "Every free dimension of the model, and what it was taken as.", _dims(analysis)),
            _details("Device", "The facts that the prediction rests on.", _device(analysis)),
        ]
    )


def _cards(analysis: Mapping[str, Any]) -> str:
    found = analysis.get("totals") or {}
    moved = (found.get("bytes_read") or 0) + (found.get("bytes_written") or 0)
    tdp = (analysis.get("device") or {}).get("tdp_w")
    peak = found.get("peak_activation_bytes")
    cards = [
        ("latency", units.si(found.get("latency_s"), "s"), units.bounds(found.get("latency_s"), found.get("latency_s_interval"), "s"), True),
        ("energy", units.si(found.get("energy_j"), "J"), units.bounds(found.get("energy_j"), found.get("energy_j_interval"), "J"), True),
        ("mean power", units.power(found.get("power_w")), f"of {units.power(tdp)} at most" if tdp else "", True),
        *((label, units.energy(value), "", False) for label, value in text.per_item(analysis)),
        ("compute", units.macs(found.get("macs")), f"{units.flop(found.get('matmul_flops'))} matmul, {units.flop(found.get('other_flops'))} other", False),
        ("memory traffic", units.nbytes(moved), "read and written", False),
        ("parameters", units.count(found.get("parameters")), f"{units.nbytes(found.get('weight_bytes'))} of weights", False),
        ("peak activations", units.nbytes(peak), "most that is alive at once", False),
    ]  # fmt: skip
    return "<section class=cards>" + "".join(
        f"<div class='card{' main' if main else ''}'><span>{html_text(label)}</span><b>{html_text(value)}</b>"
        f"<small>{html_text(remark)}</small></div>"
        for label, value, remark, main in cards
    ) + "</section>"


def _footprint(analysis: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html_text(label)}</td><td class=n><b>{html_text(value)}</b></td><td class=quiet>{html_text(remark)}</td></tr>"
        for label, value, remark in text.footprint(analysis)
    )
    return f"<h2>In service</h2><table class=narrow>{rows}</table>" if rows else ""


def _advice(analysis: Mapping[str, Any]) -> str:
    items = []
    for step in list(analysis.get("advice") or ())[:6]:
        amount = text.saving(step)
        command = f"<br><code>{html_text(step['command'], 300)}</code>" if step.get("command") else ""
        items.append(
            f"<li><b>{html_text(step.get('title'), 200)}</b>"
            + (f" <span class='tag good'>{html_text(amount)}</span>" if amount else "")
            + f"<br>{html_text(step.get('detail') or '', 800)}{command}</li>"
        )
    return f"<h2>What would help</h2><ol class=advice>{''.join(items)}</ol>" if items else ""


def _figure(name: str, title: str, how: str, parts: Mapping[str, Any]) -> str:
    if parts.get(name) is None:
        return ""
    return f'<h2>{title}</h2><p class=quiet>{how}</p><figure id="{name}"></figure>'


def _left_out(analysis: Mapping[str, Any]) -> str:
    count, part = figures.without_arithmetic(analysis)
    if not count:
        return ""
    return f"{count:,} ops that do no arithmetic ({units.share(part) or '0 %'} of the energy) have no place in it."


def _details(title: str, how: str, content: str, opened: bool = False) -> str:
    if not content:
        return ""
    return f"<details{' open' if opened else ''}><summary>{title}</summary><p class=quiet>{how}</p>{content}</details>"


def _kinds(analysis: Mapping[str, Any], total: float) -> str:
    return tables.table(
        "kinds",
        [
            tables.text_column("kind", "kind", 40),
            tables.number_column("ops", "ops", lambda v: f"{v:,}"),
            tables.share_column(total),
            tables.interval_column("energy", "energy_j", "J"),
            tables.interval_column("latency", "latency_s", "s"),
            tables.number_column("MACs", "macs", units.count),
            tables.number_column("read", "bytes_read", units.nbytes),
            tables.number_column("written", "bytes_written", units.nbytes),
        ],
        analysis.get("kinds") or (),
    )


def _ops(analysis: Mapping[str, Any], total: float) -> str:
    ops = sorted(analysis.get("ops") or (), key=lambda op: -(op.get("energy_j") or 0.0))
    return tables.table(
        "ops",
        [
            tables.text_column("op", "op", 40),
            tables.text_column("module", "path"),
            tables.text_column("name", "name", 80),
            tables.text_column("kind", "kind", 40),
            tables.bound_column(),
            tables.share_column(total),
            tables.interval_column("energy", "energy_j", "J"),
            tables.interval_column("latency", "latency_s", "s"),
            tables.number_column("MACs", "macs", units.count),
            tables.number_column("read", "bytes_read", units.nbytes),
            tables.number_column("written", "bytes_written", units.nbytes),
            tables.text_column("from", "provenance", 20),
        ],
        ops,
    )


def _top_ops(analysis: Mapping[str, Any]) -> str:
    from energy_opt.report.tree import group_ops

    total = (analysis.get("totals") or {}).get("energy_j") or 0.0
    groups = group_ops(analysis.get("ops") or ())[:5]
    return tables.table(
        "top",
        [
            tables.text_column("op", "op", 40),
            tables.number_column("times", "repeats", str),
            tables.text_column("where", "label"),
            tables.bound_column(),
            tables.share_column(total),
            tables.number_column("energy", "energy_j", units.energy),
            tables.number_column("latency", "latency_s", units.time),
        ],
        groups,
    )


def _small_print(analysis: Mapping[str, Any]) -> str:
    full, coverage = text.coverage(analysis)
    lines = [f"<li{'' if full else ' class=warn'}>Coverage: {html_text(coverage)}.</li>"]
    found = [*text.provenance(analysis), *text.free_dims(analysis), *(analysis.get("notes") or ())]
    lines += [f"<li>{html_text(line, 600)}</li>" for line in found]
    return f"<h2>How sure is this?</h2><ul class=notes>{''.join(lines)}</ul>"


def _dims(analysis: Mapping[str, Any]) -> str:
    info: Mapping[str, Any] = analysis.get("dims_info") or {}
    rows = [
        {
            "name": name,
            "value": value,
            "given": "no, taken as a default" if defaulted else "yes",
            "where": (info.get(name) or {}).get("where") or "",
            "aliases": ", ".join(str(a) for a in (info.get(name) or {}).get("aliases") or ()),
        }
        for name, value, defaulted in text.dims(analysis)
    ]
    if not rows:
        return ""
    headings = {"name": "name", "value": "value", "given": "given", "where": "where", "aliases": "called in the file"}
    return tables.table("dims", [tables.text_column(title, key) for key, title in headings.items()], rows)


def _device(analysis: Mapping[str, Any]) -> str:
    device = analysis.get("device") or {}
    facts = [
        ("name", f"{text.device_name(analysis)} ({device.get('name')})"),
        ("kind", device.get("kind")),
        ("memory bandwidth", units.byte_rate(device.get("mem_bw_bytes_per_s"))),
        ("power limit", units.power(device.get("tdp_w"))),
        ("idle power", units.power(device.get("idle_w"))),
        *((f"peak {name}", units.flop_rate(rate)) for name, rate in (device.get("peaks") or {}).items()),
        ("latency coefficients", device.get("provenance")),
        ("energy coefficients", device.get("energy_provenance")),
        ("energy includes", device.get("boundary")),
        *(("unverified", item) for item in device.get("unverified") or ()),
        *(("source", item) for item in device.get("sources") or ()),
    ]
    return "<table class=narrow>" + "".join(
        f"<tr{' class=warn' if name == 'unverified' else ''}><td>{html_text(name, 60)}</td><td>{html_text(value, 300)}</td></tr>"
        for name, value in facts
        if value is not None
    ) + "</table>"


def _part(name: str) -> str:
    return (resources.files("energy_opt.report") / "templates" / name).read_text(encoding="utf-8").strip()


def _plotly_js() -> str:
    # Found, not imported: the page needs one file of the package, and importing all of it takes longer than the page.
    spec = importlib.util.find_spec("plotly")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path.read_text(encoding="utf-8").replace("\r\n", "\n").strip()
    raise EnergyOptError(
        "the HTML report needs plotly, which is not installed; install it with: pip install 'energy-opt[html]'"
    )


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
