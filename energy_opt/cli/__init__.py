"""The command line: argument parsing and nothing else. Answers go to stdout, everything else to stderr."""

from __future__ import annotations

import sys
from typing import NoReturn

from energy_opt import shell
from energy_opt.cli import analyze, calibrate, devices, measure, tools
from energy_opt.cli.app import app

# Commands register themselves with the app, in the order in which `--help` lists them.
__all__ = ["analyze", "app", "calibrate", "devices", "main", "measure", "tools"]


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 error, 2 usage, 130 interrupted."""
    shell.main(app, sys.argv[1:] if arguments is None else arguments)
