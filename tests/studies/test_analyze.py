"""analyze() end to end on the shipped examples: totals, tree, advice, errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import energy_opt as eo
from energy_opt.errors import DeviceError, DimError, ModelError, UsageError


@pytest.fixture(scope="module")
def bert(examples: Path) -> eo.Graph:
    return eo.load(examples / "bert-base.onnx")


def test_totals_of_bert(bert: eo.Graph) -> None:
    totals = eo.analyze(bert, device="t4", batch=8, seq=128).to_dict()["totals"]
    assert totals["parameters"] == 109_482_240  # BertModel with its pooler
    # 12 layers of 4 d^2 + 8 d^2 per token and 2 s^2 d per sequence, and the pooler on one token per sequence
    d, batch, seq = 768, 8, 128
    macs = 12 * (12 * d * d * batch * seq + 2 * seq * seq * d * batch) + d * d * batch
    assert totals["macs"] == macs
    low, high = totals["energy_j_interval"]
    assert low <= totals["energy_j"] <= high
    assert totals["power_w"] <= 70  # the board's cap


def test_parts_sum_to_the_whole(bert: eo.Graph) -> None:
    answer = eo.analyze(bert, device="t4", batch=2, seq=64).to_dict()
    for name in ("energy_j", "latency_s", "macs", "bytes_read", "parameters"):
        whole = answer["totals"][name]
        assert sum(op[name] for op in answer["ops"]) == pytest.approx(whole)
        assert answer["modules"][0][name] == pytest.approx(whole)
    layers = [m for m in answer["modules"] if m["type"] == "BertLayer"]
    assert len(layers) == 12
    assert layers[0]["energy_j"] == pytest.approx(layers[7]["energy_j"], rel=0.01)


def test_dims_left_free_are_one_and_said(bert: eo.Graph) -> None:
    answer = eo.analyze(bert, device="t4", seq=16).to_dict()
    assert answer["dims"] == {"batch": 1, "seq": 16}
    assert answer["dims_info"]["batch"]["defaulted"]
    assert not answer["dims_info"]["seq"]["defaulted"]


def test_an_array_is_the_scalars(bert: eo.Graph) -> None:
    batches = np.array([1, 3, 8])
    together = eo.analyze(bert, device="a100-sxm4-40gb", batch=batches, seq=32).energy_j
    one_by_one = [
        eo.analyze(bert, device="a100-sxm4-40gb", batch=int(b), seq=32).energy_j for b in batches
    ]
    np.testing.assert_allclose(together, one_by_one, rtol=1e-9)


def test_advice_is_what_the_command_it_names_would_say(bert: eo.Graph) -> None:
    base = eo.analyze(bert, device="t4", batch=1, seq=128)
    advice = base.to_dict()["advice"]
    assert 1 <= len(advice) <= 3
    by_title = {a["title"]: a for a in advice}
    half = next(a for title, a in by_title.items() if "fp16" in title)
    other = eo.analyze(bert, device="t4", precision="fp16", batch=1, seq=128)
    assert half["saving_j"] == pytest.approx(base.energy_j - other.energy_j)
    assert "--precision fp16" in half["command"]


def test_half_precision_is_not_advised_where_it_is_used_already(bert: eo.Graph) -> None:
    advice = eo.analyze(bert, device="t4", precision="fp16", batch=8, seq=128).to_dict()["advice"]
    assert not any("fp16" in a["title"] for a in advice)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "t5"}, DeviceError, "t4"),
        ({"runtime": "tensorflow"}, UsageError, "onnxruntime"),
        ({"precision": "fp7"}, UsageError, "fp16"),
        ({"sequence": 8}, DimError, "seq"),
        ({"devices": "t4"}, DimError, "did you mean device"),
        ({"device": 3}, DeviceError, "device is an int"),
        ({"device": None}, DeviceError, "device is None"),
        ({"runtime": 3}, UsageError, "eager, graph, onnxruntime"),
        ({"dims": [8]}, DimError, "sizes by name"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(
    bert: eo.Graph, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        eo.analyze(bert, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (42, r"builtins\.int"),
        (None, "NoneType"),
        (len, "forward method of a torch.nn.Module"),
        ({"weight": 1}, "weights alone do not say what is computed"),
        (dict, "cannot load the class"),
        ("", "the name of the model is empty"),
        ("nets/small.py", "python:small:FUNCTION"),
    ],
)
def test_what_cannot_be_loaded_is_said(model: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        eo.analyze(model)


@pytest.mark.parametrize("name", ["bert", "bert-base-uncased", "BERT"])
def test_a_bare_name_that_is_no_file_may_be_an_architecture(name: str) -> None:
    with pytest.raises(ModelError, match=f"{name}: no such file.* write hf:bert"):
        eo.load(name)


def test_advice_names_the_device_as_it_was_named(bert: eo.Graph, tmp_path: Path) -> None:
    profile = tmp_path / "my card.json"
    profile.write_text(
        json.dumps(eo.Device.load("t4").model_dump(mode="json", exclude_unset=True, by_alias=True))
    )
    advice = eo.analyze(bert, device=str(profile), batch=8, seq=128).to_dict()["advice"]
    assert all(f"--device '{profile}'" in step["command"] for step in advice)


def test_a_batch_that_does_not_fit_is_not_advised(bert: eo.Graph) -> None:
    small = eo.Device.load("t4").model_copy(
        update={"memory_bytes": 4.5e8}
    )  # bert and 8 sequences: 4.7e8
    for device, advised in ((eo.Device.load("t4"), True), (small, False)):
        advice = eo.analyze(bert, device=device, batch=1, seq=128).to_dict()["advice"]
        assert any("samples at once" in step["title"].lower() for step in advice) == advised
