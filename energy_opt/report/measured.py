"""Measured against predicted times and energies of a profile's samples, as one HTML file that works offline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from energy_opt import units
from energy_opt.calibrate.samples import Samples
from energy_opt.errors import CalibrationError
from energy_opt.estimators.device import Device
from energy_opt.report.escape import html_text
from energy_opt.report.html import document
from energy_opt.report.predicted import Compared, energies, latencies

_MOST = 1500
"""Points drawn of one operator: more make a page slow and a cloud no clearer."""

_PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1", "#B8A500", "#7FB3D5", "#8FBC8F",
)  # fmt: skip
_GRID = "display:grid;grid-template-columns:repeat(auto-fit,minmax(430px,1fr));gap:20px"


def render(device: Device, samples: Sequence[Samples]) -> str:
    """The page: a figure per kind and type, a colour per operator, a point per execution.

    Raises:
        CalibrationError: the profile has no fit for any of the samples.
    """
    kinds: dict[tuple[str, str, str], list[Compared]] = {}
    left_out: list[str] = []
    for part in (part for part in samples if part.kernels):
        times = latencies(device, part)
        if times is None:
            left_out.append(f"{part.op or part.kind} {part.dtype} ({len(part):,})")
        for compared in (times, energies(device, part)):
            if compared is not None:
                kinds.setdefault((part.kind, part.dtype, compared.unit), []).append(compared)
    if not kinds:
        raise CalibrationError(
            f"{device.name} has no fits for what the samples are of: {', '.join(left_out)}"[:400]
        )
    figures = {f"f{index}": _figure(parts) for index, parts in enumerate(kinds.values())}
    cards = "".join(
        _card(f"f{index}", kind, dtype, parts, device)
        for index, ((kind, dtype, _), parts) in enumerate(kinds.items())
    )
    none = (
        f"<p class=quiet>No fit serves {html_text(', '.join(left_out), 600)}.</p>"
        if left_out
        else ""
    )
    body = (
        f"<h1>{html_text(device.name)} <span>{html_text(device.label)}</span></h1>"
        "<p class=quiet>Each dot is a measured execution; on the line, the prediction is right, between the dotted "
        "lines it is within 20 %. The fits have seen these samples, or some of them; the error in brackets is "
        "that of the kind's fit on shapes that it had not seen. Energies are of predicted times, those in "
        "brackets of measured ones.</p>"
        f'{none}<div style="{_GRID}">{cards}</div>'
    )
    return document(f"{device.name}: measured against predicted", body, figures)


def _card(name: str, kind: str, dtype: str, parts: Sequence[Compared], device: Device) -> str:
    off = np.concatenate([np.abs(part.errors) for part in parts])
    part_of = "time" if parts[0].unit == "s" else "energy"
    whole = [
        made.errors.mape
        for f in device.fits
        if (f.kind, f.dtype, f.op) == (kind, dtype, "") and (made := getattr(f, part_of))
    ]
    unseen = f" ({units.share(whole[0])} on shapes left out)" if len(whole) == 1 else ""
    told = f"{len(off):,} executions, mean error {units.share(float(np.mean(off)))}{unseen}"
    title = f"{html_text(kind)} {html_text(dtype)}: {'latency' if part_of == 'time' else 'energy'}"
    return (
        f"<section><h2>{title}</h2><p class=quiet>{told}</p>"
        f'<div id="{name}" style="height:420px"></div></section>'
    )


def _figure(parts: Sequence[Compared]) -> dict[str, Any]:
    values = np.concatenate([np.concatenate([part.measured, part.predicted]) for part in parts])
    low, high = float(np.min(values)) / 1.3, float(np.max(values)) * 1.3
    lines = [
        _line(low, high, 1.0, "solid"), _line(low, high, 1.2, "dot"), _line(low, high, 1 / 1.2, "dot"),
    ]  # fmt: skip
    clouds = [_cloud(part, _PALETTE[index % len(_PALETTE)]) for index, part in enumerate(parts)]
    axis = {
        "type": "log",
        "range": [float(np.log10(low)), float(np.log10(high))],
        **_ticks(low, high, parts[0].unit),
    }
    return {
        "data": [*lines, *clouds],
        "layout": {
            "xaxis": {**axis, "title": {"text": "measured"}},
            "yaxis": {**axis, "title": {"text": "predicted"}},
            "margin": {"l": 70, "r": 10, "t": 10, "b": 50},
            "legend": {"x": 0.02, "y": 0.98, "font": {"size": 11}, "bgcolor": "rgba(0,0,0,0)"},
            "hovermode": "closest",
        },
    }


def _ticks(low: float, high: float, unit: str) -> dict[str, Any]:
    """Ticks at powers of ten, and at 2 and 5 times those where there is room."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    values = [step * 10.0**decade for decade in decades for step in steps]
    return {
        "tickmode": "array",
        "tickvals": values,
        "ticktext": [units.si(value, unit, 1) for value in values],
    }


def _line(low: float, high: float, factor: float, dash: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "x": [low, high], "y": [low * factor, high * factor], "hoverinfo": "skip",
        "showlegend": False, "line": {"color": "#8a97a6", "width": 1, "dash": dash},
    }  # fmt: skip


def _cloud(part: Compared, colour: str) -> dict[str, Any]:
    size = len(part.samples)
    chosen = np.arange(size)
    if size > _MOST:
        chosen = np.sort(np.random.default_rng(0).choice(size, _MOST, replace=False))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": html_text(part.samples.op or part.samples.kind, 40),
        "x": [float(f"{value:.4g}") for value in part.measured[chosen]],
        "y": [float(f"{value:.4g}") for value in part.predicted[chosen]],
        "text": [_hover(part, int(place)) for place in chosen],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": colour, "size": 5, "opacity": 0.55},
    }


def _hover(part: Compared, place: int) -> str:
    def at(value: Any) -> float:
        return float(value[place]) if isinstance(value, np.ndarray) else float(value)

    samples, work = part.samples, part.samples.work
    measured, predicted = (
        units.si(at(value), part.unit) for value in (part.measured, part.predicted)
    )
    return "<br>".join(
        [
            f"{html_text(samples.op or samples.kind, 40)} {html_text(samples.dtype)} "
            + _sizes({name: at(value) for name, value in work.sizes.items()}),
            f"measured {measured}, predicted {predicted} ({units.signed(at(part.errors))})",
            f"{units.flop(at(work.matmul_flops) + at(work.other_flops))}, {units.nbytes(at(work.bytes))}",
        ]
    )


def _sizes(sizes: Mapping[str, float]) -> str:
    return ", ".join(
        f"{re.sub('[^a-z0-9_]', '', name)} {value:.6g}" for name, value in sizes.items()
    )
