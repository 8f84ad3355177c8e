"""`energy-opt calibrate`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy_opt import arguments, shell
from energy_opt.cli.app import ShortFormat, app
from energy_opt.errors import UsageError

if TYPE_CHECKING:
    from energy_opt.calibrate.visits import Report
    from energy_opt.estimators.device import Device


@app.command(
    epilog="Examples: energy-opt calibrate -o here.json --budget 3m --for hf:bert; "
    "energy-opt calibrate --from-table kernels.csv --spec t4 -o t4-fitted.json"
)
def calibrate(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT.json", show_default=False, help="The profile to write.")
    ],
    target: Annotated[
        str | None, typer.Option(metavar="cpu|cuda:N", show_default=False, help="What to calibrate; assumed: cpu.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", show_default=False, help="How long it may take, such as 3m or 90s."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--for", metavar="MODEL", show_default=False,
            help="Also time the operators of this model, as `analyze` takes it; repeat for more. The best thing to do.",
        ),
    ] = None,
    meter: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="What measures energy (nvml, rapl, ...), or none."),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE", show_default=False, help="Time this type, such as bfloat16; repeat for more."),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(metavar="eager|onnxruntime", show_default=False, help="Whose kernels are timed.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--from-table", metavar="FILE.csv", show_default=False, help="Fit these measurements instead of measuring."
        ),
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.json", show_default=False, help="The device whose facts the profile keeps."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="TEXT", show_default=False, help="Whose measurements the table's are.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides which points are drawn, and their order.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Measure although the machine is busy.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Replace OUT.json and its log instead of going on.")] = False,
    format: Annotated[ShortFormat, typer.Option(help="How to write the answer to stdout.")] = ShortFormat.table,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Fits of every operator; tracebacks.")] = False,
) -> None:  # fmt: skip
    """Make a device profile: time this machine's kernels, or fit a table of measurements."""
    if output.suffix.lower() != ".json":
        raise UsageError(f"-o {output}: a profile is a file with a name in .json")
    if table is not None:
        measuring = {
            "--target": target, "--budget": budget, "--for": models, "--meter": meter, "--dtype": dtype,
            "--runtime": runtime, "--force": force or None,
        }  # fmt: skip
        _not_with("--from-table", measuring)
        device, remarks = _fitted(table, spec, source, output, seed, fresh)
    else:
        _not_with("a calibration of this machine", {"--source": source})
        options = {"dtypes": dtype, "runtime": runtime, "spec": spec, "seed": seed, "force": force}
        device, remarks = _timed(target or "cpu", output, budget, models, meter, not fresh, options)
    _answer(device, format, verbose)
    for remark in remarks:
        shell.say(f"note: {remark}")
    shell.say(f"wrote {output}: use it with --device {output}")
    if any(note.startswith("interrupted") for note in device.notes):
        raise typer.Exit(130)  # so that a script that goes on after it stops


def _not_with(what: str, options: dict[str, Any]) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{' and '.join(given)} cannot be used with {what}; leave it out")


def _fitted(
    table: Path, spec: str | None, source: str | None, output: Path, seed: int, fresh: bool
) -> tuple[Device, list[str]]:
    """The profile that the table gives, written, and what to say of it."""
    if spec is None:
        raise UsageError(
            "--from-table: say whose measurements these are with --spec DEVICE (`energy-opt devices` lists them), or "
            "--spec FILE.json with the facts of a device that is not there"
        )
    if output.exists() and not fresh:
        raise UsageError(f"{output} exists; choose another name, or replace it with --fresh")
    from energy_opt.calibrate.from_table import from_table
    from energy_opt.calibrate.profile import write
    from energy_opt.calibrate.visits import Progress

    with _progress() as show:
        made = from_table(
            table,
            spec,
            source=source,
            seed=seed,
            progress=lambda what, done, total: show(Progress("fitting", what, done, total, 0.0)),
        )
    write(made.device, output)
    return made.device, list(made.remarks)


def _timed(
    target: str, output: Path, budget: str | None, models: list[str] | None, meter: str | None, resume: bool,
    options: dict[str, Any],
) -> tuple[Device, list[str]]:  # fmt: skip
    """The profile of this machine, written, and what to say of it."""
    budget_s = None if budget is None else arguments.duration_s("--budget", budget)
    from energy_opt.calibrate.run import calibrate_device as run

    with _opened(meter, target) as opened, _progress() as show:
        device = run(
            target,
            output=output,
            budget_s=budget_s,
            models=models or (),
            meter=opened,
            resume=resume,
            progress=show,
            **options,
        )
    from energy_opt.calibrate.from_table import uncovered

    remarks = [note for note in device.notes if note not in _known_notes(device.name)]
    stopped = any(
        note.startswith("interrupted") for note in device.notes
    )  # it says itself how to go on
    if device.calibration is not None and device.calibration.partial and not stopped:
        again = "" if resume else " (without --fresh)"
        remarks.append(f"the profile is partial and says so; the same command{again} goes on")
    return device, remarks + uncovered(device)


def _known_notes(name: str) -> tuple[str, ...]:
    """What the shipped profile of that name says of itself, which is no news."""
    from energy_opt.errors import DeviceError
    from energy_opt.estimators.device import Device

    try:
        return Device.load(name).notes
    except DeviceError:  # a device of the user's own
        return ()


@contextmanager
def _opened(name: str | None, target: str) -> Iterator[Any]:
    """The meter of that name; None leaves the choice to the target."""
    if name is None:
        yield None
        return
    if name.startswith("modelled"):
        raise UsageError(
            "--meter modelled: watts from a model are nothing to fit; leave --meter out, and the profile's own power "
            "model stays"
        )
    from energy_opt.measure.meters import open_meter

    with open_meter(name, device=target) as meter:
        yield meter


@contextmanager
def _progress() -> Iterator[Report]:
    """What shows progress on a terminal, and nothing in a pipe."""
    from energy_opt.report.calibration import Bar

    with Bar() as bar:
        yield bar


def _answer(device: Device, format: ShortFormat, verbose: bool) -> None:
    from energy_opt.report import calibration
    from energy_opt.report.fits import described

    told = described(device)
    if format is ShortFormat.json:
        from energy_opt.report import json as text

        shell.answer(text.render({"schema": "energy-opt/calibration/1", **told}))
    else:
        shell.show(calibration.table(told, verbose=verbose))
