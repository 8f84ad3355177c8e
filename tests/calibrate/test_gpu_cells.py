"""The model cells of benchmarks/gpu.py on a GPU that is not there: built, run, timed, metered and predicted."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from energy_opt.calibrate.fake_accelerator import FakeAccelerator
from energy_opt.calibrate.gpu import GpuBackend
from energy_opt.estimators.device import Device
from energy_opt.estimators.fitted import Errors, Fitted, FittedTime
from energy_opt.measure.meters.nvml import NvmlMeter


@pytest.fixture
def cells(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The benchmark's module of cells."""
    if not (root / "benchmarks" / "gpu_cells.py").exists():
        pytest.skip("benchmarks are not part of this distribution")
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    import gpu_cells

    yield gpu_cells
    sys.modules.pop("gpu_cells", None)


def test_the_cells_are_those_that_were_asked_for(cells: Any) -> None:
    made = cells.cells()
    assert Counter(cell.model for cell in made) == dict.fromkeys(cells.MODELS, 9)
    assert Counter(cell.precision for cell in made) == {"fp32": 15, "tf32": 15, "bf16": 15}
    assert len({cell.key for cell in made}) == 45


@pytest.mark.parametrize("model", ["bert-base", "gpt2-decode", "resnet-50"])
def test_a_cell_runs_and_is_predicted(cells: Any, model: str) -> None:
    cell = next(c for c in cells.cells(tiny=True) if (c.model, c.precision) == (model, "bf16"))
    on = FakeAccelerator()
    backend = GpuBackend(on, NvmlMeter(nvml=on.nvml, environ={}), pool_megabytes=1)
    times = {mode: cells.measured(cell, mode, on, backend) for mode in cells.MODES}
    launches = sum(count for _, count in cells.Built(cell).work())
    # A captured model starts each kernel in 4 us; op by op the host takes 5 us per launch.
    assert times["graph"].latency_s > launches * 4e-6 * 0.9
    assert times["eager"].latency_s >= launches * 5e-6 * 0.98
    assert times["eager"].energy_j is not None
    profile = Device.load("h200-sxm")
    captured, eager = (cells.predicted(cell, mode, profile) for mode in cells.MODES)
    assert 0 < captured.latency_s <= eager.latency_s
    assert captured.energy_j > 0


def _fit(dtype: str, start_s: float, op: str = "") -> Fitted:
    time = FittedTime(
        form="linear",
        at={"start_s": start_s, "flop_s": 0.0, "vector_flop_s": 0.0, "byte_s": 0.0},
        errors=Errors(mape=0.1, p90=0.2, bias=0.0, log_sd=0.1, points=10, groups=5),
        basis="measured",
        source="made up",
    )
    return Fitted(kind="matmul", dtype=dtype, op=op, time=time)


def test_in_tf32_the_fits_of_tf32_serve_float32(cells: Any) -> None:
    base = Device.load("h200-sxm")
    fits = [
        _fit("float32", 1e-5),
        _fit("float32", 2e-5, "linear"),
        _fit("tf32", 3e-5),
        _fit("bfloat16", 4e-5),
    ]
    device = Device.model_validate(
        base.model_dump(by_alias=True) | {"fits": [fitted.model_dump() for fitted in fits]}
    )
    made = cells.in_tf32(device)
    found = {(f.dtype, f.op): f.time.at["start_s"] for f in made.fits if f.time is not None}
    assert found == {("float32", ""): 3e-5, ("bfloat16", ""): 4e-5}
    assert made.peak("float32") == base.peaks["tf32"]
