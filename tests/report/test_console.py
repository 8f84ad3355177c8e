from __future__ import annotations

import io
import unicodedata
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from energy_opt.report import console


def shown(analysis: dict[str, Any], width: int = 80, **options: Any) -> str:
    screen = Console(file=io.StringIO(), width=width, force_terminal=False, highlight=False)
    with screen.capture() as capture:
        screen.print(console.render(analysis, **options))
    return capture.get()


def section(text: str, title: str) -> list[str]:
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(title))
    inside = lines[start + 1 :]
    return inside[: next((i for i, line in enumerate(inside) if not line.strip()), len(inside))]


@pytest.mark.parametrize("width", [20, 40, 80, 100, 132, 250])
def test_no_line_is_wider_than_the_terminal(analysis: dict[str, Any], width: int) -> None:
    assert max(cell_len(line) for line in shown(analysis, width).splitlines()) <= width


def test_totals_have_units_and_intervals(bert: dict[str, Any]) -> None:
    bert["totals"].update(latency_s=0.0535, latency_s_interval=[0.032, 0.1])
    bert["totals"].update(energy_j=1.717, energy_j_interval=[0.86, 3.3], power_w=32.1)
    lines = [" ".join(line.split()) for line in section(shown(bert), "One inference")]
    assert lines[0] == "latency 53.5 ms 32 to 100 ms (90 % interval)"
    assert lines[1] == "energy 1.72 J 0.86 to 3.3 J"
    assert lines[2] == "mean power 32.1 W of 70.0 W at most"
    # 1.717 J over 8 sentences, and over 8 * 128 tokens
    assert lines[3] == "energy per item 215 mJ"
    assert lines[4] == "energy per token 1.68 mJ"


def test_the_layers_are_one_line_unless_verbose(bert: dict[str, Any]) -> None:
    folded = section(shown(bert), "Where the energy goes")
    assert sum("(12×)" in line for line in folded) == 1
    everything = section(shown(bert, verbose=True), "Where the energy goes")
    assert sum(line.strip().startswith(("layer.11 ", "11 ")) for line in everything) == 1


def test_depth_limits_the_tree(resnet50: dict[str, Any]) -> None:
    one = section(shown(resnet50, depth=1), "Where the energy goes")
    two = section(shown(resnet50, depth=2), "Where the energy goes")
    indents = {len(line) - len(line.lstrip()) for line in one[1:]}
    assert indents == {2}
    assert {len(line) - len(line.lstrip()) for line in two[1:]} == {2, 4}


@pytest.mark.parametrize("name", ["bert", "resnet50"])
def test_the_tree_is_sorted_by_energy_and_fits_a_page(
    name: str, request: pytest.FixtureRequest
) -> None:
    lines = section(shown(request.getfixturevalue(name)), "Where the energy goes")
    assert len(lines) <= 30
    shares = [float(line.split("%")[0].split()[-1].lstrip("<")) for line in lines[1:]]
    top = [
        share for share, line in zip(shares, lines[1:], strict=True) if not line.startswith("   ")
    ]
    assert top == sorted(top, reverse=True)


def test_what_was_not_given_is_said(resnet50: dict[str, Any]) -> None:
    text = " ".join(shown(resnet50).split())
    assert "batch = 1 (not given)" in text
    assert "set it with --dim batch=N" in text


def test_a_datasheet_never_looks_measured(bert: dict[str, Any]) -> None:
    text = " ".join(shown(bert).split())
    assert "predicted from datasheet facts, not measured on this device" in text
    bert["device"]["provenance"] = "measured"
    assert "datasheet facts" not in shown(bert)


def test_ops_without_a_rule_are_named_and_counted(bert: dict[str, Any]) -> None:
    assert "all 610 ops are modelled" in shown(bert)
    bert["coverage"] = {"ops": 610, "modelled": 607, "unmodelled": {"FooBar": 2, "Qux": 1}}
    text = " ".join(shown(bert).split())
    assert "607 of 610 ops are modelled" in text
    assert "FooBar (2), Qux (1)" in text


def test_five_ops_with_what_bounds_them(bert: dict[str, Any]) -> None:
    lines = section(shown(bert), "Most expensive ops")
    rows = [line for line in lines if line.rstrip().endswith(("compute", "memory", "launch"))]
    assert len(rows) == 5
    assert lines[-1].strip().startswith("compute: ")


def test_next_steps_show_their_saving(bert: dict[str, Any]) -> None:
    lines = section(shown(bert), "What would help")
    assert lines[0].split(maxsplit=1)[1].rstrip() == "Run it in float16  saves 550 mJ (54 %)"


def test_in_service(resnet50: dict[str, Any]) -> None:
    lines = [" ".join(line.split()) for line in section(shown(resnet50), "In service")]
    assert lines == [
        "inferences 1,000,000",
        "electricity 23.1 Wh 12 to 44 Wh; PUE 1.2",
        "emissions 9.20 g CO2e germany, 380 g/kWh",
        "cost 0.0042 USD 0.2 USD/kWh",
    ]


def test_quiet_keeps_totals_and_provenance(bert: dict[str, Any]) -> None:
    text = shown(bert, quiet=True)
    assert "One inference" in text
    assert "Coverage" in text
    assert "By kind" not in text


@pytest.mark.parametrize("verbose", [False, True])
def test_nothing_from_a_model_reaches_the_terminal_raw(
    hostile: dict[str, Any], verbose: bool
) -> None:
    text = shown(hostile, 250, verbose=verbose)
    bad = [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")]
    assert bad == []
    assert "[red]evil\\x1b[2J.onnx" in text  # markup is text


def test_markup_in_names_is_not_obeyed(hostile: dict[str, Any]) -> None:
    screen = Console(file=io.StringIO(), width=250, force_terminal=True, color_system="truecolor")
    screen.print(console.render(hostile, verbose=True))
    output = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]markup[/red] [link=http://x.invalid]" in output
    assert "\x1b]8;" not in output  # no hyperlink


@pytest.mark.parametrize("missing", ["modules", "kinds", "ops", "advice", "notes", "dims", "dims_info",
                                     "coverage", "device", "totals", "interval_level"])  # fmt: skip
def test_a_part_may_be_missing(bert: dict[str, Any], missing: str) -> None:
    del bert[missing]
    assert "bert-base.onnx" in shown(bert)


def test_an_empty_model_has_a_report() -> None:
    zero = {"latency_s": 0.0, "energy_j": 0.0, "macs": 0, "latency_s_interval": [0.0, 0.0]}
    text = shown(
        {"model": {"source": "empty.onnx"}, "totals": zero, "modules": [{"path": "", **zero}]}
    )
    assert "0 J" in text
    assert "nan" not in text


def test_settings_stand_below_the_title_and_are_never_cut(bert: dict[str, Any]) -> None:
    keys = [f"number_of_things_{i}={i}" for i in range(12)]
    bert["model"]["source"] = " --set ".join(["models/hf/bert", *keys])
    lines = shown(bert).splitlines()
    assert lines[0] == "bert on NVIDIA T4"
    text = " ".join(shown(bert).split())
    assert f"with {', '.join(keys)}" in text


def test_the_command_of_an_advice_is_whole(bert: dict[str, Any]) -> None:
    command = "energy-opt analyze hf:llama " + " ".join(f"--set key_{i}={i}" for i in range(60))
    bert["advice"] = [{"title": "do this", "command": command}]
    assert command in " ".join(shown(bert).split())


def test_formulas_name_the_dims_that_are_in_them_and_those_that_are_fixed(
    bert: dict[str, Any],
) -> None:
    # At batch = 1 other operators run than elsewhere: these formulas hold for no other batch.
    bert["dims"] = {"batch": 1, "seq": 128}
    bert["dims_info"] = {name: {"defaulted": True} for name in ("batch", "seq")}
    bert["formulas"] = {"matmul_flops": "16*seq**2", "bytes_read": "4*batch_norm + seq"}
    assert "For any seq, where batch = 1" in shown(bert)
    # A dim that was given is as free in the formulas as one that was not.
    bert["dims_info"]["batch"]["defaulted"] = False
    bert["formulas"] = {"matmul_flops": "16*batch*seq**2"}
    assert "For any batch, seq" in shown(bert)


def test_modules_that_cost_nothing_have_no_line(bert: dict[str, Any]) -> None:
    free = {name: 0.0 for name in bert["modules"][0] if isinstance(bert["modules"][0][name], float)}
    bert["modules"].append({**bert["modules"][-1], **free, "path": "dropout", "type": "Dropout"})
    top = section(shown(bert), "Where the energy goes")
    assert not any("0 J" in line for line in top)


def test_a_module_in_memory_has_no_options_of_a_command_line(bert: dict[str, Any]) -> None:
    bert["model"]["source"], bert["advice"] = "Net in memory", []
    for info in bert["dims_info"].values():
        info["defaulted"] = True
    text = " ".join(shown(bert).split())
    assert text.startswith("Net on NVIDIA T4")
    assert "pass batch=N" in text
    assert "--dim" not in text
