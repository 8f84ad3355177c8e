"""measure_model: the measurement beside the prediction. Times are never asserted, only what belongs together."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from energy_opt.errors import DeviceError, DimError, MeterError, ModelError, UsageError  # noqa: E402
from energy_opt.frontend.strip import strip  # noqa: E402
from energy_opt.measure.runners import target as targets  # noqa: E402
from energy_opt.measure.runners.target import Target  # noqa: E402
from energy_opt.studies import measure, runnable  # noqa: E402
from energy_opt.studies.measure import measure_model  # noqa: E402
from energy_opt.studies.measurement import Measurement, compared, module_rows  # noqa: E402
from tests.measure.fakes import ConstantPower  # noqa: E402
from tests.measure.runners.test_ort import WIDE, written  # noqa: E402

QUICK: dict[str, Any] = {"seconds": 0.02, "device": "xeon-ice-lake@2"}


class RealTime:
    now = property(lambda self: time.perf_counter(), lambda self, value: None)


class Wall(ConstantPower):
    """A meter on the real clock that always sees the same power."""

    def __init__(self, power_w: float | None) -> None:
        super().__init__(RealTime(), power_w)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))


def test_latency_energy_and_prediction_stand_side_by_side() -> None:
    meter = Wall(20.0)
    found = measure_model(net(), torch.randn(4, 16), meter=meter, **QUICK)
    answer = found.to_dict()
    assert answer["schema"] == "energy-opt/measurement/1"
    assert answer["dims"] == {"batch": 4}
    calls = answer["trials"][0]["metered_calls"]
    assert found.energy_j == pytest.approx(
        20.0 * meter.windows[0].seconds / calls
    )  # all that was metered, shared out
    assert answer["measured"]["boundary"] == "board"
    low, high = answer["measured"]["latency_s_interval"]
    assert low <= answer["measured"]["latency_s"] <= high
    assert answer["predicted"]["device"] == "xeon-ice-lake@2"
    expected = answer["predicted"]["latency_s"] / answer["measured"]["latency_s"] - 1
    assert answer["comparison"]["latency_error"] == pytest.approx(expected)
    assert answer["comparison"]["metered"] is True
    assert (
        answer["comparison"]["same_boundary"] is False
    )  # a board's meter, a processor's prediction


def test_other_sizes_are_run_and_predicted_alike() -> None:
    seen = []

    class Seen(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape))
            return super().forward(x)

    found = measure_model(Seen(16, 4), torch.randn(4, 16), meter="none", batch=7, **QUICK)
    assert found.dims == {"batch": 7}
    assert seen[-1] == (7, 16)
    assert found.estimate is not None
    assert found.estimate.macs == 7 * 16 * 4


def test_the_users_module_is_left_as_it_was() -> None:
    model = net().train()
    before = copy.deepcopy(model.state_dict())
    measure_model(model, torch.randn(4, 16), meter="none", modules=True, **QUICK)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_trials_are_repeated_after_a_pause_with_their_spread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(measure, "sleep", slept.append)
    said: list[str] = []
    found = measure_model(
        net(),
        torch.randn(4, 16),
        meter=Wall(20.0),
        trials=3,
        cooldown_s=2.5,
        tell=said.append,
        **QUICK,
    )
    answer = found.to_dict()
    assert slept == [2.5, 2.5]
    assert len(answer["trials"]) == 3
    assert answer["measured"]["latency_spread"] is not None
    medians = sorted(trial["latency_s"] for trial in answer["trials"])
    assert answer["measured"]["latency_s"] == medians[1]
    assert all(trial["temperature_c"] == 41.0 for trial in answer["trials"])
    assert sum("trial" in line for line in said) == 5  # three measured, two pauses


def test_modules_are_compared_one_by_one() -> None:
    found = measure_model(net(), torch.randn(4, 16), meter=Wall(20.0), modules=True, **QUICK)
    rows = {row["path"]: row for row in found.modules}
    assert list(rows) == ["", "0", "1", "2"]
    assert rows["0"]["type"] == "Linear"
    for row in rows.values():
        assert row["predicted_latency_s"] > 0
        assert row["latency_error"] == pytest.approx(
            row["predicted_latency_s"] / row["latency_s"] - 1
        )
        assert row["energy_j"] > 0


def test_without_a_meter_energy_is_unavailable_and_never_zero() -> None:
    answer = measure_model(net(), torch.randn(4, 16), meter="none", **QUICK).to_dict()
    assert answer["measured"]["energy_j"] is None
    assert answer["measured"]["reason"] == "no meter"
    assert answer["comparison"]["energy_error"] is None
    asleep = measure_model(net(), torch.randn(4, 16), meter=Wall(None), **QUICK).to_dict()
    assert asleep["measured"]["reason"] == "the sensor is asleep"


def test_without_a_profile_there_is_no_prediction_and_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(targets, "find", lambda name: Target("cpu", "cpu", "An 8086", 1))
    found = measure_model(net(), torch.randn(4, 16), meter="none", seconds=0.02)
    assert found.to_dict()["predicted"] is None
    assert any("An 8086" in note for note in found.notes)
    assert found.latency_s is not None


def test_what_cannot_be_followed_is_run_all_the_same() -> None:
    class Data(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[x > 0] if float(x.sum()) > 0 else x

    found = measure_model(Data(), torch.randn(4, 16), meter="none", **QUICK)
    assert found.latency_s is not None
    assert found.estimate is None
    assert any(note.startswith("no prediction") for note in found.notes)


def test_what_does_not_fit_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        targets, "find", lambda name: Target("cpu", "cpu", "small", 1, free_bytes=100)
    )
    with pytest.raises(ModelError, match=r"does not fit on cpu: .*--dim batch=1"):
        measure_model(net(), torch.randn(4, 16), meter="none", **QUICK)


def test_an_interrupt_leaves_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "sleep", stop)
    found = measure_model(net(), torch.randn(4, 16), meter="none", trials=3, **QUICK)
    assert len(found.trials) == 1
    assert "before trial 2 of 3" in found.interrupted
    assert found.to_dict()["interrupted"] == found.interrupted


def test_modules_that_were_replayed_survive_an_interrupt() -> None:
    def tell(doing: str) -> None:
        if doing.startswith("replaying modules: 2"):
            raise KeyboardInterrupt

    found = measure_model(net(), torch.randn(4, 16), meter="none", modules=True, tell=tell, **QUICK)
    assert [row["replayed_latency_s"] is not None for row in found.modules] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"target": "cuda:99"}, UsageError, "cuda:99"),
        ({"meter": "no-such"}, MeterError, "--meter none"),
        ({"device": "no-such"}, DeviceError, "no-such"),
        ({"runtime": "onnxruntime"}, UsageError, "torch.onnx.export"),
        ({"trials": 0}, UsageError, "1 to 1000"),
        ({"seconds": 0.0}, UsageError, "0.01 to 3600"),
        ({"depth": -1}, UsageError, "depth"),
        ({"cooldown_s": -1.0, "trials": 2}, UsageError, "cooldown_s"),
        ({"dims": {"seq": 4}}, DimError, "seq"),
        ({"arrays": "/no/such.npz"}, UsageError, r"numpy\.savez"),
    ],
)
def test_a_wrong_request_is_refused(
    options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        measure_model(net(), torch.randn(4, 16), **{"meter": "none", **QUICK, **options})


def test_arrays_from_a_file_are_the_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", input=np.ones((3, 16), np.float32))
    found = measure_model(
        net(), torch.randn(4, 16), meter="none", arrays=tmp_path / "in.npz", **QUICK
    )
    assert found.latency_s is not None


def test_the_prediction_is_compared_with_its_interval() -> None:
    predicted = {"latency_s": 1.5, "latency_s_interval": [0.5, 2.0]}
    assert compared("latency", 1.0, predicted) == {"latency_error": 0.5, "latency_inside": True}
    assert compared("latency", 3.0, predicted) == {"latency_error": -0.5, "latency_inside": False}
    assert compared("latency", None, predicted) == {"latency_error": None, "latency_inside": None}
    assert compared("latency", 1.0, None) == {"latency_error": None, "latency_inside": None}


def test_an_empty_measurement_says_unavailable() -> None:
    empty = Measurement({"source": "m"}, {"name": "cpu"}, "eager", {})
    assert empty.latency_s is None
    assert empty.energy_j is None
    assert "energy unavailable" in repr(empty)


# -- transformers and ONNX -------------------------------------------------------------------------------------------

SMALL = {
    "num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 100,
}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("hf:bert", SMALL),
        ("hf:llama", {**SMALL, "num_key_value_heads": 1}),
        (
            "hf:t5",
            {
                "num_layers": 1,
                "d_model": 32,
                "d_kv": 8,
                "num_heads": 2,
                "d_ff": 64,
                "vocab_size": 100,
            },
        ),
        (
            "hf:vit",
            {
                "num_hidden_layers": 1,
                "hidden_size": 32,
                "num_attention_heads": 2,
                "image_size": 32,
                "patch_size": 16,
            },
        ),
    ],
)
def test_a_config_runs_with_random_weights(model: str, settings: dict[str, Any]) -> None:
    pytest.importorskip("transformers")
    found = measure_model(
        model, settings=settings, meter="none", modules=True, depth=1, batch=2, **QUICK
    )
    assert found.latency_s is not None
    assert "the weights are random" in found.notes
    assert found.dims["batch"] == 2
    # Every module that ran is predicted, or computes nothing.
    assert [
        row for row in found.modules if row["predicted_latency_s"] is None and row["depth"] == 0
    ] == []


def test_a_file_runs_in_onnxruntime_by_node(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    light = tmp_path / "light.onnx"
    strip(written(tmp_path), light)
    found = measure_model(str(light), meter="none", modules=True, batch=3, **QUICK)
    answer = found.to_dict()
    assert answer["runtime"] == "onnxruntime"
    assert any("are random" in note for note in answer["notes"])
    rows = {row["path"]: row for row in answer["modules"]}
    assert {"", "fc"} <= rows.keys()
    assert rows["fc"]["predicted_latency_s"] > 0
    assert rows[""]["latency_s"] >= rows["fc"]["latency_s"]
    np.savez(tmp_path / "in.npz", x=np.ones((5, WIDE), np.float32))
    assert measure_model(str(light), meter="none", arrays=tmp_path / "in.npz", **QUICK).latency_s


def test_ids_of_a_file_stay_within_the_tables_that_they_look_up_in(examples: Path) -> None:
    found = runnable.prepare(str(examples / "bert-base.onnx"), None)
    specs = runnable._specs(found, {"batch": 2, "seq": 8})
    assert specs["input_ids"].shape == (2, 8)
    assert specs["input_ids"].values == 30522


def test_a_gpu_profile_beside_a_run_on_the_cpu_is_said() -> None:
    found = measure_model(net(), torch.randn(4, 16), meter="none", **(QUICK | {"device": "t4"}))
    assert any("NVIDIA T4 is a GPU, cpu is a CPU" in note for note in found.notes)
    alike = measure_model(net(), torch.randn(4, 16), meter="none", **QUICK)
    assert not any("another device" in note for note in alike.notes)


def test_modules_come_as_a_tree_whatever_order_they_were_seen_in() -> None:
    seen = ["", "b.1.x", "a", "b.1", "a.y", "b", "b.0"]
    rows = module_rows(None, dict.fromkeys(seen, 1.0))
    assert [row["path"] for row in rows] == ["", "b", "b.1", "b.1.x", "b.0", "a", "a.y"]
