"""The report of a measurement: what is known is shown, what is not is named, nothing from a model is obeyed."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
from rich.console import Console

from energy_opt.measure.drift import Event, Expected
from energy_opt.report import drift, measure, measure_html
from tests.report.conftest import NASTY

ANSWER: dict[str, Any] = {
    "schema": "energy-opt/measurement/1",
    "model": {"source": "hf:bert --set num_hidden_layers=2", "runtime": "eager"},
    "target": {"name": "cpu", "kind": "cpu", "label": "A Processor", "threads": 2, "weights": ["float32"]},
    "runtime": "eager",
    "dims": {"batch": 2, "seq": 128},
    "protocol": {"warmup": "until it is warm", "seconds": 3.0, "trials": 2, "cooldown_s": 1.0, "interval_level": 0.9},
    "measured": {
        "latency_s": 0.00212, "latency_s_interval": [0.002, 0.0023], "latency_spread": 0.02, "energy_j": 0.0178,
        "energy_spread": 0.03, "power_w": 8.4, "reason": "", "meter": "rapl", "boundary": "package",
        "provenance": "measured", "relative_error": 0.02, "method": "counter",
    },
    "predicted": {
        "device": "xeon", "label": "Intel Xeon", "provenance": "datasheet", "energy_provenance": "modelled",
        "boundary": "system", "runtime": "eager", "latency_s": 0.00318, "latency_s_interval": [0.0022, 0.008],
        "energy_j": 0.0161, "energy_j_interval": [0.01, 0.04], "power_w": 5.5,
    },
    "comparison": {
        "latency_error": 0.5, "latency_inside": False, "energy_error": -0.0955, "energy_inside": True,
        "same_boundary": False, "metered": True,
    },
    "trials": [
        {
            "latency_s": 0.0021, "latency_s_interval": [0.002, 0.0023], "calls": 1400, "energy_j": 0.0178,
            "metered_calls": 1400, "metered_s": 3.0, "warmup_calls": 15, "warmup_s": 0.2, "settled": settled,
            "reason": "", "utilisation": 0.98, "clocks_hz": {"sm": 1.4e9}, "temperature_c": 61.0, "throttled": None,
            "power_limit_w": None,
        }
        for settled in (True, False)
    ],
    "meters": [
        {
            "meter": "rapl", "provenance": "measured", "boundary": "package", "energy_j_per_inference": 0.0178,
            "mean_power_w": 8.4, "relative_error": 0.02, "difference": 0.0, "same_boundary": True, "reason": "",
        },
        {
            "meter": "wall", "provenance": "measured", "boundary": "system", "energy_j_per_inference": 0.0356,
            "mean_power_w": 16.8, "relative_error": 0.05, "difference": 1.0, "same_boundary": False, "reason": "",
        },
        {
            "meter": "zeus", "provenance": "measured", "boundary": None, "energy_j_per_inference": None,
            "mean_power_w": None, "relative_error": None, "difference": None, "same_boundary": False,
            "reason": "not installed; pip install zeus",
        },
    ],
    "modules": [
        {
            "path": path, "type": kind, "depth": depth, "calls": 1, "latency_s": seconds, "replayed_latency_s": None,
            "replayed_latency_s_interval": None, "energy_j": None, "replayed_like": "", "failed": failed,
            "predicted_latency_s": seconds, "predicted_latency_s_interval": [seconds, seconds],
            "predicted_energy_j": 0.01, "predicted_energy_j_interval": [0.0, 1.0], "latency_error": 0.25,
            "latency_inside": True, "energy_error": None, "energy_inside": None,
        }
        for path, kind, depth, seconds, failed in (
            ("", "BertModel", 0, 0.0021, ""), ("encoder", "BertEncoder", 1, 0.0018, "it writes into its inputs"),
        )
    ],
    "trace": None,
    "interrupted": "",
    "notes": ["the weights are random"],
}  # fmt: skip

TRACE: dict[str, Any] = {
    **ANSWER,
    "measured": {**ANSWER["measured"], "energy_j": None, "power_w": None, "relative_error": None, "boundary": None,
                 "reason": "a trace holds no energy"},
    "trials": [], "meters": [],
    "trace": {
        "source": "t.json", "device": "cuda", "iterations": 3, "wall_s": 0.0009, "device_s": 5e-5, "mapped_share": 0.92,
        "unmapped": [{"name": "my_stray_kernel", "kind": "other", "latency_s": 4e-6, "share": 0.08}],
        "unmapped_names": 1, "modules_by": "scopes", "module_share": 0.92, "shapes_recorded": True,
        "kinds": [
            {"kind": "matmul", "pieces": 2.0, "latency_s": 4e-5, "by_kernel_name_s": 0.0, "predicted_latency_s": 3e-5,
             "predicted_latency_s_interval": [2e-5, 5e-5], "latency_error": -0.25, "latency_inside": True},
            {"kind": "copy", "pieces": 0.0, "latency_s": None, "by_kernel_name_s": 0.0, "predicted_latency_s": 1e-6,
             "predicted_latency_s_interval": [0.0, 2e-6], "latency_error": None, "latency_inside": None},
        ],
    },
}  # fmt: skip


def shown(answer: dict[str, Any], width: int = 140, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    console.print(measure.render(answer, **options))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_measured_and_predicted_stand_side_by_side() -> None:
    out = shown(ANSWER)
    line = next(line for line in out.splitlines() if line.startswith("latency"))
    for part in ("2.12 ms", "2.0 to 2.3 ms", "3.18 ms", "2.2 to 8.0 ms", "+50 %", "no"):
        assert part in line
    line = next(line for line in out.splitlines() if line.startswith("energy"))
    for part in ("17.8 mJ", "± 2.0 %", "16.1 mJ", "-10 %", "yes"):
        assert part in line
    assert "num_hidden_layers=2" in out
    assert "the weights are random" in out


def test_boundaries_that_differ_are_said() -> None:
    assert "covers the processor package" in shown(ANSWER)
    assert "not the same thing" in shown(ANSWER)
    same = {**ANSWER, "comparison": {**ANSWER["comparison"], "same_boundary": True}}
    assert "not the same thing" not in shown(same)


def test_modelled_energy_is_called_so() -> None:
    modelled = {**ANSWER, "measured": {**ANSWER["measured"], "provenance": "modelled"}}
    out = shown(modelled)
    assert "energy (modelled)" in out
    assert "not metered" in out


def test_energy_that_is_not_there_is_unavailable_and_never_0() -> None:
    gone = {
        **ANSWER["measured"],
        "energy_j": None,
        "power_w": None,
        "reason": "the sensor is asleep",
    }
    out = shown({**ANSWER, "measured": gone})
    assert "Energy is unavailable: the sensor is asleep." in out
    assert " 0 J" not in out
    assert " 0 W" not in out


def test_trials_show_what_the_device_did_and_their_spread() -> None:
    out = shown(ANSWER)
    assert "61 °C" in out
    assert "1.40 GHz" in out
    assert "drifting" in out
    assert "2.0 %" in next(line for line in out.splitlines() if line.strip().startswith("spread"))
    assert "spread" not in shown({**ANSWER, "trials": ANSWER["trials"][:1]})


def test_every_meter_has_its_row_and_one_that_is_not_there_its_reason() -> None:
    out = shown(ANSWER)
    assert "+100 % (other boundary)" in out
    assert "zeus: not installed; pip install zeus" in out


def test_modules_that_could_not_be_replayed_are_named() -> None:
    assert "not replayed: it writes into its inputs" in shown(ANSWER)


def test_a_trace_says_what_it_could_not_map() -> None:
    out = shown(TRACE)
    assert (
        "92 % of the time is mapped to operators; no operator owns my_stray_kernel (8.0 %)" in out
    )
    assert "matmul" in out
    assert "-25 %" in out
    assert "a trace holds no energy" in out


def test_an_interrupt_is_said() -> None:
    assert "stopped while measuring" in shown({**ANSWER, "interrupted": "stopped while measuring"})


@pytest.mark.parametrize("answer", [ANSWER, TRACE])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_nothing_from_a_model_is_obeyed(answer: dict[str, Any], width: int) -> None:
    for text in NASTY:
        bad = copy.deepcopy(answer)
        bad["model"]["source"] = bad["target"]["label"] = bad["interrupted"] = text
        bad["notes"] = [text]
        bad["dims"] = {text: 1}
        bad["measured"]["reason"] = bad["measured"]["meter"] = text
        for row in bad["modules"]:
            row["path"], row["type"], row["failed"] = text, text, text
        for row in bad["meters"]:
            row["meter"], row["reason"] = text, text
        if bad["trace"]:
            bad["trace"]["unmapped"][0]["name"] = bad["trace"]["kinds"][0]["kind"] = text
        out = shown(bad, width, verbose=True)
        assert not {"\x1b", "\x07", chr(0x202E), chr(0x9B)} & set(out)
        page = measure_html.body(bad)
        assert "<script" not in page
        assert "<img" not in page


def test_the_page_shows_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    page = measure_html.render(ANSWER)
    for part in (
        "2.12 ms",
        "17.8 mJ",
        "encoder",
        "it writes into its inputs",
        "not installed; pip install zeus",
    ):
        assert part in page
    assert page.endswith("</html>\n")


def test_the_page_leaves_out_what_nobody_measured() -> None:
    unmetered = copy.deepcopy(ANSWER)
    for row in (unmetered["measured"], *unmetered["trials"], *unmetered["modules"]):
        row["energy_j"] = None
    page = measure_html.body(unmetered)
    assert page.count("unavailable") == 1 + str(ANSWER).count("unavailable")
    trials = page[page.index("<h2>Trials") :].partition("</thead>")[0]
    assert "latency" in trials
    assert "energy" not in trials


def test_events_of_a_watch_are_lines() -> None:
    expected = Expected(100.0, 90.0, 110.0)
    assert "inside 90 to 110 W" in drift.as_text(Event("reading", 1.0, 100.0, 0), expected)
    assert "outside" in drift.as_text(Event("reading", 1.0, 200.0, 1), expected)
    assert "DRIFT: outside for 3 windows" in drift.as_text(Event("drift", 1.0, 200.0, 3), expected)
    assert "asleep" in drift.as_text(Event("unavailable", 1.0, None, reason="asleep"), expected)
    assert '"event": "drift"' in drift.as_json(Event("drift", 1.0, 200.0, 3), expected)
