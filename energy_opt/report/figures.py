"""The page's two figures as plotly JSON, which the browser draws. Plotly reads pseudo-HTML, so names are escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from energy_opt import units
from energy_opt.report.escape import html_text
from energy_opt.report.tree import Node, group_ops, own_energy_j, tree

# Okabe and Ito's palette, which people with colour blindness can tell apart, then lighter relatives.
_PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1", "#B8A500",
    "#7FB3D5", "#8FBC8F", "#C08497", "#9A8C98",
)  # fmt: skip
_MAX_TILES = 1500
_MAX_POINTS = 1500
_PEAK_ORDER = (
    "vector units",
    "float64",
    "float32",
    "tf32",
    "float16",
    "bfloat16",
    "float8",
    "int8",
    "int4",
)


def kind_colours(analysis: Mapping[str, Any]) -> dict[str, str]:
    """A colour for each kind, the same in both figures; the costliest kinds take the clearest colours."""
    kinds = [str(kind.get("kind")) for kind in analysis.get("kinds") or ()]
    kinds += [str(op.get("kind")) for op in analysis.get("ops") or ()]
    return {kind: _PALETTE[i % len(_PALETTE)] for i, kind in enumerate(dict.fromkeys(kinds))}


def icicle(analysis: Mapping[str, Any]) -> dict[str, Any] | None:
    """The module tree, one tile per module, as tall as its share of the energy; None without any energy.

    The ops that sit directly in a module appear as tiles of their kinds.
    """
    root = tree(analysis)
    if root.energy_j <= 0:
        return None
    # A root that only wraps one module would take a column to say nothing.
    while len(root.children) == 1 and root.children[0].energy_j >= 0.999 * root.energy_j:
        root = root.children[0]
    colours, by_path = kind_colours(analysis), _kinds_by_path(analysis.get("ops") or ())
    rows: list[dict[str, Any]] = []
    stack: list[tuple[Node, str]] = [(root, "")]
    while stack and len(rows) < _MAX_TILES:
        node, parent = stack.pop()
        name = str(len(rows))
        label = html_text(node.label or "whole model", 60)
        if node.repeats > 1:
            label += f" ({node.repeats}×)"
        rows.append(
            _tile(name, parent, label, html_text(node.type, 60), node.totals, root.energy_j)
        )
        rows[-1]["node"] = node
        stack.extend((child, name) for child in reversed(node.children))
        own = _own_kinds(node, by_path)
        if node.children or len(own) > 1:
            # The tree's own remainder decides how much room there is: parts never exceed their whole.
            scale = (
                own_energy_j(node) / total
                if (total := sum(v["energy_j"] for v in own.values()))
                else 0
            )
            for kind, sums in own.items():
                scaled = {**sums, "energy_j": sums["energy_j"] * min(1.0, scale)}
                tile_id = f"{name}/{len(rows)}"
                rows.append(
                    _tile(tile_id, name, html_text(kind, 40), "own ops", scaled, root.energy_j)
                )
                rows[-1]["kind"] = kind
    _colour(rows, colours, by_path)
    trace = {
        "type": "icicle",
        "ids": [row["id"] for row in rows],
        "parents": [row["parent"] for row in rows],
        "labels": [row["label"] for row in rows],
        "values": [row["value"] for row in rows],
        "customdata": [row["hover"] for row in rows],
        "branchvalues": "total",
        "sort": False,
        "tiling": {"orientation": "h", "pad": 0},
        "texttemplate": "%{label}<br>%{percentRoot:.1%}",
        "hovertemplate": "<b>%{label}</b>%{customdata}<extra></extra>",
        "marker": {
            "colors": [row["colour"] for row in rows],
            "line": {"width": 1, "color": "page"},
        },
        "textfont": {"color": [row["ink"] for row in rows]},
        "leaf": {"opacity": 1},
        "root": {"color": "rgba(128,128,128,0.15)"},
        "maxdepth": 8,
        "pathbar": {"thickness": 22},
    }
    return {"data": [trace], "layout": {"height": 560, "margin": {"t": 30, "l": 4, "r": 4, "b": 4}}}


def roofline(analysis: Mapping[str, Any]) -> dict[str, Any] | None:
    """Ops in the device's roofline: FLOP per byte against FLOP/s reached, as large as their energy.

    None where the device's bandwidth is not known or no op computes.
    """
    device = analysis.get("device") or {}
    bandwidth = device.get("mem_bw_bytes_per_s")
    points = list(_points(analysis.get("ops") or ()))[:_MAX_POINTS]
    used = {str(point.get("dtype")) for point in points}
    peaks = {
        name: rate
        for name, rate in (device.get("peaks") or {}).items()
        if rate and (name != "float64" or name in used)
    }
    if not bandwidth or not points or not peaks:
        return None
    if device.get("vector_flops_per_s"):
        peaks["vector units"] = device["vector_flops_per_s"]
    colours, total = kind_colours(analysis), (analysis.get("totals") or {}).get("energy_j") or 0.0
    ridge = max(peaks.values()) / bandwidth
    xs = [p["x"] for p in points]
    left, right = min([*xs, 0.1]) / 1.5, max([*xs, ridge]) * 4
    traces = [_roof(bandwidth, peaks, left, right)]
    for kind in dict.fromkeys(p["kind"] for p in points):
        some = [p for p in points if p["kind"] == kind]
        traces.append(_markers(kind, some, colours.get(kind, "#888888"), total))
    bottom = _lowest(points) / 2
    layout = {
        "height": 520,
        "margin": {"t": 20, "l": 70, "r": 20, "b": 60},
        "xaxis": _axis("arithmetic intensity (FLOP per byte of memory traffic)", left, right),
        "yaxis": _axis("FLOP/s reached", bottom, max(peaks.values()) * 3),
        "legend": {"orientation": "h", "y": -0.18},
        "annotations": _peak_labels(peaks, bandwidth, left, right, bottom),
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout}


def without_arithmetic(analysis: Mapping[str, Any]) -> tuple[int, float]:
    """How many ops do no arithmetic, so that a log-log roofline cannot show them, and their share of the energy."""
    total = (analysis.get("totals") or {}).get("energy_j") or 0.0
    idle = [op for op in analysis.get("ops") or () if _point(op) is None]
    return len(idle), sum(op.get("energy_j") or 0.0 for op in idle) / total if total else 0.0


def _tile(
    name: str, parent: str, label: str, kind: str, totals: Mapping[str, float], whole: float
) -> dict[str, Any]:
    hover = f"<br>{kind}" if kind else ""
    hover += f"<br>{units.energy(totals['energy_j'])}, {units.share(totals['energy_j'] / whole)} of the whole"
    hover += f"<br>{units.time(totals.get('latency_s'))}"
    if totals.get("macs"):
        hover += f"<br>{units.macs(totals['macs'])}"
    return {
        "id": name,
        "parent": parent,
        "label": label,
        "value": totals["energy_j"],
        "hover": hover,
    }


def _kinds_by_path(ops: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for op in ops:
        kinds = found.setdefault(str(op.get("path") or ""), {})
        sums = kinds.setdefault(
            str(op.get("kind")), {"energy_j": 0.0, "latency_s": 0.0, "macs": 0.0}
        )
        for name in sums:
            sums[name] += op.get(name) or 0.0
    return found


def _own_kinds(
    node: Node, by_path: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for path in node.paths or (node.path,):
        for kind, sums in by_path.get(path, {}).items():
            into = found.setdefault(kind, dict.fromkeys(sums, 0.0))
            for name, value in sums.items():
                into[name] += value
    return dict(sorted(found.items(), key=lambda item: -item[1]["energy_j"]))


def _colour(
    rows: Sequence[dict[str, Any]],
    colours: Mapping[str, str],
    by_path: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> None:
    """Give each tile the colour of the kind that costs most in it: a tint of it where there are tiles inside.

    The page replaces the colour `ink` by its own text colour, which depends on the reader's light or dark mode.
    """
    inner = {row["parent"] for row in rows}
    spent: dict[str, dict[str, float]] = {}
    for row in reversed(rows):
        mine = spent.setdefault(row["id"], {})
        if "kind" in row:
            mine[row["kind"]] = row["value"]
        elif not mine:
            for kind, sums in _own_kinds(row["node"], by_path).items():
                mine[kind] = sums["energy_j"]
        above = spent.setdefault(row["parent"], {})
        for kind, value in mine.items():
            above[kind] = above.get(kind, 0.0) + value
        first = max(mine, key=lambda kind: mine[kind], default="")
        colour = colours.get(first, "#888888")
        if row["id"] in inner:
            row["colour"], row["ink"] = f"rgba({','.join(map(str, _rgb(colour)))},0.22)", "ink"
        else:
            row["colour"], row["ink"] = colour, "#ffffff" if _is_dark(colour) else "#101010"


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _is_dark(colour: str) -> bool:
    # Perceived luminance after ITU-R BT.601, where 150 parts black text from white text.
    red, green, blue = _rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue < 150


def _points(ops: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    for group in group_ops(ops):
        point = _point(group)
        if point is not None:
            yield {**group, "x": point[0], "y": point[1], "kind": str(group.get("kind"))}


def _point(op: Mapping[str, Any]) -> tuple[float, float] | None:
    flops = (op.get("matmul_flops") or 0) + (op.get("other_flops") or 0)
    moved = (op.get("bytes_read") or 0) + (op.get("bytes_written") or 0)
    latency = op.get("latency_s") or 0.0
    if flops <= 0 or moved <= 0 or latency <= 0:
        return None
    return flops / moved, flops / latency


def _lowest(points: Sequence[Mapping[str, Any]]) -> float:
    """The lowest FLOP/s among the ops that together make 99.9 % of the energy: the rest would flatten the picture."""
    left = 0.999 * sum(p.get("energy_j") or 0.0 for p in points)
    lowest = math.inf
    for point in points:
        lowest = min(lowest, point["y"])
        left -= point.get("energy_j") or 0.0
        if left <= 0:
            break
    return lowest


def _markers(
    kind: str, points: Sequence[Mapping[str, Any]], colour: str, total: float
) -> dict[str, Any]:
    hovers, sizes = [], []
    for p in points:
        part = (p.get("energy_j") or 0.0) / total if total else 0.0
        sizes.append(round(7 + 42 * math.sqrt(min(1.0, part)), 1))
        times = f" ({p['repeats']}×)" if p["repeats"] > 1 else ""
        hovers.append(
            f"<b>{html_text(p.get('op'), 40)}</b>{times}<br>{html_text(p['label'], 90)}"
            f"<br>{html_text(kind, 40)}, bound by {html_text(p.get('bound') or 'unknown', 20)}"
            f"<br>{units.energy(p.get('energy_j'))} ({units.share(part)}), {units.time(p.get('latency_s'))}"
            f"<br>{units.number(p['x'])} FLOP/B, {units.flop_rate(p['y'])}"
        )
    return {
        "type": "scatter",
        "mode": "markers",
        "name": html_text(kind, 40),
        "x": [p["x"] for p in points],
        "y": [p["y"] for p in points],
        "text": hovers,
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"size": sizes, "color": colour, "opacity": 0.75, "line": {"width": 1}},
    }


def _roof(
    bandwidth: float, peaks: Mapping[str, float], left: float, right: float
) -> dict[str, Any]:
    xs: list[float | None] = [left, max(peaks.values()) / bandwidth]
    ys: list[float | None] = [left * bandwidth, max(peaks.values())]
    for rate in sorted(set(peaks.values())):
        xs += [None, rate / bandwidth, right]
        ys += [None, rate, rate]
    line = {"width": 2, "color": "#888888"}
    return {"type": "scatter", "mode": "lines", "x": xs, "y": ys, "line": line,
            "hoverinfo": "skip", "name": "limits of the device"}  # fmt: skip


def _peak_labels(
    peaks: Mapping[str, float], bandwidth: float, left: float, right: float, bottom: float
) -> list[dict[str, Any]]:
    """A label at the right end of every peak, and one along the bandwidth line."""
    by_rate: dict[float, list[str]] = {}
    order = {name: i for i, name in enumerate(_PEAK_ORDER)}
    for name in sorted(peaks, key=lambda n: order.get(n, len(order))):
        by_rate.setdefault(peaks[name], []).append(name)
    common = {"showarrow": False, "font": {"size": 11}}
    found = [
        {**common, "x": math.log10(right), "y": math.log10(rate), "xanchor": "right", "yanchor": "bottom",
         "text": f"{html_text(', '.join(names), 60)}: {units.flop_rate(rate)}"}
        for rate, names in by_rate.items()
    ]  # fmt: skip
    start = math.sqrt(max(left, bottom / bandwidth) * max(peaks.values()) / bandwidth)
    found.append(
        {**common, "x": math.log10(start), "y": math.log10(start * bandwidth), "xanchor": "right",
         "yanchor": "bottom", "text": f"memory: {units.byte_rate(bandwidth)}"}
    )  # fmt: skip
    return found


def _axis(title: str, low: float, high: float) -> dict[str, Any]:
    return {
        "type": "log",
        "title": {"text": title},
        "range": [math.log10(low), math.log10(high)],
        "exponentformat": "SI extended",
        "dtick": 1,
        "zeroline": False,
    }
