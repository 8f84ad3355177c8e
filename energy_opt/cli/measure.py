"""`energy-opt measure`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from energy_opt import arguments, shell
from energy_opt.cli.app import Format, app
from energy_opt.errors import UsageError


@app.command(
    epilog="Example: energy-opt measure hf:bert --target cpu --dim seq=64 --modules --compare"
)
def measure(
    model: Annotated[
        str | None,
        typer.Argument(
            show_default=False,
            help="What `analyze` takes: it is run by PyTorch or, if it is an .onnx file, by ONNX Runtime. Weights that "
            "are not there are random. With --from-trace it may be left out.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", show_default=False, help="Change a setting of the config; repeat for more."
        ),
    ] = None,
    target: Annotated[str, typer.Option(metavar="cpu|cuda:N", help="What to run it on.")] = "cpu",
    device: Annotated[
        str | None,
        typer.Option(
            "--device", "-d", metavar="NAME|FILE.json", show_default=False,
            help="The profile to predict with; if not given, the one of the target.",
        ),
    ] = None,
    dim: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=INT", show_default=False, help="Size of a free dimension; repeat for more."),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", show_default=False, help="Arrays by input name; random ones if not given."),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(metavar="eager|onnxruntime", show_default=False, help="What runs it.")
    ] = None,
    meter: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help="auto, none, or one or more of nvml,rapl,modelled,zeus,codecarbon,pyjoules,log:FILE."
        ),
    ] = "auto",
    trials: Annotated[int, typer.Option(min=1, max=1000, help="How often to repeat it, with a pause in between.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.01, max=3600, help="How long a trial lasts, warmed up.")] = 3.0,
    cooldown: Annotated[
        float | None, typer.Option(min=0, max=3600, show_default=False, help="Seconds between trials: 1, of a GPU 10.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare/--no-compare", help="Put the prediction beside it.")] = True,
    modules: Annotated[bool, typer.Option("--modules", help="Also time and replay every module.")] = False,
    depth: Annotated[int | None, typer.Option(min=0, show_default=False, help="Levels of modules.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Run nothing: meter a job that runs already, and say when it drifts.")
    ] = False,
    pid: Annotated[int | None, typer.Option(min=1, show_default=False, help="Watch until this process ends.")] = None,
    rate: Annotated[
        float | None, typer.Option(min=0, show_default=False, help="Inferences a second, if the job idles.")
    ] = None,
    windows: Annotated[int | None, typer.Option(min=1, show_default=False, help="Watch for so many windows.")] = None,
    window: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds of each window that is watched.")] = 10.0,
    from_trace: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", show_default=False,
            help="Run nothing: read a PyTorch profiler trace, or an Nsight Systems export (SQLite, CSV).",
        ),
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="Inferences in the trace, if it does not say.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to write the answer to stdout.")] = Format.table,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Also write a page that works offline.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the totals and what they rest on.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every module; tracebacks.")] = False,
) -> None:  # fmt: skip
    """Run it, meter it, and put the prediction beside it, by model and by module."""
    dims = arguments.dims(dim or [])
    changed = arguments.settings(settings or []) or None
    if model is None and from_trace is None:
        raise UsageError("MODEL is missing; name what to measure, or a trace with --from-trace")
    if watch and from_trace is not None:
        raise UsageError(
            "--watch meters what runs now, --from-trace reads what ran before; choose one"
        )
    _needs("--watch", watch, {"--pid": pid, "--rate": rate, "--windows": windows})
    _needs("--from-trace", from_trace is not None, {"--iterations": iterations})
    _needs("--modules or --from-trace", modules or from_trace is not None, {"--depth": depth})
    shared: dict[str, Any] = {
        "device": device,
        "runtime": runtime,
        "settings": changed,
        "dims": dims,
    }
    if from_trace is not None:
        from energy_opt.studies.from_trace import from_trace as read

        result = read(from_trace, model, iterations=iterations, depth=depth, **shared)
    elif watch:
        _watch(model, target, meter, pid, rate, window, windows, format, shared)
        return
    else:
        from energy_opt.studies.measure import measure_model

        with _progress(quiet) as tell:
            result = measure_model(
                model, target=target, meter=meter, trials=trials, seconds=seconds, cooldown_s=cooldown, compare=compare,
                modules=modules, depth=depth, arrays=inputs, tell=tell, **shared,
            )  # fmt: skip
    _write(result.to_dict(), format, html, quiet, verbose)
    if result.interrupted:
        raise typer.Exit(130)


def _needs(what: str, there: bool, options: dict[str, Any]) -> None:
    """Raises UsageError where an option is given that would do nothing."""
    given = [name for name, value in options.items() if value is not None]
    if given and not there:
        raise UsageError(f"{' and '.join(given)} would do nothing without {what}; give both")


def _write(
    answer: dict[str, Any], format: Format, html: Path | None, quiet: bool, verbose: bool
) -> None:
    if html is not None:
        from energy_opt.files import write_whole
        from energy_opt.report import measure_html

        write_whole(html, measure_html.render(answer).encode())
        shell.say(f"wrote {html}")
    if format is Format.json:
        from energy_opt.report import json as text

        shell.answer(text.render(answer))
    elif format is Format.csv:
        from energy_opt.report import csv

        shell.answer(csv.render({"ops": answer["modules"] or answer["trials"]}))
    else:
        from energy_opt.report import measure as report

        shell.show(report.render(answer, verbose=verbose, quiet=quiet))
        return
    if not quiet:
        for note in answer["notes"]:
            shell.say(f"note: {note}")


def _watch(
    model: str | None,
    target: str,
    meter: str,
    pid: int | None,
    rate: float | None,
    window: float,
    windows: int | None,
    format: Format,
    shared: dict[str, Any],
) -> None:
    from energy_opt.report import drift as report
    from energy_opt.studies.drift import watch_job

    if format is Format.csv:
        raise UsageError("--watch writes lines of text or of JSON: use --format table or json")
    watched = watch_job(
        model, target=target, meter=meter, pid=pid, rate_per_s=rate, window_s=window, windows=windows, **shared
    )  # fmt: skip
    for line in (*watched.notes, watched.rule):
        shell.say(f"note: {line}")
    # A person ends it with Ctrl-C, which is no error.
    with contextlib.suppress(KeyboardInterrupt):
        for event in watched:
            line = (
                report.as_json(event, watched.expected)
                if format is Format.json
                else report.as_text(event, watched.expected)
            )
            shell.answer(line + "\n")


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], None] | None]:
    """What is being done, on a terminal's stderr; nothing in a pipe."""
    import sys

    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    from energy_opt.report.escape import plain

    with Console(stderr=True, markup=False, emoji=False).status("starting") as status:
        yield lambda said: status.update(plain(said, 100))
