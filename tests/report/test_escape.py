from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_opt.report import escape


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("encoder.layer.0", "encoder.layer.0"),
        ("名前 é", "名前 é"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\r", "a\\x0ab\\x0d"),
        (chr(0x9B) + "31m", "\\x9b31m"),  # the one-byte form of ESC [
        (chr(0x202E) + "x", "\\u202ex"),  # right-to-left override
        (chr(0x200B), "\\u200b"),  # zero-width space
        (chr(0xD800), "\\ud800"),  # a lone surrogate cannot be encoded
        (chr(0xE0041), "\\U000e0041"),  # a tag character, invisible
        (7, "7"),
    ],
)
def test_plain(raw: object, shown: str) -> None:
    assert escape.plain(raw) == shown


@given(st.text(), st.integers(1, 50))
def test_plain_is_printable_and_as_short_as_asked(raw: str, limit: int) -> None:
    shown = escape.plain(raw, limit)
    assert len(shown) <= limit
    assert all(char.isprintable() or char == "\u3000" or char.isspace() for char in shown)
    assert "\n" not in shown
    shown.encode("utf-8")


def test_shorten_keeps_more_of_the_end() -> None:
    assert escape.shorten("encoder.layer.11.attention.self.query", 20) == "encode…on.self.query"
    assert escape.shorten("abc", 3) == "abc"
    assert escape.shorten("abc", 1) == "…"
    assert escape.shorten("abc", 0) == ""


def test_html_text() -> None:
    assert escape.html_text("<b a='1'>&\"") == "&lt;b a=&#x27;1&#x27;&gt;&amp;&quot;"


@pytest.mark.parametrize("raw", ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "  =1", "＝1"])
def test_formulas_are_defused(raw: str) -> None:
    assert str(escape.csv_cell(raw)).startswith("'")


@pytest.mark.parametrize(
    ("raw", "cell"), [(-1.5, -1.5), (3, 3), ("a=1", "a=1"), (None, ""), (True, True)]
)
def test_numbers_and_harmless_text_stay(raw: object, cell: object) -> None:
    assert escape.csv_cell(raw) == cell


def test_script_json_cannot_close_its_element_and_reads_back() -> None:
    value = {"a": ["</script>", "<!--", "&amp;", math.nan, math.inf, 1.5, None, True]}
    text = escape.script_json(value)
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": ["</script>", "<!--", "&amp;", None, None, 1.5, None, True]}
