from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent.parent / "data"
# A zero-width space or a right-to-left override can hide in a diff, so the names are built from code points.
NASTY = [
    "[red]markup[/red] [link=http://x.invalid]",
    "\x1b[31mANSI\x1b[0m\x07",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2",
    "@SUM(A1)",
    "\tx",
    chr(0x202E) + "evil" + chr(0x202C),
    "zero" + chr(0x200B) + "width",
    "line\nbreak\r",
    "%{customdata[0]}<b>bold</b>&lt;",
    chr(0x9B) + "31mC1",
    "del" + chr(0x7F),
    "x" * 5000,
    "名前/層",
    chr(0xD800) + "lone",
    "",
]


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / f"analysis_{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(params=["bert", "resnet50", "hostile"])
def analysis(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param) if request.param != "hostile" else hostile_analysis()


@pytest.fixture
def bert() -> dict[str, Any]:
    return read("bert")


@pytest.fixture
def resnet50() -> dict[str, Any]:
    return read("resnet50")


@pytest.fixture
def hostile() -> dict[str, Any]:
    return hostile_analysis()


def hostile_analysis() -> dict[str, Any]:
    """An analysis in which every text that can come from a model file is a trap."""
    ops, modules = [], []
    totals = {"macs": 500, "matmul_flops": 1000, "other_flops": 10, "bytes_read": 400, "bytes_written": 100,
              "parameters": 10, "weight_bytes": 40, "latency_s": 0.001, "energy_j": 0.01, "power_w": 10.0,
              "latency_s_interval": [0.0005, 0.002], "energy_j_interval": [0.005, 0.02]}  # fmt: skip
    for text in NASTY:
        path = text.replace(".", "_")
        ops.append({"name": text, "op": text, "kind": text, "path": path, "bound": text, "provenance": text,
                    "count": 1, "module_type": text, **totals})  # fmt: skip
        if path:
            modules.append({"path": path, "type": text, "depth": 1, **totals})
    whole = {name: (value * len(NASTY) if isinstance(value, int | float) else [v * len(NASTY) for v in value])
             for name, value in totals.items()}  # fmt: skip
    return {
        "schema": "energy-opt/analysis/1",
        "model": {"source": "dir/[red]evil\x1b[2J.onnx", "name": NASTY[2], "nodes": len(ops)},
        "device": {
            "name": "t4",
            "label": NASTY[3],
            "provenance": "datasheet",
            "boundary": NASTY[1],
            "energy_provenance": "modelled",
            "tdp_w": 70,
            "peaks": {"float32": 8.1e12, NASTY[2]: 1e13},
            "mem_bw_bytes_per_s": 3.2e11,
            "unverified": NASTY,
            "sources": NASTY,
        },
        "runtime": NASTY[0],
        "precision": NASTY[1],
        "dims": {NASTY[2]: 1, NASTY[1]: 2},
        "dims_info": {
            NASTY[2]: {"defaulted": True, "aliases": NASTY, "where": NASTY[1], "origin": "data"}
        },
        "totals": {**whole, "peak_activation_bytes": 100},
        "coverage": {
            "ops": len(ops),
            "modelled": len(ops) - 2,
            "unmodelled": {NASTY[2]: 1, NASTY[1]: 1},
        },
        "modules": [{"path": "", "type": NASTY[2], "depth": 0, **whole}, *modules],
        "kinds": [{"kind": text, "ops": 1, **totals} for text in NASTY],
        "ops": ops,
        "notes": NASTY,
        "advice": [{"title": t, "detail": t, "saving_j": 0.1, "command": t} for t in NASTY],
        "footprint": {
            "requests": 10,
            "energy_kwh": 1.0,
            "co2e_g": 5.0,
            "region": NASTY[2],
            "cost_usd": 1.0,
        },
    }
