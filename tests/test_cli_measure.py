"""`energy-opt measure`: what is asked of the library, and how the answer is written."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

import energy_opt.cli.measure  # noqa: F401 - registers the command
from energy_opt import cli, shell
from energy_opt.errors import MeterError
from energy_opt.measure.drift import Event, Expected
from energy_opt.studies import drift, from_trace, measure
from tests.report.test_measure import ANSWER

Asked = dict[str, Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found: Asked = {}

    def answer(model: Any = None, **options: Any) -> Any:
        found.update(options, model=model)
        return SimpleNamespace(to_dict=lambda: dict(ANSWER), interrupted=found.pop("stop", ""))

    monkeypatch.setattr(measure, "measure_model", answer)
    monkeypatch.setattr(
        from_trace, "from_trace", lambda file, model, **o: answer(model, file=str(file), **o)
    )
    return found


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = shell.run(cli.app, ["measure", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_options_reach_the_library(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "m.onnx", "--target", "cuda:1", "--device", "l4", "--dim", "batch=8", "--meter", "nvml,zeus",
        "--trials", "3", "--seconds", "5", "--cooldown", "2", "--no-compare", "--modules", "--depth", "2",
        "--set", "a=1",
    )  # fmt: skip
    assert code == 0
    assert "2.12 ms" in out
    expected = {
        "model": "m.onnx", "target": "cuda:1", "device": "l4", "dims": {"batch": 8}, "meter": "nvml,zeus", "trials": 3,
        "seconds": 5.0, "cooldown_s": 2.0, "compare": False, "modules": True, "depth": 2, "settings": {"a": "1"},
    }  # fmt: skip
    assert expected.items() <= asked.items()


def test_json_is_only_json_and_notes_go_to_stderr(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, err = run(capsys, "m.onnx", "--format", "json")
    assert json.loads(out)["schema"] == "energy-opt/measurement/1"
    assert "the weights are random" in err


def test_csv_has_a_row_per_module(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "m.onnx", "--format", "csv")
    assert len(out.splitlines()) == 1 + len(ANSWER["modules"])


def test_a_trace_needs_no_model(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--from-trace", "t.json", "--iterations", "4")[0] == 0
    assert (asked["file"], asked["model"], asked["iterations"]) == ("t.json", None, 4)


def test_an_interrupted_measurement_is_written_and_exits_130(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    asked["stop"] = "stopped while measuring"
    code, out, _ = run(capsys, "m.onnx")
    assert code == 130
    assert "2.12 ms" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "MODEL is missing"),
        (["m.onnx", "--watch", "--from-trace", "t.json"], "choose one"),
        (["m.onnx", "--trials", "0"], "--trials"),
        (["m.onnx", "--watch", "--format", "csv"], "--format table or json"),
        (
            ["m.onnx", "--pid", "3", "--rate", "2"],
            "--pid and --rate would do nothing without --watch",
        ),
        (["m.onnx", "--iterations", "3"], "without --from-trace"),
        (["m.onnx", "--depth", "1"], "without --modules or --from-trace"),
    ],
)
def test_usage_errors(
    asked: Asked, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_meter_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(model: str, **options: Any) -> None:
        raise MeterError("meter rapl: no counters")

    monkeypatch.setattr(measure, "measure_model", refuse)
    assert run(capsys, "m.onnx", "--meter", "rapl") == (1, "", "error: meter rapl: no counters\n")


@pytest.mark.parametrize("format", ["table", "json"])
def test_watching_prints_events_until_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    class Watched:
        notes: tuple[str, ...] = ()
        rule = "drift: three windows outside"
        expected = Expected(100.0, 90.0, 110.0)

        def __iter__(self) -> Any:
            yield Event("reading", 1.0, 200.0, 3)
            yield Event("drift", 1.0, 200.0, 3)
            raise KeyboardInterrupt

    monkeypatch.setattr(drift, "watch_job", lambda model, **options: Watched())
    code, out, err = run(capsys, "m.onnx", "--watch", "--format", format)
    assert code == 0
    assert len(out.splitlines()) == 2
    assert ("DRIFT" in out) == (format == "table")
    assert "three windows outside" in err
