"""The app that the commands hang on, and what their options share."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from energy_opt import __version__, shell

# Everything heavier is imported inside a command: `--help` must not wait for numpy or onnx.

app = typer.Typer(
    name="energy-opt",
    help="What does one inference of a model cost in time and energy, where does it go, and what would help?",
    epilog="Start with: energy-opt analyze model.onnx --device t4 --dim batch=8",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(enum.StrEnum):
    """How an answer is written."""

    table = "table"
    json = "json"
    csv = "csv"


class ShortFormat(enum.StrEnum):
    """How a list is written."""

    table = "table"
    json = "json"


def _version(wanted: bool) -> None:
    if wanted:
        shell.answer(f"energy-opt {__version__}\n")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Say the version and exit."
        ),
    ] = False,
) -> None:
    pass
