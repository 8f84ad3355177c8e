"""`energy-opt devices`."""

from __future__ import annotations

from typing import Annotated

import typer

from energy_opt import shell
from energy_opt.cli.app import ShortFormat, app


@app.command()
def devices(
    name: Annotated[str | None, typer.Argument(help="One device, with its sources.", show_default=False)] = None,
    format: Annotated[ShortFormat, typer.Option(help="How to write the answer to stdout.")] = ShortFormat.table,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks.")] = False,
) -> None:  # fmt: skip
    """Which device profiles there are, how each was made, and what in it is unverified."""
    import energy_opt as eo
    from energy_opt.report import devices as report

    found = eo.devices() if name is None else [eo.Device.load(name)]
    rows = [device.to_dict() for device in found]
    if format is ShortFormat.json:
        from energy_opt.report import json as text

        shell.answer(text.render({"schema": "energy-opt/devices/1", "rows": rows}))
    else:
        shell.show(report.table(rows) if name is None else report.one(rows[0]))
