from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import energy_opt as eo
from energy_opt import arguments, cli, shell
from energy_opt.errors import DimError, ModelError, UsageError

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
EXAMPLE = ROOT / "examples" / "resnet50.onnx"
Run = Callable[..., "Done"]


class Done(SimpleNamespace):
    code: int
    out: str
    err: str


# The names of the package are looked up in its dict before its lazy `__getattr__`, so that is where stand-ins go.
class Asked(dict[str, Any]):
    """What the command line asked the library for."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The library replaced by a stand-in that answers every model with the analysis of a bert."""
    found = Asked()

    def analyze(graph: str, **options: Any) -> Any:
        found.update(options, model=graph)
        answer = json.loads((DATA / "analysis_bert.json").read_text(encoding="utf-8"))

        def footprint(region: str, requests: float, pue: float | None) -> dict[str, Any]:
            found["footprint"] = (region, requests, pue)
            return {"region": region, "requests": requests, "energy_kwh": 1.0}

        return SimpleNamespace(to_dict=lambda: answer, footprint=footprint)

    monkeypatch.setitem(vars(eo), "analyze", analyze)
    return found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> Done:
        code = shell.run(cli.app, list(arguments))
        out, err = capsys.readouterr()
        return Done(code=code, out=out, err=err)

    return run


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    command = [sys.executable, "-m", "energy_opt", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=120, **options
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("batch", "a size is missing; write --dim NAME=INT, such as --dim batch=8"),
        ("batch=", "a size is missing after '='"),
        ("batch=x", "'x' is not a whole number"),
        ("batch=1.5", "'1.5' is not a whole number"),
        ("batch=1e3", "'1e3' is not a whole number"),
        ("batch=٣", "is not a whole number"),  # an Arabic-Indic three is a digit to str.isdigit
        ("batch=0", "a size is at least 1, not 0"),
        ("batch=-1", "a size is at least 1, not -1"),
        ("batch=00", "a size is at least 1, not 00"),
        ("=3", "a name is missing"),
        ("", "a size is missing"),
        ("batch=" + "9" * 5000, "at most 15 digits"),
    ],
)
def test_a_dim_that_cannot_be_meant_is_explained(given: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        arguments.dims([given])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_dims_are_read() -> None:
    assert arguments.dims(["batch=8", " seq = 128 ", "n=+007"]) == {"batch": 8, "seq": 128, "n": 7}


def test_a_dim_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="already given as 1"):
        arguments.dims(["batch=1", "batch=2"])


def test_options_reach_the_library(run: Run, asked: Asked) -> None:
    done = run("analyze", "m.onnx", "--device", "l4", "--dim", "batch=8", "--dim", "seq=16",
               "--runtime", "graph", "--precision", "fp16", "--strict")  # fmt: skip
    assert done.code == 0
    assert asked == {"model": "m.onnx", "device": "l4", "runtime": "graph", "precision": "fp16",
                     "strict": True, "settings": None, "dims": {"batch": 8, "seq": 16}}  # fmt: skip


def test_the_table_names_the_model_and_the_device(run: Run, asked: Asked) -> None:
    done = run("analyze", "m.onnx", "--device", "t4")
    assert done.code == 0
    assert done.out.startswith("bert-base.onnx on NVIDIA T4\n")
    assert "\x1b" not in done.out
    assert not re.search(r"[ \t]\n", done.out)
    assert done.err == ""


def test_without_a_device_the_assumption_is_said(run: Run, asked: Asked) -> None:
    done = run("analyze", "m.onnx")
    assert asked["device"] == "t4"
    assert "assumed: no --device was given" in done.out
    assert "`energy-opt devices` lists them" in done.out


def test_json_is_only_json_and_remarks_go_to_stderr(run: Run, asked: Asked) -> None:
    done = run("analyze", "m.onnx", "--format", "json")
    answer = json.loads(done.out)
    assert answer["schema"] == "energy-opt/analysis/1"
    assert answer["device"]["assumed"] is True
    assert "no --device was given" in done.err
    assert run("analyze", "m.onnx", "--format", "json", "-q").err == ""


def test_csv_has_a_row_per_op(run: Run, asked: Asked) -> None:
    done = run("analyze", "m.onnx", "--device", "t4", "--format", "csv")
    ops = json.loads((DATA / "analysis_bert.json").read_text(encoding="utf-8"))["ops"]
    assert len(done.out.splitlines()) == 1 + len(ops)


def test_verbose_shows_more_and_quiet_less(run: Run, asked: Asked) -> None:
    normal, more, less = (
        len(run("analyze", "m.onnx", *flags).out.splitlines()) for flags in ([], ["-v"], ["-q"])
    )
    assert less < normal < more


def test_a_page_is_written_whole(run: Run, asked: Asked, tmp_path: Path) -> None:
    done = run("analyze", "m.onnx", "--html", str(tmp_path / "page.html"))
    assert done.code == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8").endswith("</html>\n")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert "page.html" in done.err


def test_a_page_that_cannot_be_written_is_one_error(run: Run, asked: Asked, tmp_path: Path) -> None:
    done = run("analyze", "m.onnx", "--html", str(tmp_path / "no" / "page.html"))
    assert (done.code, done.out) == (1, "")
    assert "make the folder first" in done.err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--region", "germany"], ("germany", 1, None)),
        (["--requests", "1000"], ("world", 1000, None)),
        (["--pue", "1.2", "--region", "france", "--requests", "5"], ("france", 5, 1.2)),
    ],
)
def test_a_footprint_is_asked_for(
    run: Run, asked: Asked, given: list[str], expected: tuple[str, int, float | None]
) -> None:
    done = run("analyze", "m.onnx", *given, "--format", "json")
    assert asked["footprint"] == expected
    assert json.loads(done.out)["footprint"]["region"] == expected[0]


@pytest.mark.parametrize(
    ("error", "code"),
    [(ModelError("m.onnx: no such file"), 1), (DimError("no dim 'x'\x1b[31m"), 2)],
)
def test_an_error_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def analyze(model: str, **options: Any) -> None:
        raise error

    monkeypatch.setitem(vars(eo), "analyze", analyze)
    done = run("analyze", "m.onnx")
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err


def test_a_bug_says_so_and_shows_a_traceback_only_on_demand(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def analyze(model: str, **options: Any) -> None:
        raise ZeroDivisionError("of two\nlines")

    monkeypatch.setitem(vars(eo), "analyze", analyze)
    done = run("analyze", "m.onnx")
    assert done.code == 1
    assert "bug in energy-opt" in done.err
    assert "ZeroDivisionError" in done.err
    assert done.err.count("\n") == 1
    assert "Traceback" in run("analyze", "m.onnx", "-v").err


def test_interrupting_is_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def analyze(model: str, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(vars(eo), "analyze", analyze)
    done = run("analyze", "m.onnx")
    assert (done.code, done.out, done.err) == (130, "", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["analize", "m.onnx"], "'analyze'"),
        (["analyze", "--devise", "t4", "m.onnx"], "--device"),
        (["analyze"], "model"),
        (["analyze", "m.onnx", "--format", "xml"], "'json'"),
        (["analyze", "m.onnx", "--depth", "0"], "--depth"),
        (["analyze", "m.onnx", "--pue", "0.5"], "--pue"),
        (["strip", "m.onnx"], "--output"),
        (["optimize", "m.onnx"], "optimize"),
    ],
)
def test_usage_errors_are_one_line_with_a_hint(run: Run, arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_there_are_no_commands_that_do_nothing(run: Run) -> None:
    names = {
        command.callback.__name__ for command in cli.app.registered_commands if command.callback
    }
    assert names == {"analyze", "calibrate", "devices", "measure", "strip", "doctor"}


def test_version(run: Run) -> None:
    done = run("--version")
    assert (done.code, done.out) == (0, f"energy-opt {eo.__version__}\n")


def test_devices_lists_every_profile(run: Run) -> None:
    done = run("devices", "--format", "json")
    names = [row["name"] for row in json.loads(done.out)["rows"]]
    table = run("devices").out
    assert {"t4", "h100-sxm"} < set(names)
    for name in names:
        assert re.search(rf"^{re.escape(name)} ", table, re.MULTILINE)


def test_one_device_shows_its_sources(run: Run) -> None:
    done = run("devices", "t4")
    assert "Sources" in done.out
    assert "320 GB/s" in done.out
    assert run("devices", "t44").code == 2


def test_doctor_answers(run: Run) -> None:
    done = run("doctor", "--format", "json")
    rows = {row["what"]: row for row in json.loads(done.out)["rows"]}
    assert {"energy-opt", "core", "host"} <= set(rows)
    assert eo.__version__ in run("doctor").out


def test_strip_and_analyze_a_real_model(run: Run, tmp_path: Path) -> None:
    small = tmp_path / "small.onnx"
    done = run("strip", str(EXAMPLE), "-o", str(small))
    assert (done.code, done.out) == (0, "")
    assert "tensors left out" in done.err
    whole = json.loads(run("analyze", str(EXAMPLE), "--device", "t4", "--format", "json").out)
    stripped = json.loads(run("analyze", str(small), "--device", "t4", "--format", "json").out)
    assert stripped["totals"] == whole["totals"]


def test_help_waits_for_nothing_heavy() -> None:
    code = (
        "import sys; from energy_opt import cli, shell; shell.run(cli.app, ['--help']);"
        "heavy = {'numpy', 'onnx', 'onnx_ir', 'sympy', 'pandas', 'plotly', 'scipy', 'pydantic'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stderr == "[]\n"
    assert "analyze" in done.stdout


def test_a_reader_that_leaves_is_no_error() -> None:
    analyze = f'"{sys.executable}" -m energy_opt analyze "{EXAMPLE}" --format json'
    command = analyze + ' | head -n 1; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["{", "0"]
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_error() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "energy_opt", "--version"], stdout=full,
                              stderr=subprocess.PIPE, text=True, cwd=ROOT)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "error: cannot write the answer: no space left on device\n"


def test_a_terminal_without_unicode_gets_ascii() -> None:
    done = process("analyze", str(EXAMPLE), "--device", "t4", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "###" in done.stdout
    assert "5x" in done.stdout


def test_colour_can_be_refused_and_forced() -> None:
    forced = process("devices", "t4", env={"FORCE_COLOR": "1", "NO_COLOR": ""})
    refused = process("devices", "t4", env={"NO_COLOR": "1"})
    assert "\x1b[" in forced.stdout
    assert "\x1b" not in refused.stdout
