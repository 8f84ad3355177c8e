"""A measurement as a terminal report: what was measured beside what was predicted, by model, trial, meter and module.

Takes the JSON dict of a measurement and nothing else; nothing from the model is read as markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from energy_opt import units
from energy_opt.report import text
from energy_opt.report.escape import plain
from energy_opt.report.measure_tables import joules, kinds, meters, modules, seconds, trials
from energy_opt.report.widgets import Name, columns

_QUIET = "dim"
_ROWS = 24
_BOUNDARY = {
    "board": "the accelerator board",
    "package": "the processor package",
    "system": "the whole system",
}


class Report:
    """The report of a measurement; `verbose` shows every module."""

    def __init__(
        self, found: Mapping[str, Any], *, verbose: bool = False, quiet: bool = False
    ) -> None:
        self.found, self.verbose, self.quiet = found, verbose, quiet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= 110
        yield headline(self.found)
        yield Text()
        yield totals(self.found)
        if not self.quiet:
            for part in (
                trials(self.found),
                meters(self.found),
                kinds(self.found),
                modules(self.found, None if self.verbose else _ROWS, wide=wide),
            ):
                if part is not None:
                    yield Text()
                    yield part
        yield Text()
        yield Group(*(line for line in small_print(self.found)))


def render(
    found: Mapping[str, Any], *, verbose: bool = False, quiet: bool = False
) -> RenderableType:
    """The report of a measurement's dict."""
    return Report(found, verbose=verbose, quiet=quiet)


def attach(kind: type) -> None:
    """Give Measurement `__rich__` and `_repr_html_`; see `report.display.attach`."""
    setattr(kind, "__rich__", lambda self: render(self.to_dict()))  # noqa: B010
    setattr(kind, "_repr_html_", lambda self: _html(self.to_dict()))  # noqa: B010


def headline(found: Mapping[str, Any]) -> RenderableType:
    """What ran, where, and at which sizes."""
    target, trace = found["target"], found.get("trace")
    label = plain(target.get("label") or target["name"], 80)
    if trace:
        title = Text.assemble(("trace ", ""), (label, "bold cyan"))
        if found["model"].get("source"):
            title.append(" beside ").append(text.model_name(found), "bold cyan")
    else:
        title = Text.assemble(
            (text.model_name(found), "bold cyan"),
            " measured on ",
            (label, "bold cyan"),
            f" ({plain(target['name'], 20)})",
        )
    lines: list[RenderableType] = [title]
    if settings := text.settings(found):
        lines.append(Text.assemble(("with ", _QUIET), ", ".join(settings)))
    facts = [f"runtime {plain(found['runtime'], 40)}"] if not trace else []
    facts += [
        f"{plain(name, 40)} {plain(_listed(target[name]), 60)}"
        for name in target
        if name not in _SAID
    ]
    if facts:
        lines.append(Text(" · ".join(facts), _QUIET))
    sizes = [
        f"{plain(name, 40)} = {plain(value, 40)}"
        for name, value in (found.get("dims") or {}).items()
    ]
    if sizes:
        lines.append(Text("  ".join(sizes[:8]), "bold"))
    return Group(*lines)


_SAID = ("name", "kind", "label")


def totals(found: Mapping[str, Any]) -> RenderableType:
    """One inference: measured, predicted, how far apart, and whether the predicted range holds the measurement."""
    mine, theirs = found["measured"], found.get("predicted") or {}
    verdict = found.get("comparison") or {}
    table = columns(
        Name.column("One inference"), "measured", "range", "predicted", "range", "error", "in range"
    )
    table.add_row(
        "latency", seconds(mine["latency_s"]), _ends(mine, "latency_s", "s"),
        *_predicted(theirs, verdict, "latency", "s"),
    )  # fmt: skip
    error = mine.get("relative_error")
    stated = f"± {units.share(error)}" if error is not None else ""
    said = "modelled" if mine.get("provenance") == "modelled" else ""
    table.add_row(
        f"energy{f' ({said})' if said else ''}", joules(mine["energy_j"]), stated,
        *_predicted(theirs, verdict, "energy", "J"),
    )  # fmt: skip
    if mine.get("power_w") is not None or theirs:
        power = units.power(mine["power_w"]) if mine.get("power_w") is not None else "unavailable"
        table.add_row(
            "mean power", power, "", units.power(theirs["power_w"]) if theirs else "", "", "", ""
        )
    return table


def small_print(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """How it was measured, what the joules cover, and every note."""
    mine, protocol, trace = found["measured"], found["protocol"], found.get("trace")
    lines = []
    if trace:
        lines += _trace_lines(trace)
    else:
        lines.append(
            f"Warm-up {protocol['warmup']}; then {units.number(protocol['seconds'])} s of calls, the median and the "
            f"central {units.share(protocol['interval_level'])} of them."
        )
    boundary = mine.get("boundary")
    if mine["energy_j"] is not None and boundary:
        how = f"metered by {plain(mine['meter'], 40)}"
        if mine.get("provenance") == "modelled":
            how = "modelled from how busy the processors were, not metered"
        covers = _BOUNDARY.get(boundary, plain(boundary, 40))
        lines.append(f"Energy: {how}; it covers {covers}.")
    elif mine.get("reason"):
        lines.append(f"Energy is unavailable: {plain(mine['reason'], 300)}.")
    predicted, verdict = found.get("predicted"), found.get("comparison") or {}
    if predicted:
        lines.append(
            f"Predicted for {plain(predicted['label'], 80)} under {plain(predicted['runtime'], 20)}; latency from "
            f"{plain(predicted['provenance'], 20)} coefficients, energy {plain(predicted['energy_provenance'], 20)}."
        )
    if verdict.get("same_boundary") is False and predicted:
        theirs = _BOUNDARY.get(predicted["boundary"], plain(predicted["boundary"], 40))
        lines.append(f"The prediction's joules cover {theirs}, so the two are not the same thing.")
    for line in lines:
        yield Text(line, _QUIET)
    if found.get("interrupted"):
        yield Text(
            f"Interrupted: {plain(found['interrupted'], 120)}; what was measured before is shown.",
            "yellow",
        )
    for note in found.get("notes") or ():
        yield Padding(
            Text.assemble(("Note: ", "yellow"), (plain(note, 400), _QUIET)),
            (0, 0, 0, 2),
            expand=False,
        )


def _trace_lines(trace: Mapping[str, Any]) -> list[str]:
    mapped = trace["mapped_share"]
    lines = [
        f"{trace['iterations']} inferences; each took {units.time(trace['wall_s'])}, the profiler's own time included, "
        f"of which {units.time(trace['device_s'])} in "
        + ("kernels." if trace["device"] == "cuda" else "operators.")
    ]
    if mapped is not None:
        lost = 1 - mapped
        names = ", ".join(plain(row["name"], 50) for row in trace["unmapped"][:3])
        more = trace["unmapped_names"] - 3
        lines.append(
            f"{units.share(mapped)} of the time is mapped to operators"
            + (
                f"; no operator owns {names}{f' and {more} more' if more > 0 else ''} ({units.share(lost)})."
                if lost > 0
                else "."
            )
        )
    how = {
        "scopes": "by the module calls in the trace",
        "order": "by the order of the operators",
    }.get(trace["modules_by"])
    if how and trace.get("module_share") is not None:
        lines.append(f"{units.share(trace['module_share'])} of it is mapped to modules, {how}.")
    return lines


def _predicted(
    theirs: Mapping[str, Any], verdict: Mapping[str, Any], quantity: str, unit: str
) -> list[RenderableType]:
    name = f"{quantity}_{'s' if unit == 's' else 'j'}"
    if not theirs:
        return ["", "", "", ""]
    inside = verdict.get(f"{quantity}_inside")
    answer = (
        Text("", _QUIET)
        if inside is None
        else Text("yes", "green")
        if inside
        else Text("no", "yellow")
    )
    value = units.time(theirs[name]) if unit == "s" else units.energy(theirs[name])
    return [
        value,
        _ends(theirs, name, unit),
        units.signed(verdict.get(f"{quantity}_error")),
        answer,
    ]


def _ends(values: Mapping[str, Any], name: str, unit: str) -> str:
    return units.bounds(values.get(name), values.get(f"{name}_interval"), unit)


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _html(found: Mapping[str, Any]) -> str:
    from energy_opt.report import html, measure_html

    return html.fragment(measure_html.body(found))
