from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import energy_opt as eo
from energy_opt.errors import MeterError, UsageError
from energy_opt.measure import drift
from energy_opt.studies.drift import expect, watch_job
from tests.measure.fakes import ConstantPower, Time

MODEL = Path(__file__).parents[2] / "examples" / "resnet50.onnx"


@pytest.fixture
def estimate() -> Any:
    return eo.analyze(str(MODEL), device="xeon-ice-lake@4")


def test_back_to_back_power_is_joules_over_seconds(estimate: Any) -> None:
    found = expect(estimate, None)
    assert found.power_w == pytest.approx(estimate.power_w)
    assert found.low_w < found.power_w < found.high_w


def test_a_rate_leaves_idle_power_in_between(estimate: Any) -> None:
    idle_w, latency_s = estimate.device.idle_w, estimate.latency_s
    found = expect(estimate, 0.25 / latency_s)
    # A quarter of the time at the model's power, three quarters idle.
    assert found.power_w == pytest.approx(0.25 * estimate.power_w + 0.75 * idle_w)
    with pytest.raises(UsageError, match="out of reach"):
        expect(estimate, 100 / latency_s)


def test_a_job_that_draws_what_is_predicted_does_not_drift(
    monkeypatch: pytest.MonkeyPatch, estimate: Any
) -> None:
    clock = Time()
    monkeypatch.setattr(drift.time, "sleep", lambda seconds: None)

    def kinds(power_w: float) -> list[str]:
        watched = watch_job(
            str(MODEL), device="xeon-ice-lake@4", meter=ConstantPower(clock, power_w, after_s=1.0), windows=3,
            window_s=0.1, patience=2,
        )  # fmt: skip
        assert "2 windows in a row" in watched.rule
        return [event.kind for event in watched]

    assert kinds(estimate.power_w) == ["reading"] * 3
    assert kinds(100 * estimate.power_w) == ["reading", "reading", "drift", "reading"]


def test_what_cannot_be_watched_is_refused() -> None:
    with pytest.raises(UsageError, match="no process"):
        watch_job(str(MODEL), device="t4", pid=2**22 + 1)
    with pytest.raises(MeterError, match="needs a meter"):
        watch_job(str(MODEL), device="t4", meter="none")
    with pytest.raises(UsageError, match="more than 0 s"):
        watch_job(str(MODEL), device="t4", window_s=0)
