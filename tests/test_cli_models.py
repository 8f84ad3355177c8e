"""MODEL and --set on the command line: configs and callables priced like files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from energy_opt import arguments, shell
from energy_opt.cli import app
from energy_opt.errors import UsageError

pytest.importorskip("torch")
pytest.importorskip("transformers")

_TINY = ["num_hidden_layers=2", "hidden_size=32", "num_attention_heads=4", "intermediate_size=64"]
_SET = [part for each in _TINY for part in ("--set", each)]


def test_a_config_is_priced_and_its_advice_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    spec = " ".join(["hf:bert", *_SET])
    code = shell.run(app, ["analyze", *spec.split(), "--dim", "batch=2", "--format", "json"])
    answer = json.loads(capsys.readouterr().out)
    assert code == 0
    assert answer["model"]["source"] == spec
    assert answer["dims"] == {"batch": 2, "seq": 128}
    # A layer, for each token: 4 projections of 32 x 32, 2 of 32 x 64, scores and values of 128 x 32; the pooler once.
    per_token = 2 * (4 * 32 * 32 + 2 * 32 * 64 + 2 * 128 * 32)
    assert answer["totals"]["macs"] == 2 * (128 * per_token + 32 * 32)
    assert answer["advice"]
    for advice in answer["advice"]:
        assert advice["command"].startswith(f"energy-opt analyze {spec} --device ")


def test_a_callable_is_priced(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "priced_by_test.py").write_text(
        "import torch\n"
        "def make(width):\n"
        "    return torch.nn.Linear(4, width, bias=False), torch.zeros(3, 4)\n"
    )
    source = "python:priced_by_test:make"
    assert shell.run(app, ["analyze", source, "--set", "width=5", "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["model"]["source"] == f"{source} --set width=5"
    assert answer["totals"]["macs"] == 3 * 4 * 5


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["hf:bert", "--set", "hiden_size=8"], 2, "did you mean hidden_size"),
        (["hf:bert", "--set", "x"], 2, "write --set KEY=VALUE"),
        (["hf:lama"], 2, "hf:llama"),
        (["python:math:squirt"], 2, "did you mean sqrt"),
        (["python:json:dumps"], 2, "it needs obj"),
    ],
)
def test_refusals_are_one_line(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.run(app, ["analyze", *arguments]) == code
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert says in said.err


def test_settings_are_key_and_value() -> None:
    assert arguments.settings(["a=1", "b.c=x=y", "d="]) == {"a": "1", "b.c": "x=y", "d": ""}
    for bad in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(UsageError, match="--set"):
            arguments.settings(bad)
