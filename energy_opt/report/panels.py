"""The page's parts that are text and tables: heading, totals, advice, provenance, sizes, device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from energy_opt import units
from energy_opt.report import tables, text
from energy_opt.report.escape import html_text
from energy_opt.report.tree import group_ops


def heading(analysis: Mapping[str, Any]) -> str:
    """Model, device, runtime and sizes."""
    device = analysis.get("device") or {}
    chips = [
        ("runtime", analysis.get("runtime")),
        ("precision", analysis.get("precision") or "as-is"),
    ]
    found = [
        f"<span class=chip>{name} <b>{html_text(value, 40)}</b></span>"
        for name, value in chips
        if value
    ]
    found += [f"<span class=chip>{html_text(each)}</span>" for each in text.settings(analysis)]
    for name, value, defaulted in text.dims(analysis)[:24]:
        mark = ' <em title="nobody chose it">not given</em>' if defaulted else ""
        found.append(f"<span class=chip>{html_text(name)} = <b>{html_text(value)}</b>{mark}</span>")
    if device.get("assumed"):
        found.append("<span class=chip><em>no --device was given; this one was assumed</em></span>")
    return (
        f"<header><h1>{html_text(text.model_name(analysis))} <span>on {html_text(text.device_name(analysis))}"
        f"</span></h1><p class=chips>{' '.join(found)}</p></header>"
    )


def cards(analysis: Mapping[str, Any]) -> str:
    """The totals as cards."""
    found = analysis.get("totals") or {}
    moved = (found.get("bytes_read") or 0) + (found.get("bytes_written") or 0)
    tdp = (analysis.get("device") or {}).get("tdp_w")
    flops = f"{units.flop(found.get('matmul_flops'))} matmul, {units.flop(found.get('other_flops'))} other"
    weights = f"{units.nbytes(found.get('weight_bytes'))} of weights"
    peak = units.nbytes(found.get("peak_activation_bytes"))
    shown = [
        ("latency", *_predicted(found, "latency_s", "s"), True),
        ("energy", *_predicted(found, "energy_j", "J"), True),
        (
            "mean power",
            units.power(found.get("power_w")),
            f"of {units.power(tdp)} at most" if tdp else "",
            True,
        ),
        *((label, units.energy(value), "", False) for label, value in text.per_item(analysis)),
        ("compute", units.macs(found.get("macs")), flops, False),
        ("memory traffic", units.nbytes(moved), "read and written", False),
        ("parameters", units.count(found.get("parameters")), weights, False),
        ("peak activations", peak, "most that is alive at once", False),
    ]
    return (
        "<section class=cards>"
        + "".join(
            f"<div class='card{' main' if main else ''}'><span>{html_text(label)}</span><b>{html_text(value)}</b>"
            f"<small>{html_text(remark)}</small></div>"
            for label, value, remark, main in shown
        )
        + "</section>"
    )


def footprint(analysis: Mapping[str, Any]) -> str:
    """What serving costs; empty unless asked for."""
    rows = "".join(
        f"<tr><td>{html_text(label)}</td><td class=n><b>{html_text(value)}</b></td>"
        f"<td class=quiet>{html_text(remark)}</td></tr>"
        for label, value, remark in text.footprint(analysis)
    )
    return f"<h2>In service</h2><table class=narrow>{rows}</table>" if rows else ""


def advice(analysis: Mapping[str, Any]) -> str:
    """What would help, with the predicted saving."""
    items = []
    for step in list(analysis.get("advice") or ())[:6]:
        amount = text.saving(step)
        command = (
            f"<br><code>{html_text(step['command'], 2000)}</code>" if step.get("command") else ""
        )
        items.append(
            f"<li><b>{html_text(text.sentence(step.get('title'), 200))}</b>"
            + (f" <span class='tag good'>{html_text(amount)}</span>" if amount else "")
            + f"<br>{html_text(text.sentence(step.get('detail') or '', 800))}{command}</li>"
        )
    return f"<h2>What would help</h2><ol class=advice>{''.join(items)}</ol>" if items else ""


def kinds(analysis: Mapping[str, Any], total: float) -> str:
    """Energy by kind of op."""
    return tables.table(
        "kinds",
        [
            tables.text_column("kind", "kind", 40),
            tables.number_column("ops", "ops", lambda v: f"{v:,}"),
            *_costs(total),
        ],
        analysis.get("kinds") or (),
    )


def ops(analysis: Mapping[str, Any], total: float) -> str:
    """Every op, the costliest first."""
    ops = sorted(analysis.get("ops") or (), key=lambda op: -(op.get("energy_j") or 0.0))
    return tables.table(
        "ops",
        [
            tables.text_column("op", "op", 40),
            tables.text_column("module", "path"),
            tables.text_column("name", "name", 80),
            tables.text_column("kind", "kind", 40),
            tables.bound_column(),
            *_costs(total),
            tables.text_column("from", "provenance", 20),
        ],
        ops,
    )


def top_ops(analysis: Mapping[str, Any]) -> str:
    """The five costliest ops, equal ones counted together."""
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


def small_print(analysis: Mapping[str, Any]) -> str:
    """Coverage, provenance and notes."""
    full, coverage = text.coverage(analysis)
    lines = [f"<li{'' if full else ' class=warn'}>Coverage: {html_text(coverage)}.</li>"]
    found = [
        *text.provenance(analysis),
        *text.assumptions(analysis),
        *(analysis.get("notes") or ()),
    ]
    lines += [f"<li>{html_text(text.sentence(line, 600))}</li>" for line in found]
    return f"<h2>How sure is this?</h2><ul class=notes>{''.join(lines)}</ul>"


def dims(analysis: Mapping[str, Any]) -> str:
    """The free dimensions; empty where there are none."""
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
    headings = {
        "name": "name",
        "value": "value",
        "given": "given",
        "where": "where",
        "aliases": "called in the file",
    }
    return tables.table(
        "dims", [tables.text_column(title, key) for key, title in headings.items()], rows
    )


def device(analysis: Mapping[str, Any]) -> str:
    """The device's facts, those unverified marked, and their sources."""
    device = analysis.get("device") or {}
    facts = [
        ("name", f"{text.device_name(analysis)} ({device.get('name')})"),
        ("kind", device.get("kind")),
        ("memory bandwidth", units.byte_rate(device.get("mem_bw_bytes_per_s"))),
        ("power limit", units.power(device.get("tdp_w"))),
        ("idle power", units.power(device.get("idle_w"))),
        *(
            (f"peak {name}", units.flop_rate(rate))
            for name, rate in (device.get("peaks") or {}).items()
        ),
        ("latency coefficients", device.get("provenance")),
        ("energy coefficients", device.get("energy_provenance")),
        ("energy includes", device.get("boundary")),
        *(("unverified", item) for item in device.get("unverified") or ()),
        *(("source", item) for item in device.get("sources") or ()),
    ]
    return (
        "<table class=narrow>"
        + "".join(
            f"<tr{' class=warn' if name == 'unverified' else ''}><td>{html_text(name, 60)}</td>"
            f"<td>{html_text(value, 300)}</td></tr>"
            for name, value in facts
            if value is not None
        )
        + "</table>"
    )


def _costs(total: float) -> list[tables.Column]:
    """The columns of what kinds and ops cost."""
    return [
        tables.share_column(total),
        tables.interval_column("energy", "energy_j", "J"),
        tables.interval_column("latency", "latency_s", "s"),
        tables.number_column("MACs", "macs", units.count),
        tables.number_column("read", "bytes_read", units.nbytes),
        tables.number_column("written", "bytes_written", units.nbytes),
    ]


def _predicted(found: Mapping[str, Any], name: str, unit: str) -> tuple[str, str]:
    value = found.get(name)
    return units.si(value, unit), units.bounds(value, found.get(f"{name}_interval"), unit)
