from __future__ import annotations

import pytest

from energy_opt.calibrate import targets
from energy_opt.errors import CalibrationError, UsageError


@pytest.mark.parametrize(
    ("target", "runtime", "missing", "said"),
    [
        ("cpu", None, "torch", r"target cpu: .*needs torch.*energy-opt\[torch\]"),
        ("cuda:0", None, "torch", r"target cuda:0: .*needs torch.*energy-opt\[torch\]"),
        ("cpu", "onnxruntime", "onnxruntime", r"needs onnxruntime.*energy-opt\[cpu\]"),
    ],
)
def test_what_is_not_installed_is_named_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, target: str, runtime: str | None, missing: str, said: str
) -> None:
    monkeypatch.setattr(targets, "find_spec", lambda name: None if name == missing else name)
    with pytest.raises(CalibrationError, match=said):
        targets.open_target(target, runtime=runtime)


def test_onnxruntime_is_a_runtime_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from energy_opt.calibrate import ort

    asked = {}
    monkeypatch.setattr(ort, "open_target", lambda **given: asked.update(given))
    targets.open_target("cpu", runtime="onnxruntime", seed=3)
    assert asked["seed"] == 3


@pytest.mark.parametrize(
    ("target", "runtime"), [("tpu", None), ("cuda:x", None), ("replay", None), ("cpu", "tvm")]
)
def test_what_is_no_target_or_runtime_is_refused(target: str, runtime: str | None) -> None:
    with pytest.raises(UsageError, match=r"there are|is needed"):
        targets.open_target(target, runtime=runtime)


@pytest.mark.parametrize("runtime", [None, "onnxruntime"])
def test_a_type_that_is_not_timed_on_cpus_is_refused(
    monkeypatch: pytest.MonkeyPatch, runtime: str | None
) -> None:
    monkeypatch.setattr(targets, "find_spec", lambda name: name)
    with pytest.raises(UsageError, match="'flot32' is not timed on CPUs; there are float32"):
        targets.open_target("cpu", runtime=runtime, dtypes=["fp16", "flot32"])


def test_onnxruntime_on_a_gpu_is_refused_rather_than_timed_as_torch() -> None:
    with pytest.raises(UsageError, match="CPUs only"):
        targets.open_target("cuda:0", runtime="onnxruntime")
