"""An analysis as a terminal report. Nothing from the model is read as markup: all of it goes through `plain`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from energy_opt import units
from energy_opt.report import crosscheck, outline, text
from energy_opt.report.escape import plain, shorten
from energy_opt.report.tree import group_ops, op_label, tree
from energy_opt.report.widgets import Bar, Name, columns

_BOUND_STYLE = {"compute": "magenta", "memory": "blue", "launch": "yellow"}
_WORD = re.compile(r"[A-Za-z_]\w*")
_HEADING = "bold"
_QUIET = "dim"
_MAX_DIMS = 8
_LONGEST_COMMAND = 2000  # what is cut cannot be run


def render(
    analysis: Mapping[str, Any],
    *,
    depth: int | None = None,
    verbose: bool = False,
    quiet: bool = False,
) -> RenderableType:
    """The whole report, laid out for the terminal's width.

    `depth` limits the module tree, which else opens its costliest parts until the page is full; `verbose` shows every
    module and more ops, `quiet` the totals and what they rest on.
    """
    return _Report(analysis, depth, verbose, quiet)


class _Report:
    """Chooses columns when the width is known."""

    def __init__(
        self, analysis: Mapping[str, Any], depth: int | None, verbose: bool, quiet: bool
    ) -> None:
        self.analysis, self.depth, self.verbose, self.quiet = analysis, depth, verbose, quiet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        analysis, wide = self.analysis, options.max_width >= 110
        yield headline(analysis)
        yield Text()
        yield totals(analysis)
        bill = footprint(analysis)
        if bill is not None:
            yield Text()
            yield bill
        if not self.quiet:
            yield from self._details(wide)
        if "cross_check" in analysis:
            yield Text()
            yield crosscheck.render(analysis["cross_check"])
        yield Text()
        yield small_print(analysis, notes=not self.quiet)

    def _details(self, wide: bool) -> Iterator[RenderableType]:
        for part in (
            formulas(self.analysis),
            modules(self.analysis, depth=self.depth, verbose=self.verbose, wide=wide),
            kinds(self.analysis, wide=wide),
            expensive_ops(self.analysis, wide=wide, rows=20 if self.verbose else 5),
            next_steps(self.analysis),
        ):
            if part is not None:
                yield Text()
                yield part


def headline(analysis: Mapping[str, Any]) -> RenderableType:
    """Model, device, runtime, and the dims with those that nobody chose marked."""
    device = analysis.get("device") or {}
    title = Text.assemble(
        (text.model_name(analysis), "bold cyan"), " on ", (text.device_name(analysis), "bold cyan")
    )
    if device.get("assumed"):
        title.append("  (assumed: no --device was given)", "yellow")
    changed = text.settings(analysis)
    facts = [f"runtime {plain(analysis.get('runtime') or 'unknown', 40)}"]
    facts.append(f"precision {plain(analysis.get('precision') or 'as-is', 40)}")
    line = Text(" · ".join(facts), _QUIET)
    sizes = Text()
    known = text.dims(analysis)
    for name, value, defaulted in known[:_MAX_DIMS]:
        sizes.append("  " if sizes else "")
        sizes.append(f"{name} = {value}", "bold")
        if defaulted:
            sizes.append(" (not given)", "yellow")
    if len(known) > _MAX_DIMS:
        sizes.append(f"  and {len(known) - _MAX_DIMS} more", _QUIET)
    lines: list[RenderableType] = [title]
    if changed:
        lines.append(Text.assemble(("with ", _QUIET), ", ".join(changed)))
    lines.append(line)
    if sizes:
        lines.append(sizes)
    return Group(*lines)


def totals(analysis: Mapping[str, Any]) -> RenderableType:
    """One inference in numbers a person reads, each with its interval."""
    found = analysis.get("totals") or {}
    table = _facts()
    latency, energy = found.get("latency_s"), found.get("energy_j")
    shown, ends = _predicted(latency, found.get("latency_s_interval"), "s")
    table.add_row("latency", shown, f"{ends} ({text.level(analysis)} interval)" if ends else "")
    table.add_row("energy", *_predicted(energy, found.get("energy_j_interval"), "J"))
    tdp = (analysis.get("device") or {}).get("tdp_w")
    power = Text(units.power(found.get("power_w")), "bold")
    table.add_row("mean power", power, f"of {units.power(tdp)} at most" if tdp else "")
    for label, each_j in text.per_item(analysis):
        table.add_row(label, units.energy(each_j), "")
    matmul, other = found.get("matmul_flops"), found.get("other_flops")
    table.add_row("compute", units.macs(found.get("macs")), _flops(matmul, other))
    moved = (found.get("bytes_read") or 0) + (found.get("bytes_written") or 0)
    table.add_row("memory traffic", units.nbytes(moved), "")
    weights = units.nbytes(found.get("weight_bytes"))
    table.add_row("parameters", units.count(found.get("parameters")), f"{weights} of weights")
    if (peak := found.get("peak_activation_bytes")) is not None:
        total = units.nbytes(peak + (found.get("weight_bytes") or 0))
        table.add_row("peak activations", units.nbytes(peak), f"{total} with the weights")
    return _section("One inference", table)


def formulas(analysis: Mapping[str, Any]) -> RenderableType | None:
    """The totals as formulas over the dims; None where every dim in them was given."""
    found = analysis.get("formulas") or {}
    words = set(_WORD.findall(" ".join(map(str, found.values()))))
    chosen = text.dims(analysis)
    if not any(defaulted and name in words for name, _, defaulted in chosen):
        return None
    free = [name for name, _, _ in chosen if name in words]
    # A size that decides which operators run, such as a batch of 1, is no variable of these formulas.
    fixed = [f"{name} = {size}" for name, size, _ in chosen if name not in words]
    condition = f", where {', '.join(fixed)}" if fixed else ""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style=_QUIET)
    table.add_column()
    for name, formula in found.items():
        table.add_row(name.replace("_", " "), plain(formula, 400))
    return _section(f"For any {', '.join(free)}{condition}", table)


def footprint(analysis: Mapping[str, Any]) -> RenderableType | None:
    """What serving costs in electricity, emissions and money; None unless asked for."""
    rows = text.footprint(analysis)
    if not rows:
        return None
    table = _facts()
    for row in rows:
        table.add_row(*row)
    return _section("In service", table)


def modules(
    analysis: Mapping[str, Any], *, depth: int | None, verbose: bool, wide: bool
) -> RenderableType | None:
    """The module tree by falling energy, with bars; None for a file that names no modules."""
    root = tree(analysis, fold=not verbose)
    total = root.energy_j
    if not root.children or total <= 0:
        return None
    table = columns(Name.column("module"), "energy", "share", "", "latency")
    if wide:
        table = columns(
            Name.column("module"),
            Name.column("type"),
            "energy",
            "share",
            "",
            "latency",
            "MACs",
            "params",
        )
    for node, prefix in outline.lines(root, total, depth, verbose):
        label = node.label + (f"  ({node.repeats}×)" if node.repeats > 1 else "")
        style = f"italic {_QUIET}" if node.own else ""
        shown = Name(plain(label), prefix, style=style)
        row: list[RenderableType] = [
            shown,
            units.energy(node.energy_j),
            units.share(node.energy_j / total),
        ]
        row += [
            Bar(node.energy_j / total, 24 if wide else 14),
            units.time(node.totals["latency_s"]),
        ]
        if wide:
            row.insert(1, Name(plain(node.type), style=_QUIET))
            row += [units.count(node.totals["macs"]), units.count(node.totals["parameters"])]
        table.add_row(*row)
    return _section("Where the energy goes: modules", table)


def kinds(analysis: Mapping[str, Any], *, wide: bool) -> RenderableType | None:
    """Energy by kind of op."""
    found = analysis.get("kinds") or ()
    total = sum(kind.get("energy_j") or 0.0 for kind in found)
    if not found or total <= 0:
        return None
    more = ("MACs", "traffic") if wide else ()
    table = columns(Name.column("kind"), "ops", "energy", "share", "", "latency", *more)
    for kind in found:
        part = (kind.get("energy_j") or 0.0) / total
        row: list[RenderableType] = [Name(plain(kind.get("kind"), 40)), f"{kind.get('ops') or 0:,}"]
        row += [
            units.energy(kind.get("energy_j")),
            units.share(part),
            Bar(part, 24 if wide else 14),
        ]
        row.append(units.time(kind.get("latency_s")))
        if wide:
            moved = (kind.get("bytes_read") or 0) + (kind.get("bytes_written") or 0)
            row += [units.count(kind.get("macs") or 0), units.nbytes(moved)]
        table.add_row(*row)
    return _section("By kind of operation", table)


def expensive_ops(analysis: Mapping[str, Any], *, wide: bool, rows: int) -> RenderableType | None:
    """The ops that cost most, and what bounds them."""
    total = (analysis.get("totals") or {}).get("energy_j") or 0.0
    groups = group_ops(analysis.get("ops") or ())[:rows]
    if not groups or total <= 0:
        return None
    table = columns(
        "op", Name.column("where"), "energy", "share", *(["latency"] if wide else []), "bound by"
    )
    for group in groups:
        op = shorten(plain(group.get("op")), 24 if wide else 14)
        where = plain(op_label(group, short=not wide) or group.get("name"), 400)
        if group["repeats"] > 1:
            op += f" {group['repeats']}×"
        bound = str(group.get("bound") or "unknown")
        row: list[RenderableType] = [Text(op), Name(where), units.energy(group.get("energy_j"))]
        row.append(units.share((group.get("energy_j") or 0.0) / total))
        if wide:
            row.append(units.time(group.get("latency_s")))
        table.add_row(*row, Text(plain(bound, 12), _BOUND_STYLE.get(bound, "")))
    lines: list[RenderableType] = [table]
    for bound in dict.fromkeys(str(group.get("bound")) for group in groups):
        if bound in text.BOUND_MEANING:
            meaning = (text.BOUND_MEANING[bound], _QUIET)
            lines.append(Text.assemble((f"{bound}: ", _BOUND_STYLE[bound]), meaning))
    return _section("Most expensive ops (equal ops counted together)", Group(*lines))


def next_steps(analysis: Mapping[str, Any]) -> RenderableType | None:
    """What would help, with the predicted saving."""
    steps = list(analysis.get("advice") or ())[:3]
    if not steps:
        return None
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="bold green")
    table.add_column()
    for position, step in enumerate(steps, 1):
        body = Text().append(text.sentence(step.get("title"), 200), "bold")
        if amount := text.saving(step):
            body.append(f"  {amount}", "green")
        if step.get("detail"):
            body.append("\n" + text.sentence(step["detail"], 600))
        if step.get("command"):
            body.append("\n" + plain(step["command"], _LONGEST_COMMAND), "cyan")
        table.add_row(f"{position}.", body)
    return _section("What would help", table)


def small_print(analysis: Mapping[str, Any], *, notes: bool = True) -> RenderableType:
    """Coverage, provenance and notes."""
    full, coverage = text.coverage(analysis)
    head = ("Coverage: ", "green" if full else "bold yellow")
    lines: list[RenderableType] = [
        Text.assemble(head, (coverage + ".", _QUIET if full else "yellow"))
    ]
    lines += [Text(line, _QUIET) for line in text.provenance(analysis)]
    lines += [_note(line) for line in text.assumptions(analysis)]
    if notes:
        for note in analysis.get("notes") or ():
            lines.append(_note(plain(note, 500)))
    return Group(*lines)


def _note(line: str) -> Text:
    return Text.assemble(("Note: ", "yellow"), (line, _QUIET))


def _facts() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style=_QUIET)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(style=_QUIET)
    return table


def _section(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(title, _HEADING), Padding(body, (0, 0, 0, 2), expand=False))


def _predicted(value: float | None, interval: Any, unit: str) -> tuple[RenderableType, str]:
    return Text(units.si(value, unit), "bold"), units.bounds(value, interval, unit)


def _flops(matmul: float | None, other: float | None) -> str:
    return f"{units.flop(matmul)} matmul, {units.flop(other)} other"
