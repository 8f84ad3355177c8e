from __future__ import annotations

import csv as reader
import io
import json as decoder
import math
from typing import Any

import numpy as np

from energy_opt.report import csv, display, json


def rows(analysis: dict[str, Any]) -> list[dict[str, str]]:
    return list(reader.DictReader(io.StringIO(csv.render(analysis))))


def test_csv_has_every_field_of_every_op(analysis: dict[str, Any]) -> None:
    found = rows(analysis)
    assert len(found) == len(analysis["ops"])
    for row, op in zip(found, analysis["ops"], strict=True):
        assert float(row["energy_j"]) == op["energy_j"]
        assert [float(row["energy_j_low"]), float(row["energy_j_high"])] == op["energy_j_interval"]
        assert set(row) >= {name for name in op if not name.endswith("_interval")}


def test_no_csv_cell_is_a_formula(hostile: dict[str, Any]) -> None:
    for row in rows(hostile):
        for cell in row.values():
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
            assert "\n" not in cell


def test_csv_of_nothing_is_a_header() -> None:
    assert csv.render({"ops": []}).startswith("name,op,kind,path,bound")


def test_a_list_is_one_cell() -> None:
    assert (
        csv.render({"ops": [{"name": "a", "fused": ["Conv", "Relu"]}]}).splitlines()[1]
        == "a,Conv Relu"
    )


def test_json_gives_back_what_came_in(analysis: dict[str, Any]) -> None:
    text = json.render(analysis)
    assert decoder.loads(text) == analysis
    assert text.isascii()
    assert all(char.isprintable() or char == "\n" for char in text)


def test_json_is_strict() -> None:
    value = {"a": [math.nan, math.inf, np.float64(1.5), np.int64(3), (1, 2)], 1: True, "b": None}
    assert decoder.loads(json.render(value)) == {
        "a": [None, None, 1.5, 3, [1, 2]],
        "1": True,
        "b": None,
    }


def test_attached_reports_show_an_estimate(bert: dict[str, Any]) -> None:
    class Estimate:
        def to_dict(self) -> dict[str, Any]:
            return bert

    display.attach(Estimate)
    display.attach(Estimate)
    from rich.console import Console

    screen = Console(file=io.StringIO(), width=80)
    screen.print(Estimate())
    assert screen.file.getvalue().startswith("bert-base.onnx on NVIDIA T4")  # type: ignore[attr-defined]
    assert Estimate()._repr_html_().startswith('<div class="energy-opt">')  # type: ignore[attr-defined]
