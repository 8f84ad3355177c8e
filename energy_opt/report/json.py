"""An analysis as JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from energy_opt.report.escape import finite


def render(analysis: Mapping[str, Any]) -> str:
    """The analysis as strict JSON, one line per field and per list entry: pure ASCII, numbers unrounded, no NaN.

    Names appear exactly as the model has them; as `\\u` escapes nothing in them can reach a terminal.
    """
    fields = [f"{_one_line(str(name))}: {_lines(value)}" for name, value in analysis.items()]
    # DEL is the one control character that JSON does not escape; it can only stand inside a string.
    return ("{\n" + ",\n".join(fields) + "\n}\n").replace("\x7f", "\\u007f")


def _lines(value: object) -> str:
    # Python's own encoder is fast only without indentation, and a model may have 100,000 ops.
    if not isinstance(value, list) or not value:
        return _one_line(value)
    return "[\n " + ",\n ".join(_one_line(item) for item in value) + "\n]"


def _one_line(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(_strict(value), allow_nan=False)


def _strict(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_strict(item) for item in value]
    # numpy scalars and sympy integers know how to become Python numbers.
    if isinstance(value, str | bool | int | float) or value is None:
        return finite(value)
    item = getattr(value, "item", None)
    return finite(item()) if callable(item) else str(value)
