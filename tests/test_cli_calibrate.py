"""`energy-opt calibrate` and `energy-opt devices NAME`, as typed."""

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

from energy_opt import arguments, cli, shell
from energy_opt.calibrate import run as calibrate_run
from energy_opt.calibrate.visits import Progress
from energy_opt.errors import UsageError
from energy_opt.estimators.device import Calibration, Device
from energy_opt.report.calibration import Bar
from tests.calibrate.made_table import write

Run = Callable[..., Any]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: str) -> Any:
        code = shell.run(cli.app, list(arguments))
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    monkeypatch.setenv("COLUMNS", "140")
    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile from a table, made as a user makes it, with the table beside it."""
    folder = tmp_path_factory.mktemp("cli")
    table = write(folder / "kernels.csv", 24)
    arguments = [
        "calibrate",
        "--from-table",
        str(table),
        "--spec",
        "v100-sxm2-32gb",
        "-o",
        str(folder / "v.json"),
    ]
    assert shell.run(cli.app, [*arguments, "--source", "made up"]) == 0
    return folder / "v.json"


def test_a_table_becomes_a_profile_that_predicts(made: Path, run: Run, examples: Path) -> None:
    done = run(
        "analyze", str(examples / "resnet50.onnx"), "--device", str(made), "--format", "json"
    )
    assert done.code == 0
    kinds = {(op["kind"], op["provenance"]) for op in json.loads(done.out)["ops"]}
    assert ("matmul", "fitted") in kinds
    assert ("conv", "datasheet") in kinds


def test_errors_are_printed_and_the_rest_is_said(tmp_path: Path, run: Run) -> None:
    table = write(tmp_path / "t.csv", 20, metered=False)
    target = tmp_path / "t4.json"
    done = run("calibrate", "--from-table", str(table), "--spec", "l4", "-o", str(target))
    assert done.code == 0
    assert re.search(r"matmul, single +float32 +latency +fitted +[\d.]+ %", done.out)
    assert "not measured: conv, attention" in done.err
    assert "energy in float32 was not measured" in done.err
    assert f"wrote {target}" in done.err
    again = run("calibrate", "--from-table", str(table), "--spec", "l4", "-o", str(target))
    assert again.code == 2
    assert "--fresh" in again.err
    fresh = run(
        "calibrate",
        "--from-table",
        str(table),
        "--spec",
        "l4",
        "-o",
        str(target),
        "--fresh",
        "--format",
        "json",
    )
    answer = json.loads(fresh.out)
    assert answer["schema"] == "energy-opt/calibration/1"
    assert {row["quantity"] for row in answer["fits"]} == {"latency"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "x.txt"], ".json"),
        (["-o", "x.json", "--from-table", "t.csv"], "--spec"),
        (["-o", "x.json", "--from-table", "t.csv", "--for", "hf:bert", "--budget", "3m"], "--budget and --for"),
        (["-o", "x.json", "--from-table", "absent.csv", "--spec", "l4"], "absent.csv"),
        (["-o", "x.json", "--from-table", "absent.csv", "--spec", "t44"], "did you mean"),
        (["-o", "x.json", "--source", "me"], "--source"),
        (["-o", "x.json", "--budget", "3"], "90s, 3m or 1h30m"),
        (["-o", "x.json", "--meter", "modelled"], "nothing to fit"),
        (["-o", "x.json", "--meter", "voltmeter"], "voltmeter"),
        (["-o", "x.json", "--target", "tpu"], "tpu"),
        (["-o", "x.json", "--spec", "t44"], "did you mean"),
        ([], "-o"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("calibrate", *arguments)
    assert done.code in (1, 2)
    assert said in done.err
    assert done.err.startswith("error: ")
    assert "bug" not in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("3m", 180), ("1h30m", 5400), ("1.5s", 1.5), (" 2M ", 120)]
)
def test_durations(text: str, seconds: float) -> None:
    assert arguments.duration_s("--budget", text) == seconds


@pytest.mark.parametrize("text", ["", "3", "0s", "m", "3 m", "-3m", "3d", "1m1h", "1e3s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageError, match="--budget"):
        arguments.duration_s("--budget", text)


def test_this_machine_is_calibrated_with_what_was_asked(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path
) -> None:
    asked: dict[str, Any] = {}

    def calibrate(target: str, **options: Any) -> Device:
        asked.update(options, target=target)
        options["progress"](Progress("timing", "linear float32", 3, 10, 1.0, 7.0))
        found = Device.load(made)
        notes = (*found.notes, "interrupted: made from what had been timed until then")
        return found.model_copy(update={"calibration": Calibration(partial=True), "notes": notes})

    monkeypatch.setattr(calibrate_run, "calibrate_device", calibrate)
    out = tmp_path / "here.json"
    done = run(
        "calibrate", "-o", str(out), "--target", "cuda:1", "--budget", "2m", "--for", "hf:bert", "--for", "a.onnx",
        "--dtype", "float16", "--seed", "3", "--force", "--meter", "none",
    )  # fmt: skip
    assert done.code == 130  # Ctrl-C: what follows in a script must not run
    assert asked["target"] == "cuda:1"
    assert asked["budget_s"] == 120
    assert list(asked["models"]) == ["hf:bert", "a.onnx"]
    assert asked["dtypes"] == ["float16"]
    assert asked["seed"] == 3
    assert asked["force"] is True
    assert asked["resume"] is True
    assert asked["meter"].name == "none"
    assert "interrupted: made from what had been timed" in done.err
    assert "the same command" not in done.err  # the line above says how to go on
    assert "Timing" not in done.err  # no bar in a pipe


def test_the_bar_says_what_is_timed_and_how_long_it_will_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a terminal
    monkeypatch.setenv("COLUMNS", "100")
    with Bar() as bar:
        bar(Progress("timing", "linear\x1b[31m float32", 3, 10, 1.0, 200.0))
        bar._bar.refresh()
    out, err = capsys.readouterr()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err)
    assert out == ""
    assert "Timing linear\\x1b[31m float32" in shown
    assert "3 timed" in shown
    assert "3.33 min left" in shown
    assert "of 10" not in shown  # a budget ends before all that could be timed is


# -- devices NAME ------------------------------------------------------------------------------------------------------


def test_a_fitted_profile_is_shown_in_units_with_errors_and_provenance(
    run: Run, made: Path
) -> None:
    done = run("devices", str(made))
    assert done.code == 0
    assert re.search(r"linear|roofline", done.out)
    assert re.search(r"matmul, single +float32 +energy +fitted", done.out)
    assert re.search(r"start_s [\d.]+ µs", done.out)
    assert re.search(r"flop_j [\d.]+ \wJ/FLOP", done.out)
    assert re.search(r"base_w [\d.]+ W", done.out)
    assert "kernels.csv" in done.out
    assert "made up" in done.out
    assert re.search(r"matmul +fitted, fitted +datasheet, modelled", done.out)
    for line in run("devices", str(made), "-v").out.splitlines():
        assert "\x1b" not in line


def test_a_datasheet_profile_shows_what_prices_it(run: Run) -> None:
    done = run("devices", "h200-sxm")
    assert "pJ/FLOP" in done.out
    assert "pJ/byte" in done.out
    assert re.search(r"Shares of the datasheet's peaks", done.out)


def test_json_of_a_device_holds_its_fits(run: Run, made: Path) -> None:
    row = json.loads(run("devices", str(made), "--format", "json").out)["rows"][0]
    assert {fit["kind"] for fit in row["fits"]} >= {"matmul", "elementwise"}
    coefficient = row["fits"][0]["coefficients"][0]
    assert set(coefficient) >= {"name", "value", "unit", "interval", "meaning"}
    assert row["calibration"]["points"] == 72
    names = {(cell["kind"], cell["dtype"]): cell["latency"] for cell in row["coverage"]}
    assert names["matmul", "float32"] == "fitted"
    assert names["matmul", "float16"] == "datasheet"


def test_the_plot_is_one_file(run: Run, made: Path, tmp_path: Path) -> None:
    page = tmp_path / "plot.html"
    done = run("devices", str(made), "--plot", str(page))
    assert done.code == 0
    assert f"wrote {page}" in done.err
    assert page.stat().st_size > 1e6  # plotly is inside
    alone = tmp_path / "alone.json"
    alone.write_bytes(made.read_bytes())
    refused = run("devices", str(alone), "--plot", str(page))
    assert refused.code == 1
    assert "--samples FILE" in refused.err
    given = run(
        "devices", str(alone), "--plot", str(page), "--samples", str(made.parent / "kernels.csv")
    )
    assert given.code == 0


@pytest.mark.parametrize(
    "arguments",
    [["--plot", "x.html"], ["--samples", "x.csv"], ["l4", "--samples", "x.csv"], ["xeon-skylake", "--plot", "x.html"]],
)  # fmt: skip
def test_plots_of_nothing_are_refused(run: Run, arguments: list[str]) -> None:
    done = run("devices", *arguments)
    assert done.code in (1, 2)
    assert done.err.startswith("error: ")


# -- converters --------------------------------------------------------------------------------------------------------

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
NEUSIGHT = """op,device,lat_ms,B,H,kernel,split,M,N,K,Cin,Cout,R,HW,stride,pad
add,T4,0.03,4,8,k,t,,,,,,,,,
addu,T4,0.03,4,8,k,t,,,,,,,,,
ln,T4,0.03,4,8,k,t,,,,,,,,,
linear,T4,0.5,2,,k,t,3,16,8,,,,,,
bmm,T4,0.5,2,,k,t,3,16,8,,,,,,
conv,T4,0.7,1,,k,t,,,,2,4,3,5,2,1
add,V100,9,4,8,k,t,,,,,,,,,
"""
VIDUR = """device,n_head,n_kv_head,n_embd,n_expanded_embd,use_gated_mlp,num_tokens,num_tensor_parallel_workers,op,lat_ms
A40,4,2,16,32,True,5,2,attn_pre_proj,0.1
A40,4,2,16,32,True,5,2,mlp_up_proj,0.1
A40,4,2,16,32,True,5,2,mlp_down_proj,0.1
A40,4,2,16,32,True,5,2,mlp_act,0.1
A40,4,2,16,32,True,5,2,input_layernorm,0.1
A40,4,2,16,32,True,5,2,emb,0.1
A40,4,2,16,32,True,5,2,attn_rope,0.1
"""
DEEPBENCH = """file,sheet,M,N,K,Time (msec),Sparsity,W,H,C,R (Filter height),S (Filter width),pad_w,pad_h,\
Vertical stride,Horizontal stride,Forward (msec),P,Q
train/DeepBench_NV_V100.xlsx,Results FP32,8,3,16,0.2,,,,,,,,,,,,,
train/DeepBench_NV_V100.xlsx,Results FP32,8,3,16,0.2,0.9,,,,,,,,,,,,
train/DeepBench_NV_V100.xlsx,"Results - FP16 ip, Mixed math",8,3,16,0.1,,,,,,,,,,,,,
train/DeepBench_NV_V100.xlsx,Results FP32,,1,4,,,7,5,2,3,2,0,0,1,2,0.4,3,3
train/DeepBench_NV_V100.xlsx,Results FP32,,1,4,,,7,5,2,3,2,0,0,1,2,0.4,9,9
train/DeepBench_NV_P100.xlsx,Results FP32,8,3,16,0.2,,,,,,,,,,,,,
"""


def convert(tmp_path: Path, script: str, name: str, content: str, device: str, *more: str) -> Any:
    (tmp_path / name).write_text(content, encoding="utf-8")
    command = [
        sys.executable,
        str(BENCHMARKS / script),
        "--data",
        str(tmp_path),
        "--device",
        device,
        "-o",
    ]
    return subprocess.run(
        [*command, str(tmp_path / "out.csv"), *more], capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)},
    )  # fmt: skip


def counts(path: Path) -> dict[str, tuple[float, ...]]:
    from energy_opt.calibrate import table

    return {
        part.op: (
            float(part.work.matmul_flops[0]), float(part.work.bytes[0]), float(part.latency_s[0]), len(part)
        )
        for part in table.read(path)
    }  # fmt: skip


def test_neusight_is_converted(tmp_path: Path) -> None:
    done = convert(tmp_path, "convert_neusight.py", "neusight_ops_fp32_x.csv", NEUSIGHT, "t4")
    assert done.returncode == 0, done.stderr
    found = counts(tmp_path / "out.csv")
    # x[2, 3, 16] by w[16, 8]: linear has one w and a bias, bmm two w; FLOPs 2*2*3*16*8
    assert found["linear"] == (1536, 4 * (96 + 128 + 8 + 48), pytest.approx(5e-4), 1)
    assert found["bmm"] == (1536, 4 * (96 + 256 + 48), pytest.approx(5e-4), 1)
    assert found["conv2d"] == (
        2 * 9 * 4 * 18,
        4 * (50 + 72 + 36),
        pytest.approx(7e-4),
        1,
    )  # 3x3 positions
    assert found["add"] == (
        0,
        3 * 128,
        pytest.approx(3e-5),
        2,
    )  # the first of two and of one operand
    assert found["layer_norm"] == (0, 2 * 128 + 64, pytest.approx(3e-5), 1)
    wrong = convert(tmp_path, "convert_neusight.py", "neusight_ops_fp32_x.csv", NEUSIGHT, "T5")
    assert wrong.returncode == 2
    assert "T4, V100" in wrong.stderr


def test_vidur_is_converted(tmp_path: Path) -> None:
    done = convert(tmp_path, "convert_vidur.py", "vidur_mlp_ops_fp16_x.csv", VIDUR, "A40")
    assert done.returncode == 0, done.stderr
    assert "6 rows of A40, 1 left out" in done.stderr
    from energy_opt.calibrate import table

    found = {part.op: part for part in table.read(tmp_path / "out.csv")}
    # 5 tokens; width 16 with 4 + 2*2 heads of 4 over 2 workers: 16; the MLP's 2*32/2 up and 32/2 down
    shapes = {tuple(found["linear"].work.sizes[n][i] for n in "mnk") for i in range(3)}
    assert shapes == {(5, 16, 16), (5, 32, 16), (5, 16, 16)}
    # silu(gate) * up: reads two of 5*16, writes one
    assert (found["silu"].work.bytes_read[0], found["silu"].work.bytes_written[0]) == (320, 160)


def test_deepbench_is_converted(tmp_path: Path) -> None:
    done = convert(tmp_path, "convert_deepbench.py", "deepbench_x.csv", DEEPBENCH, "V100")
    assert done.returncode == 0, done.stderr
    found = counts(tmp_path / "out.csv")
    assert found["matmul"] == (2 * 8 * 3 * 16, 4 * (48 + 128 + 24), pytest.approx(2e-4), 1)
    # 5x7 by 3 high, 2 wide, in steps of 1 down and 2 across: 3x3 positions; the other row's result is not of its sizes
    assert found["conv2d"][0] == 2 * 9 * 4 * 2 * 6
    assert found["conv2d"][3] == 1
    half = convert(
        tmp_path, "convert_deepbench.py", "deepbench_x.csv", DEEPBENCH, "V100", "--dtype", "float16"
    )
    assert half.returncode == 0, half.stderr
    assert counts(tmp_path / "out.csv")["matmul"][1] == 2 * (48 + 128 + 24)
