"""An analysis as JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from energy_opt.report.escape import finite


def render(analysis: Mapping[str, Any]) -> str:
    """The analysis as strict JSON that ends in a newline: pure ASCII, numbers unrounded, no NaN.

    Names appear exactly as the model has them; as `\\u` escapes nothing in them can reach a terminal.
    """
    return json.dumps(_strict(analysis), ensure_ascii=True, allow_nan=False, indent=1) + "\n"


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
