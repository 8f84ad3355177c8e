"""Repeated options of the command line, `NAME=VALUE`, as dictionaries."""

from __future__ import annotations

import re

from energy_opt.errors import UsageError
from energy_opt.report.escape import plain


def dims(given: list[str]) -> dict[str, int]:
    """Sizes by name from `NAME=INT` texts. Raises UsageError: not of that form, not positive, or given twice."""
    sizes: dict[str, int] = {}
    for item in given:
        name, equals, size = (part.strip() for part in item.partition("="))
        where = f"--dim {plain(item)}"
        if not equals:
            example = plain(name) or "batch"
            raise UsageError(
                f"{where}: a size is missing; write --dim NAME=INT, such as --dim {example}=8"
            )
        if not name:
            raise UsageError(
                f"{where}: a name is missing; write --dim NAME=INT, such as --dim batch=8"
            )
        if not size:
            raise UsageError(
                f"{where}: a size is missing after '='; give a whole number from 1, such as 8"
            )
        digits = size.removeprefix("+").removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise UsageError(
                f"{where}: {plain(size)!r} is not a whole number; give one from 1, such as 8"
            )
        if size.startswith("-") or not digits.strip("0"):
            raise UsageError(f"{where}: a size is at least 1, not {plain(size)}")
        if len(digits.lstrip("0")) > 15:
            raise UsageError(f"{where}: sizes have at most 15 digits")
        if name in sizes:
            raise UsageError(
                f"{where}: {plain(name)} was already given as {sizes[name]}; give it once"
            )
        sizes[name] = int(digits)
    return sizes


def duration_s(option: str, given: str) -> float:
    """Seconds of a duration such as `90s`, `3m` or `1h30m`. Raises UsageError: not of that form, or zero."""
    found = re.fullmatch(
        r"(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8}(?:\.\d+)?)s)?", given.strip().lower()
    )
    parts = found.groups(default="0") if found else ("0", "0", "0")
    seconds = 3600 * float(parts[0]) + 60 * float(parts[1]) + float(parts[2])
    if seconds <= 0:
        raise UsageError(
            f"{option} {plain(given, 40)}: a duration is needed, with its unit: 90s, 3m or 1h30m"
        )
    return seconds


def settings(given: list[str]) -> dict[str, str]:
    """Values by key from `KEY=VALUE` texts. Raises UsageError: not of that form, or a key given twice."""
    values: dict[str, str] = {}
    for item in given:
        key, equals, value = item.partition("=")
        key = key.strip()
        where = f"--set {plain(item)}"
        if not equals or not key:
            raise UsageError(f"{where}: write --set KEY=VALUE, such as --set num_hidden_layers=8")
        if key in values:
            raise UsageError(
                f"{where}: {plain(key)} was already given as {plain(values[key])}; give it once"
            )
        values[key] = value
    return values
