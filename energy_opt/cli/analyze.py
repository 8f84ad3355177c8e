"""`energy-opt analyze`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from energy_opt import arguments, shell
from energy_opt.cli.app import Format, app
from energy_opt.errors import UsageError
from energy_opt.studies import DEFAULT_DEVICE


@app.command(
    epilog="Example: energy-opt analyze bert.onnx --device a100-sxm4-40gb --dim batch=8 --dim seq=128"
)
def analyze(
    model: Annotated[
        str,
        typer.Argument(
            show_default=False,
            help="An .onnx file; a transformers config.json, or a directory that holds one; hf:NAME for an "
            "architecture's defaults (hf:bert, hf:llama); or python:package.module:callable, which returns a module "
            "and example inputs. Weights are not needed.",
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", show_default=False,
            help="Change a setting of the config, such as num_hidden_layers=8; repeat for more.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", "-d", metavar="NAME|FILE.json", show_default=False,
            help=f"The device to predict for; `energy-opt devices` lists them. Assumed if not given: {DEFAULT_DEVICE}.",
        ),
    ] = None,
    dim: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=INT", show_default=False, help="Size of a free dimension; repeat for more."),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(metavar="eager|graph|onnxruntime", show_default=False, help="What runs it; a file: onnxruntime."),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="as-is|fp16|bf16", help="What if it computed in another type.")
    ] = "as-is",
    format: Annotated[Format, typer.Option(help="How to write the answer to stdout.")] = Format.table,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Also write a page that works offline.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if any op has no rule of its own.")] = False,
    depth: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="Levels of the module tree to show.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(show_default=False, help="Also give kWh, CO2e and money in this region.")
    ] = None,
    requests: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="How many inferences those are for.")
    ] = None,
    pue: Annotated[
        float | None, typer.Option(min=1.0, show_default=False, help="Power usage effectiveness of the data centre.")
    ] = None,
    cross_check: Annotated[
        bool, typer.Option("--cross-check", help="Also count FLOPs with fvcore and FlopCounterMode, op by op.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the totals and what they rest on.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every module and more ops; tracebacks.")] = False,
) -> None:  # fmt: skip
    """What one inference costs in time and energy, where it goes, and what would help."""
    dims = arguments.dims(dim or [])
    changed = arguments.settings(settings or [])
    import energy_opt as eo

    if cross_check and format is Format.csv:
        raise UsageError("--cross-check is a table of its own: use --format table or json")
    estimate = eo.analyze(
        model,
        settings=changed or None,
        device=device if device is not None else DEFAULT_DEVICE,
        runtime=runtime,
        precision=precision,
        strict=strict,
        dims=dims,
    )
    answer: dict[str, Any] = estimate.to_dict()
    answer["device"]["assumed"] = device is None
    if region is not None or requests is not None or pue is not None:
        answer["footprint"] = estimate.footprint(region or "world", requests or 1, pue)
    if cross_check:
        answer["cross_check"] = eo.cross_check(model, settings=changed, dims=dims).to_dict()
    if html is not None:
        from energy_opt.files import write_whole
        from energy_opt.report import html as page

        write_whole(html, page.render(answer).encode())
    _write_analysis(answer, format, depth, quiet, verbose)
    if not quiet:
        _remarks(answer, html, in_table=format is Format.table)


def _write_analysis(
    answer: dict[str, Any], format: Format, depth: int | None, quiet: bool, verbose: bool
) -> None:
    if format is Format.json:
        from energy_opt.report import json as text

        shell.answer(text.render(answer))
    elif format is Format.csv:
        from energy_opt.report import csv

        shell.answer(csv.render(answer))
    else:
        from energy_opt.report import console

        shell.show(console.render(answer, depth=depth, verbose=verbose, quiet=quiet))


def _remarks(answer: dict[str, Any], html: Path | None, *, in_table: bool) -> None:
    """On stderr: what the chosen format does not say itself, but the reader has to know."""
    from energy_opt.report import text

    if not in_table:
        for line in text.assumptions(answer):
            shell.say(f"note: {line}")
        full, coverage = text.coverage(answer)
        if not full:
            shell.say(f"note: {coverage}")
    if html is not None:
        shell.say(f"wrote {html}")
