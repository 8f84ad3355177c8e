"""`energy-opt strip` and `energy-opt doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energy_opt import shell
from energy_opt.cli.app import ShortFormat, app


@app.command()
def strip(
    model: Annotated[str, typer.Argument(help="An .onnx file.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="OUT", show_default=False, help="The file to write."
        ),
    ],
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks.")] = False,
) -> None:
    """Write the model's graph without its weights: small, and all that `analyze` needs."""
    from energy_opt import units
    from energy_opt.frontend.strip import strip as run

    done = run(model, output)
    sizes = f"{units.nbytes(done.source_bytes)} became {units.nbytes(done.target_bytes)}"
    shell.say(f"wrote {output}: {sizes}, {done.tensors} tensors left out")


@app.command()
def doctor(
    format: Annotated[
        ShortFormat, typer.Option(help="How to write the answer to stdout.")
    ] = ShortFormat.table,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks.")] = False,
) -> None:
    """What is installed, whether it fits together, and what to do where it does not."""
    from energy_opt import doctor as checks

    findings = checks.examine()
    if format is ShortFormat.json:
        from energy_opt.report import json as text

        rows = [finding.to_dict() for finding in findings]
        shell.answer(text.render({"schema": "energy-opt/doctor/1", "rows": rows}))
    else:
        from energy_opt.report import doctor as report

        shell.show(report.table([finding.to_dict() for finding in findings]))
    if any(finding.level == "broken" for finding in findings):
        raise typer.Exit(1)
