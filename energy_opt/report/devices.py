"""Device profiles as terminal tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Column, Table
from rich.text import Text

from energy_opt import units
from energy_opt.report.escape import plain
from energy_opt.report.fits import name_of
from energy_opt.report.widgets import Name, columns

_NUMBERS = ("float32", "float16", "GB/s", "W", "latency", "energy")


def table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """All devices, one per line."""
    return _Table(rows)


class _Table:
    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= 110
        shown = columns(Name.column("name"), *([Name.column("device")] if wide else []), *_NUMBERS)
        for row in self.rows:
            peaks = row.get("peaks") or {}
            half = peaks.get("float16") or peaks.get("bfloat16")
            # Never shortened: it is what the user has to type.
            cells: list[RenderableType] = [Text(plain(row.get("name"), 60), "bold", no_wrap=True)]
            if wide:
                cells.append(Name(plain(row.get("label"), 60)))
            cells += [_scaled(peaks.get("float32"), 1e12), _scaled(half, 1e12)]
            cells += [_scaled(row.get("mem_bw_bytes_per_s"), 1e9), _scaled(row.get("tdp_w"), 1.0)]
            cells.append(plain(row.get("provenance"), 12))
            cells.append(plain(row.get("energy_provenance"), 12))
            shown.add_row(*cells)
        yield shown
        yield Text()
        yield Text(
            "float32 and float16: peaks in TFLOP/s (bfloat16 where there is no float16); GB/s: memory bandwidth; "
            "W: the power cap. Latency and energy say where their coefficients come from: measured on that device, "
            "fitted to published measurements, modelled from power facts, or the datasheet alone. "
            "`energy-opt devices NAME` shows a device's sources and what is unverified.",
            "dim",
        )


def one(device: Mapping[str, Any], *, verbose: bool = False) -> RenderableType:
    """One device: its facts, what was fitted and how far off it was, its coefficients, sources, what is unverified.

    `verbose` adds the coefficients of single operators and the regressions' summaries.
    """
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    for name, value in [*_facts(device), *_made(device.get("calibration") or {})]:
        facts.add_row(name, value)
    fits = list(device.get("fits") or ())
    parts: list[RenderableType] = [_title(device), facts, *_fitted(fits, verbose)]
    if fits:
        parts += [Text(), Text("Where each kind and type comes from", "bold"), *_coverage(device)]
    parts += _priors(device, fits)
    for heading, key, style in (
        ("Unverified", "unverified", "yellow"),
        ("Notes", "notes", ""),
        ("Sources", "sources", "dim"),
    ):
        lines = [plain(line) for line in device.get(key) or ()]
        if lines:
            parts += [Text(), Text(heading, "bold"), *(_bullet(line, style) for line in lines)]
    return Group(*parts)


def _facts(device: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("kind", plain(device.get("kind"))),
        *(
            (f"peak {plain(n, 20)}", units.flop_rate(rate))
            for n, rate in (device.get("peaks") or {}).items()
        ),
        ("vector units", units.flop_rate(device.get("vector_flops_per_s"))),
        ("memory bandwidth", units.byte_rate(device.get("mem_bw_bytes_per_s"))),
        ("memory", units.nbytes(device.get("memory_bytes"))),
        ("power cap", units.power(device.get("tdp_w"))),
        ("idle power", units.power(device.get("idle_w"))),
        ("latency from", plain(device.get("provenance"))),
        ("energy from", plain(device.get("energy_provenance"))),
        ("energy covers", f"the {plain(device.get('boundary'))}"),
    ]


def _made(how: Mapping[str, Any]) -> list[tuple[str, str]]:
    """When and with what a profile was calibrated: what is known of it."""
    clocks = [
        f"{plain(n, 20)} {units.si(hz, 'Hz')}" for n, hz in (how.get("clocks_hz") or {}).items()
    ]
    libraries = [f"{plain(n, 30)} {plain(v, 30)}" for n, v in (how.get("libraries") or {}).items()]
    took, budget = how.get("took_s"), how.get("budget_s")
    shown = [
        ("calibrated", plain(how.get("date") or "", 40)),
        ("on", plain(how.get("host") or "", 60)),
        ("driver", plain(how.get("driver") or "", 60)),
        ("libraries", ", ".join(libraries)),
        ("clocks", ", ".join(clocks)),
        ("power limit", units.power(how["power_limit_w"]) if how.get("power_limit_w") else ""),
        ("meter", plain(how.get("meter") or "", 60)),
        ("points", f"{how['points']:,}" if how.get("points") else ""),
        (
            "took",
            units.time(took) + (f" of {units.time(budget)}" if budget else "") if took else "",
        ),
        ("for the models", plain(", ".join(how.get("models") or ()), 200)),
        ("samples", plain(how.get("samples") or "", 120)),
        ("cut short", "yes: kinds below may be thin or missing" if how.get("partial") else ""),
        ("thin", plain(", ".join(how.get("thin") or ()), 300)),
    ]
    return [(name, value) for name, value in shown if value]


def errors(fits: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line per fit: what it serves, how far off it was on shapes that were left out, from how many points."""
    return _Errors(fits)


class _Errors:
    def __init__(self, fits: Sequence[Mapping[str, Any]]) -> None:
        self.fits = fits

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= 110
        more = ("bias", "shapes", Name.column("form"), Name.column("runtime")) if wide else ()
        shown = columns(Name.column("kind"), "type", "of", "from", "error", "P90", "points", *more)
        for row in self.fits:
            # The operator is what tells lines apart, so the kind gives way first.
            cells: list[RenderableType] = [Text(plain(name_of(row), 34), no_wrap=True)]
            cells += [plain(row["dtype"], 12), plain(row["quantity"]), plain(row["basis"], 12)]
            cells += [units.share(row["mape"]), units.share(row["p90"]), f"{row['points']:,}"]
            if wide:
                cells += [
                    units.signed(row["bias"], 1),
                    f"{row['groups']:,}",
                    plain(row["form"], 20),
                ]
                cells.append(plain(row.get("runtime") or "any", 12))
            shown.add_row(*cells)
        yield shown


def _fitted(fits: Sequence[Mapping[str, Any]], verbose: bool) -> list[RenderableType]:
    if not fits:
        return []
    parts: list[RenderableType] = [
        Text(),
        Text("Fits, and their errors on shapes left out", "bold"),
        errors(fits),
    ]
    told = [row for row in fits if verbose or not row.get("op")]
    shown = columns(
        Name.column("kind"), Name.column("type"), Name.column("of"), Column("coefficients")
    )
    for row in told or fits:
        given = [
            f"{plain(c['name'])} {plain(c['text'])}" for c in row["coefficients"] if c["settled"]
        ]
        shown.add_row(
            plain(name_of(row), 40),
            plain(row["dtype"], 12),
            plain(row["quantity"]),
            ", ".join(given),
        )
    parts += [Text(), Text("Coefficients", "bold"), shown]
    if len(told) < len(fits):
        parts.append(
            Text(f"and of {len(fits) - len(told)} single operators: --verbose shows them", "dim")
        )
    meanings = {
        c["name"]: c["meaning"] for row in told or fits for c in row["coefficients"] if c["settled"]
    }
    parts.append(Text("; ".join(f"{name}: {text}" for name, text in meanings.items()), "dim"))
    if verbose:
        parts += [Text("\n" + plain_lines(row["summary"]), "dim") for row in fits if row["summary"]]
    return parts


def plain_lines(text: str) -> str:
    """Text of several lines, each made plain."""
    return "\n".join(plain(line, 160) for line in text.splitlines())


def _coverage(device: Mapping[str, Any]) -> list[RenderableType]:
    cells = {(row["kind"], row["dtype"]): row for row in device.get("coverage") or ()}
    kinds = list(dict.fromkeys(kind for kind, _ in cells))
    dtypes = list(dict.fromkeys(dtype for _, dtype in cells))
    shown = columns(Name.column("kind"), *(Name.column(dtype) for dtype in dtypes))
    for kind in kinds:
        found = [cells[kind, dtype] for dtype in dtypes]
        # Latency, then energy where it is from elsewhere: most of the time both say the same.
        shown.add_row(plain(kind, 20), *(f"{c['latency']}, {c['energy']}" for c in found))
    legend = "latency, energy; kinds that are not named: the datasheet's peaks and the power model"
    return [shown, Text(legend, "dim")]


def _priors(device: Mapping[str, Any], fits: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """The power model, and without any fit the shares of peaks, which price what was never measured."""
    parts: list[RenderableType] = []
    power = device.get("power_model") or {}
    if power:
        flops = power.get("flop_j") or {}
        told = [
            f"base {units.power(power.get('base_w'))}", f"cap {units.power(power.get('cap_w'))}",
            *(f"{plain(dtype, 20)} {units.si(joules, 'J/FLOP')}" for dtype, joules in flops.items()),
            f"other arithmetic {units.si(power.get('vector_flop_j'), 'J/FLOP')}",
            f"traffic {units.si(power.get('byte_j'), 'J/byte')}",
            f"a kernel's start {units.energy(power.get('start_j'))}",
        ]  # fmt: skip
        where = (
            "where energy was not measured"
            if any(r["quantity"] == "energy" for r in fits)
            else "of all kinds"
        )
        parts += [
            Text(), Text(f"Power model, {where} ({plain(power.get('provenance'))})", "bold"), Text(", ".join(told)),
        ]  # fmt: skip
    if not fits and device.get("shares"):
        shown = columns(
            Name.column("kind"),
            "vector products",
            "engine",
            "narrow",
            "other",
            "bandwidth",
            "start",
        )
        for kind, share in device["shares"].items():
            cells = [
                units.share(share[n]) for n in ("compute", "tensor", "narrow", "vector", "memory")
            ]
            shown.add_row(plain(kind, 20), *cells, units.time(share["start_s"]))
        parts += [
            Text(),
            Text("Shares of the datasheet's peaks that each kind is taken to reach", "bold"),
            shown,
        ]
    return parts


def _title(device: Mapping[str, Any]) -> Text:
    return Text.assemble((plain(device.get("name")), "bold cyan"), "  ", plain(device.get("label")))


def _bullet(line: str, style: str) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_row("  -", Text(line, style))
    return grid


def _scaled(value: float | None, scale: float) -> str:
    return "" if value is None else units.number(value / scale)
