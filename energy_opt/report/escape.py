"""Text from a model, made safe to show: a model file is untrusted, and so are the names in it."""

from __future__ import annotations

import html
import json
import unicodedata
from collections.abc import Mapping, Sequence

# Cc: ESC, BEL, newlines; Cf: bidi overrides, zero-width; Cs: lone surrogates; Zl, Zp: line breaks of Unicode;
# Co, Cn: private and unassigned, which fonts draw as they like.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"})
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def plain(value: object, limit: int | None = None) -> str:
    """`value` as one line without control, bidi or invisible characters, each replaced by its escape `\\x1b`.

    Longer than `limit` characters, the middle gives way to an ellipsis.
    """
    raw = str(value)
    # At most one level deeper than needed is looked at: a name of 100 MB must not cost 100 MB of escapes.
    if limit is not None and len(raw) > 4 * limit:
        raw = raw[: 2 * limit] + "…" + raw[-2 * limit :]
    if raw.isascii() and raw.isprintable():
        text = raw
    else:
        text = "".join(_visible(char) for char in raw)
    return text if limit is None else shorten(text, limit)


def shorten(text: str, limit: int) -> str:
    """`text` in at most `limit` characters; the end says more than the start, so it keeps two thirds."""
    if len(text) <= limit:
        return text
    if limit <= 1:
        return "…"[:limit]
    tail = (2 * (limit - 1) + 2) // 3
    return text[: limit - 1 - tail] + "…" + text[len(text) - tail :]


def html_text(value: object, limit: int | None = None) -> str:
    """`value` as HTML text or a quoted attribute value."""
    return html.escape(plain(value, limit), quote=True)


def csv_cell(value: object) -> object:
    """`value` for a cell: a number stays a number; text that a spreadsheet would run starts with `'`."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    text = plain(value)
    # Spreadsheets skip leading blanks and full-width forms (＝) before they look for a formula.
    probe = unicodedata.normalize("NFKC", text).lstrip()
    return f"'{text}" if probe.startswith(_FORMULA) or str(value).startswith(_FORMULA) else text


def script_json(value: object) -> str:
    """`value` as JSON that cannot end or start a tag inside a page's script element."""
    text = json.dumps(clean(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def clean(value: object) -> object:
    """`value` with every string made plain and every number finite (else None), for strict JSON."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {plain(key): clean(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [clean(item) for item in value]
    return finite(value)


def finite(value: object) -> object:
    """`value`, or None for a float that JSON cannot hold."""
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _visible(char: str) -> str:
    if unicodedata.category(char) not in _UNSAFE:
        return char
    return (
        char.encode("ascii", "backslashreplace").decode()
        if ord(char) > 127
        else f"\\x{ord(char):02x}"
    )
