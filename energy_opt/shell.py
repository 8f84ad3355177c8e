"""Running a command line: what goes to stdout and to stderr, and how each failure becomes one line and an exit code."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any, NoReturn

import typer

from energy_opt import __version__
from energy_opt.errors import EnergyOptError, OutputError
from energy_opt.report.escape import plain


def show(renderable: object) -> None:
    """Write to stdout, coloured on a terminal, plain in a pipe."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(renderable)
    text = capture.get()
    if not console.is_terminal:
        text = "".join(line.rstrip() + "\n" for line in text.splitlines())
    answer(text)


def answer(text: str) -> None:
    """Write text to stdout. Raises OutputError where it cannot be written, BrokenPipeError where nobody reads."""
    if (sys.stdout.encoding or "").lower().replace("-", "") not in ("utf8", "utf16", "utf32"):
        from energy_opt.report.widgets import register_ascii

        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors=register_ascii())
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write the answer: {(error.strerror or str(error)).lower()}"
        ) from error


def say(line: str) -> None:
    """Write one line to stderr, with nothing in it that a terminal would obey."""
    # A closed stderr is no reason to fail.
    try:
        sys.stderr.write(plain(line) + "\n")
    except OSError:
        return


def main(app: Any, arguments: list[str]) -> NoReturn:
    """Run a typer app and exit with what `run` says."""
    # A command makes a graph, prints and ends: searching it for cycles on the way costs a tenth of the time.
    gc.disable()
    code = run(app, arguments)
    try:
        sys.stdout.flush()
    except OSError:
        _quiet_stdout()
    sys.exit(code)


def run(app: Any, arguments: list[str]) -> int:
    """The exit code of a command line; every failure has become one line on stderr."""
    try:
        result = app(args=arguments, standalone_mode=False, prog_name="energy-opt")
        return result if isinstance(result, int) else 0
    except EnergyOptError as error:
        _traceback(arguments)
        say(f"error: {error}")
        return error.exit_code
    except BrokenPipeError:
        _quiet_stdout()
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except typer.Exit as stop:
        return int(stop.exit_code)
    except MemoryError:
        _traceback(arguments)
        say("error: there is not enough memory for this model here")
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort: a bug is reported in one line
        return _usage_or_bug(error, arguments)


def _usage_or_bug(error: Exception, arguments: list[str]) -> int:
    # Typer's own errors come from click, or from a copy of click inside typer, depending on its version.
    message = getattr(error, "format_message", None)
    if callable(message):
        if type(error).__name__ == "NoArgsIsHelpError":
            answer(str(error).rstrip() + "\n" if str(error).strip() else "")
            return 2
        command = getattr(getattr(error, "ctx", None), "command_path", "energy-opt")
        # A value that is not in an enumeration is reported through pydantic by some versions of typer.
        said = str(message()).replace("Value error, ", "")
        said = said if said.endswith(("?", ".", ")")) else f"{said}."
        say(f"error: {said} `{command} --help` shows what there is.")
        return 2
    _traceback(arguments)
    how = "" if _verbose(arguments) else " (add -v to see the traceback)"
    say(
        f"error: this is a bug in energy-opt {__version__}, not in your model: {type(error).__name__}: "
        f"{str(error)[:300]}; please report the command, this line and the traceback{how}"
    )
    return 1


def _traceback(arguments: list[str]) -> None:
    if _verbose(arguments):
        import traceback

        sys.stderr.write(
            "".join(plain(line) + "\n" for line in traceback.format_exc().splitlines())
        )


def _verbose(arguments: list[str]) -> bool:
    return "-v" in arguments or "--verbose" in arguments


def _quiet_stdout() -> None:
    # What is still buffered would raise again when Python flushes at exit.
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, sys.stdout.fileno())
    except (OSError, ValueError):
        return
    finally:
        os.close(null)
