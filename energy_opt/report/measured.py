"""Measured against predicted times of a profile's samples, as one HTML file that works offline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from energy_opt import units
from energy_opt.calibrate.samples import Array, Samples
from energy_opt.errors import CalibrationError
from energy_opt.estimators.device import Device
from energy_opt.estimators.fitted import Fitted
from energy_opt.estimators.forms import FORMS
from energy_opt.estimators.lookup import serving
from energy_opt.estimators.regimes import regime_of
from energy_opt.ir.row import Row
from energy_opt.report.escape import html_text
from energy_opt.report.html import document

_MOST = 1500
"""Points drawn of one operator: more make a page slow and a cloud no clearer."""

_PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1", "#B8A500", "#7FB3D5", "#8FBC8F",
)  # fmt: skip
_GRID = "display:grid;grid-template-columns:repeat(auto-fit,minmax(430px,1fr));gap:20px"


def predicted(device: Device, samples: Samples) -> Array | None:
    """Seconds of every execution by the fits that serve it; None where none does."""
    row = Row(
        samples.kind, samples.op, samples.dtype, int(np.max(samples.work.matmul_flops) > 0), 0, 0, 0, 0, (),
        samples.kernels, True, 1, (),
    )  # fmt: skip
    fits = serving(device, row, samples.runtime, "time")
    if not fits:
        return None
    regime = np.broadcast_to(regime_of(samples.kind, samples.work.sizes), len(samples))
    seconds = _seconds(device, fits[0], samples)
    for fitted in fits[1:]:
        seconds = np.where(regime == fitted.regime, _seconds(device, fitted, samples), seconds)
    return seconds


def _seconds(device: Device, fitted: Fitted, samples: Samples) -> Array:
    assert fitted.time is not None
    parts = FORMS[fitted.time.form].parts(samples.work, device.chip(samples.dtype), fitted.time.at)
    return np.asarray(np.broadcast_to(parts.total_s, len(samples)), dtype=np.float64)


def render(device: Device, samples: Sequence[Samples]) -> str:
    """The page: a figure per kind and type, a colour per operator, a point per execution.

    Raises:
        CalibrationError: the profile has no fit for any of the samples.
    """
    kinds: dict[tuple[str, str], list[tuple[Samples, Array]]] = {}
    left_out: list[str] = []
    for part in samples:
        seconds = predicted(device, part) if part.kernels else None
        if seconds is None:
            left_out.append(f"{part.op or part.kind} {part.dtype} ({len(part):,})")
        else:
            kinds.setdefault((part.kind, part.dtype), []).append((part, seconds))
    if not kinds:
        raise CalibrationError(
            f"{device.name} has no fits for what the samples are of: {', '.join(left_out)}"[:400]
        )
    figures = {f"f{index}": _figure(parts) for index, parts in enumerate(kinds.values())}
    cards = "".join(
        _card(f"f{index}", kind, dtype, parts, device)
        for index, ((kind, dtype), parts) in enumerate(kinds.items())
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
        "that of the kind's fit on shapes that it had not seen.</p>"
        f'{none}<div style="{_GRID}">{cards}</div>'
    )
    return document(f"{device.name}: measured against predicted", body, figures)


def _card(
    name: str, kind: str, dtype: str, parts: Sequence[tuple[Samples, Array]], device: Device
) -> str:
    off = np.concatenate([np.abs(seconds / part.latency_s - 1) for part, seconds in parts])
    whole = [
        f.time.errors.mape
        for f in device.fits
        if (f.kind, f.dtype, f.op) == (kind, dtype, "") and f.time
    ]
    unseen = f" ({units.share(whole[0])} on shapes left out)" if len(whole) == 1 else ""
    told = f"{len(off):,} executions, mean error {units.share(float(np.mean(off)))}{unseen}"
    return (
        f"<section><h2>{html_text(kind)} {html_text(dtype)}</h2><p class=quiet>{told}</p>"
        f'<div id="{name}" style="height:420px"></div></section>'
    )


def _figure(parts: Sequence[tuple[Samples, Array]]) -> dict[str, Any]:
    times = np.concatenate([np.concatenate([part.latency_s, seconds]) for part, seconds in parts])
    low, high = float(np.min(times)) / 1.3, float(np.max(times)) * 1.3
    lines = [
        _line(low, high, 1.0, "solid"), _line(low, high, 1.2, "dot"), _line(low, high, 1 / 1.2, "dot"),
    ]  # fmt: skip
    clouds = [
        _cloud(part, seconds, _PALETTE[index % len(_PALETTE)])
        for index, (part, seconds) in enumerate(parts)
    ]
    axis = {
        "type": "log",
        "range": [float(np.log10(low)), float(np.log10(high))],
        **_ticks(low, high),
    }
    return {
        "data": [*lines, *clouds],
        "layout": {
            "xaxis": {**axis, "title": {"text": "measured"}},
            "yaxis": {**axis, "title": {"text": "predicted"}},
            "margin": {"l": 70, "r": 10, "t": 10, "b": 50},
            "legend": {"orientation": "h", "y": -0.18},
            "hovermode": "closest",
        },
    }


def _ticks(low: float, high: float) -> dict[str, Any]:
    """Ticks at powers of ten, and at 2 and 5 times those where there is room."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    values = [step * 10.0**decade for decade in decades for step in steps]
    return {
        "tickmode": "array",
        "tickvals": values,
        "ticktext": [units.si(value, "s", 1) for value in values],
    }


def _line(low: float, high: float, factor: float, dash: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "x": [low, high], "y": [low * factor, high * factor], "hoverinfo": "skip",
        "showlegend": False, "line": {"color": "#8a97a6", "width": 1, "dash": dash},
    }  # fmt: skip


def _cloud(part: Samples, seconds: Array, colour: str) -> dict[str, Any]:
    chosen = np.arange(len(part))
    if len(part) > _MOST:
        chosen = np.sort(np.random.default_rng(0).choice(len(part), _MOST, replace=False))
    return {
        "type": "scattergl" if len(chosen) > 4000 else "scatter",
        "mode": "markers",
        "name": html_text(part.op or part.kind, 40),
        "x": [float(f"{value:.4g}") for value in part.latency_s[chosen]],
        "y": [float(f"{value:.4g}") for value in seconds[chosen]],
        "text": [_hover(part, int(place), float(seconds[place])) for place in chosen],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": colour, "size": 5, "opacity": 0.55},
    }


def _hover(part: Samples, place: int, seconds: float) -> str:
    def at(value: Any) -> float:
        return float(value[place]) if isinstance(value, np.ndarray) else float(value)

    work, sizes = part.work, _sizes({n: at(v) for n, v in part.work.sizes.items()})
    measured_s = float(part.latency_s[place])
    return "<br>".join(
        [
            f"{html_text(part.op or part.kind, 40)} {html_text(part.dtype)} {sizes}".strip(),
            f"measured {units.time(measured_s)}, predicted {units.time(seconds)} "
            f"({100 * (seconds / measured_s - 1):+.0f} %)",
            f"{units.flop(at(work.matmul_flops) + at(work.other_flops))}, {units.nbytes(at(work.bytes))}",
        ]
    )


def _sizes(sizes: Mapping[str, float]) -> str:
    return ", ".join(
        f"{re.sub('[^a-z0-9_]', '', name)} {value:.6g}" for name, value in sizes.items()
    )
