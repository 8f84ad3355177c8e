from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from energy_opt.errors import EnergyOptError
from energy_opt.report import figures, html

ALLOWED = {
    "html",
    "head",
    "meta",
    "link",
    "title",
    "style",
    "body",
    "main",
    "header",
    "h1",
    "h2",
    "p",
    "span",
    "b",
    "em",
    "small",
    "section",
    "div",
    "ol",
    "ul",
    "li",
    "br",
    "code",
    "figure",
    "details",
    "summary",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "button",
    "i",
    "noscript",
    "script",
}


class Page(HTMLParser):
    """The tags, attributes and scripts that a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        else:
            self.words.append(data)


@pytest.fixture
def page(analysis: dict[str, Any]) -> Page:
    return Page(html.render(analysis))


def test_the_page_has_only_the_tags_that_we_wrote(page: Page) -> None:
    assert {tag for tag, _ in page.tags} <= ALLOWED
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")}


def test_nothing_is_loaded_from_elsewhere(page: Page) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "data", "srcset"):
            assert attributes.get(name) in (None, "data:,"), (tag, attributes)
    style = "".join(page.words)
    assert "@import" not in style
    assert "url(" not in style


def test_the_policy_forbids_the_network_and_all_scripts_but_ours(page: Page) -> None:
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a) or ""
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    data, *scripts = page.scripts
    assert json.loads(data)
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    }
    assert set(rules["script-src"].split()) == hashes


def test_names_are_shown_as_text(hostile: dict[str, Any]) -> None:
    words = "".join(Page(html.render(hostile)).words)
    assert "</script><script>alert(1)</script>" in words
    assert "<img src=x onerror=alert(1)>" in words
    assert "\\x1b[31mANSI" in words
    assert chr(0x202E) not in words


def test_plotly_gets_no_markup_from_names(hostile: dict[str, Any]) -> None:
    ours = re.compile(r"</?(?:b|br|extra)>")
    text = json.dumps([figures.icicle(hostile), figures.roofline(hostile)], ensure_ascii=False)
    assert "&lt;img" in text
    assert not re.search(r"<(?!/?(?:b|br|extra)>)", ours.sub("", text))


def test_the_icicle_adds_up(analysis: dict[str, Any]) -> None:
    figure = figures.icicle(analysis)
    assert figure is not None
    trace = figure["data"][0]
    values = dict(zip(trace["ids"], trace["values"], strict=True))
    assert len(values) == len(trace["ids"])
    inside: dict[str, float] = {}
    for parent, value in zip(trace["parents"], trace["values"], strict=True):
        inside[parent] = inside.get(parent, 0.0) + value
    roots = inside.pop("")
    assert roots == pytest.approx(max(values.values()))
    for parent, total in inside.items():
        assert total <= values[parent] * (1 + 1e-9)


def test_no_op_is_above_the_roof(bert: dict[str, Any]) -> None:
    figure = figures.roofline(bert)
    assert figure is not None
    roof, *kinds = figure["data"]
    top = max(y for y in roof["y"] if y is not None)
    bandwidth = bert["device"]["mem_bw_bytes_per_s"]
    for trace in kinds:
        for x, y in zip(trace["x"], trace["y"], strict=True):
            assert y <= min(top, bandwidth * x)


def test_ops_without_arithmetic_are_counted_not_drawn() -> None:
    ops = [
        {"kind": "view", "energy_j": 1.0, "latency_s": 1.0},
        {"kind": "matmul", "energy_j": 3.0, "latency_s": 1.0, "matmul_flops": 8, "bytes_read": 4},
    ]
    analysis = {"ops": ops, "totals": {"energy_j": 4.0}}
    assert figures.without_arithmetic(analysis) == (1, 0.25)
    device = {"mem_bw_bytes_per_s": 100.0, "peaks": {"float32": 1000.0}}
    figure = figures.roofline({**analysis, "device": device})
    assert figure is not None
    assert [(t["x"], t["y"]) for t in figure["data"][1:]] == [([2.0], [8.0])]


def test_a_device_without_bandwidth_has_no_roofline(bert: dict[str, Any]) -> None:
    bert["device"]["mem_bw_bytes_per_s"] = None
    assert figures.roofline(bert) is None
    assert '<figure id="roofline">' not in html.render(bert)


def test_numbers_sort_by_value_not_by_text(bert: dict[str, Any]) -> None:
    text = html.render(bert)
    energy = bert["kinds"][0]["energy_j"]
    assert f'data-v="{energy}"' in text


def test_a_long_table_says_what_it_leaves_out(bert: dict[str, Any]) -> None:
    bert["ops"] = bert["ops"][:1] * 2005
    assert "5 cheaper rows are left out" in html.render(bert)


def test_the_notebook_fragment_is_small_and_has_no_scripts(analysis: dict[str, Any]) -> None:
    text = html.render(analysis, full=False)
    assert len(text) < 200_000
    tags = {tag for tag, _ in Page(text).tags}
    assert "script" not in tags
    assert tags <= ALLOWED


def test_without_plotly_the_error_says_what_to_install(
    bert: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnergyOptError, match="pip install plotly"):
        html.render(bert)
    assert "bert-base.onnx" in html.render(bert, full=False)


@pytest.mark.parametrize("missing", ["modules", "kinds", "ops", "advice", "notes", "dims", "dims_info",
                                     "coverage", "device", "totals"])  # fmt: skip
def test_a_part_may_be_missing(bert: dict[str, Any], missing: str) -> None:
    del bert[missing]
    assert "bert-base.onnx" in html.render(bert)


def test_a_cross_check_is_on_the_page_with_what_was_missed(bert: dict[str, Any]) -> None:
    name = "<b>lstm"
    bert["cross_check"] = {
        "total": 10.0,
        "operators": [{"operator": name, "ours": 10.0, "fvcore": 0.0}],
        "counters": [
            {
                "name": "fvcore",
                "label": "fvcore on CPU tensors",
                "total": 0.0,
                "missed": [name],
                "different": [],
                "printed": 0.0,
                "printed_unit": "MACs",
                "printed_other": {},
            },
            {"name": "flop_counter", "label": "FlopCounterMode", "failed": "no <such> device"},
        ],
        "notes": ["a <note>"],
    }
    text = html.render(bert)
    assert "<h2>Cross-check</h2>" in text
    assert "counts nothing for &lt;b&gt;lstm (100 % of our FLOPs)" in text
    assert "could not run this model (no &lt;such&gt; device)" in text
    assert "<td class='n warn'>missed</td>" in text
    assert "<b>lstm" not in text
    assert "<note>" not in text


def test_settings_are_chips_beside_the_title(bert: dict[str, Any]) -> None:
    bert["model"]["source"] = "hf:bert --set num_hidden_layers=6 --set hidden_act=<b>"
    text = html.render(bert, full=False)
    assert "<h1>hf:bert <span>" in text
    assert "<span class=chip>num_hidden_layers=6</span>" in text
    assert "<span class=chip>hidden_act=&lt;b&gt;</span>" in text
