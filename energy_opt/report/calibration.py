"""A calibration as it goes on, and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from energy_opt import units
from energy_opt.report.devices import errors
from energy_opt.report.escape import plain

_DOING = {"preparing": "Preparing", "timing": "Timing", "fitting": "Fitting"}


class Bar:
    """A progress bar on stderr with what is being done and the time left; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        console = Console(file=sys.stderr, highlight=False, markup=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(),
            TextColumn("{task.fields[told]}", markup=False), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None, told="")

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self._bar.stop()

    def __call__(self, at: Any) -> None:
        """Show how far it is: an event with `phase`, `what`, `done`, `total`, `spent_s` and `left_s`.

        Where the time left is known the bar is of time: a budget ends long before all that could be timed is.
        """
        by_time = at.left_s is not None and at.left_s > 0
        if at.phase == "timing":
            count = f"{at.done:,} timed" if at.done else ""
        else:
            count = f"{at.done:,} of {at.total:,}" if at.total else ""
        left = f"{units.time(at.left_s)} left" if by_time else ""
        known = at.total and (at.done or at.phase != "timing")
        self._bar.update(
            self._task,
            description=f"{_DOING.get(at.phase, at.phase)} {plain(at.what, 50)}",
            completed=at.spent_s if by_time else at.done,
            total=at.spent_s + at.left_s if by_time else (at.total if known else None),
            told="  ".join(filter(None, (count, left))),
        )


def table(device: Mapping[str, Any], *, verbose: bool = False) -> RenderableType:
    """How far off the fits were on shapes left out: per kind and type, with `verbose` per operator too."""
    fits = [row for row in device["fits"] if verbose or not row["op"]] or list(device["fits"])
    title = Text.assemble(
        (plain(device["name"], 60), "bold cyan"), "  ", plain(device["label"], 100), ": errors on shapes left out",
    )  # fmt: skip
    if not fits:
        return Group(title, Text("nothing could be fitted: too little was timed", "yellow"))
    parts: list[RenderableType] = [title, errors(fits)]
    hidden = len(device["fits"]) - len(fits)
    if hidden:
        parts.append(Text(f"and {hidden} of single operators: --verbose shows them", "dim"))
    return Group(*parts)
