"""`energy-opt devices`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energy_opt import shell
from energy_opt.cli.app import ShortFormat, app
from energy_opt.errors import UsageError


@app.command()
def devices(
    name: Annotated[
        str | None,
        typer.Argument(help="One device, or a profile as FILE.json, with all that is in it.", show_default=False),
    ] = None,
    format: Annotated[ShortFormat, typer.Option(help="How to write the answer to stdout.")] = ShortFormat.table,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html", show_default=False, help="Also draw measured against predicted times of its samples."
        ),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", show_default=False, help="The samples to draw, where they do not lie beside the profile."
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Coefficients of every operator, regressions; tracebacks.")
    ] = False,
) -> None:  # fmt: skip
    """Which device profiles there are, how each was made, how far off it was, and what in it is unverified."""
    import energy_opt as eo
    from energy_opt.report import devices as report
    from energy_opt.report.fits import described, headline

    if name is None and (plot is not None or samples is not None):
        raise UsageError(
            "--plot and --samples are of one device: name it, or a profile's FILE.json"
        )
    if samples is not None and plot is None:
        raise UsageError("--samples FILE is what --plot FILE.html draws; give both")
    rows = (
        [headline(device) for device in eo.devices()]
        if name is None
        else [described(eo.Device.load(name))]
    )
    if plot is not None and name is not None:
        _draw(name, plot, samples)
    if format is ShortFormat.json:
        from energy_opt.report import json as text

        shell.answer(text.render({"schema": "energy-opt/devices/1", "rows": rows}))
    else:
        shell.show(report.table(rows) if name is None else report.one(rows[0], verbose=verbose))
    if plot is not None:
        shell.say(f"wrote {plot}")


def _draw(name: str, plot: Path, samples: Path | None) -> None:
    import energy_opt as eo
    from energy_opt.calibrate.recorded import beside, recorded
    from energy_opt.files import write_whole
    from energy_opt.report import measured

    device = eo.Device.load(name)
    found = recorded(samples if samples is not None else beside(device, name))
    write_whole(plot, measured.render(device, found).encode())
