"""analyze() of PyTorch modules: inputs, defaults, and advice that can be called."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import energy_opt as eo  # noqa: E402
from energy_opt.errors import UsageError  # noqa: E402
from energy_opt.report import text  # noqa: E402


def module(width: int = 64) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


def test_a_module_has_the_size_of_its_inputs_until_another_is_given() -> None:
    assert eo.analyze(module(), torch.zeros(4, 64)).macs == 4 * 2 * 64 * 64
    assert eo.analyze(module(), torch.zeros(4, 64), batch=8).macs == 8 * 2 * 64 * 64


def test_a_module_runs_eagerly_unless_said_otherwise() -> None:
    assert eo.analyze(module(), torch.zeros(4, 64)).runtime.name == "eager"
    assert eo.analyze(module(), torch.zeros(4, 64), runtime="graph").runtime.name == "graph"
    with pytest.raises(UsageError, match="onnxruntime"):
        eo.analyze(module(), torch.zeros(4, 64), runtime="onnxruntime")


@pytest.mark.parametrize("device", ["t4", eo.Device.load("t4")])
def test_a_device_in_the_place_of_the_inputs_is_understood_and_refused(device: Any) -> None:
    with pytest.raises(UsageError, match=r"analyze\(model, device='t4'\)"):
        eo.analyze(module(), device)


def test_advice_for_a_module_is_a_call_that_says_what_it_promises() -> None:
    model, inputs = module(1024), torch.zeros(512, 1024)
    base = eo.analyze(model, inputs, device="t4")
    # More samples at once save energy per sample, so that their saving is no difference of two totals.
    advice = [step for step in base.advice if "samples" not in step["title"]]
    assert advice
    for step in advice:
        there = eval(step["command"], {"energy_opt": eo, "model": model, "inputs": inputs})
        assert base.energy_j - there.energy_j == pytest.approx(step["saving_j"])


def test_advice_for_a_config_is_a_command_with_its_settings() -> None:
    pytest.importorskip("transformers")
    settings = {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 4}
    found = eo.analyze("hf:bert", settings=settings, device="t4", seq=16)
    words = shlex.split(found.advice[0]["command"])
    assert words[:5] == ["energy-opt", "analyze", "hf:bert", "--set", "num_hidden_layers=1"]
    assert text.model_name(found.to_dict()) == "hf:bert"
    assert text.settings(found.to_dict()) == [f"{key}={value}" for key, value in settings.items()]


def test_a_module_shows_itself_in_a_notebook() -> None:
    page = eo.analyze(module(), torch.zeros(4, 64))._repr_html_()
    assert "<h1>Sequential <span>on NVIDIA T4" in page
    assert "pass batch=N" in page
    assert "--dim" not in page


def test_a_module_without_inputs_is_asked_for_them() -> None:
    with pytest.raises(UsageError, match="Sequential needs example inputs"):
        eo.analyze(module())
    with pytest.raises(UsageError, match=r"Linear is a class; .* load\(Linear\(...\), inputs\)"):
        eo.load(nn.Linear, torch.zeros(4, 64))
    with pytest.raises(UsageError, match=r"hold int and no torch.Tensor"):
        eo.load(nn.Linear(4, 4), (4,))


def compiled(model: nn.Module) -> Any:
    return torch.compile(model, backend="eager")  # the default one is slow to import


def test_wrappers_are_looked_through_and_said() -> None:
    plain = eo.analyze(module(), torch.zeros(4, 64))
    for wrapper, says in ((nn.DataParallel, "one device"), (compiled, "runtime='graph'")):
        found = eo.analyze(wrapper(module()), torch.zeros(4, 64))
        assert found.workload.source == "Sequential in memory"
        assert [row["path"] for row in found.modules()] == [row["path"] for row in plain.modules()]
        assert any(says in note for note in found.workload.notes)
