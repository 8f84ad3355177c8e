"""The GPU backend on a GPU that is not there: the code that runs on a real one, but for CUDA itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from energy_opt.calibrate import fake_accelerator as fake  # noqa: E402
from energy_opt.calibrate import gpu_points  # noqa: E402
from energy_opt.calibrate.accelerator import Cuda, applied  # noqa: E402
from energy_opt.calibrate.backend import Setting, Unrunnable  # noqa: E402
from energy_opt.calibrate.base import base_of  # noqa: E402
from energy_opt.calibrate.draw import Means  # noqa: E402
from energy_opt.calibrate.gpu import RING, GpuBackend  # noqa: E402
from energy_opt.calibrate.primitives import Primitive, TensorSpec  # noqa: E402
from energy_opt.calibrate.run import calibrate_device, refit  # noqa: E402
from energy_opt.errors import CalibrationError, MeterError, UsageError  # noqa: E402
from energy_opt.estimators.device import Device  # noqa: E402
from energy_opt.measure.meters import NullMeter  # noqa: E402
from energy_opt.measure.meters.nvml import NvmlMeter  # noqa: E402
from tests.calibrate.points import gelu, linear  # noqa: E402

TINY = Means(1e6, 1e5, 2)


def _metered(on: fake.FakeAccelerator) -> GpuBackend:
    return GpuBackend(on, NvmlMeter(nvml=on.nvml, environ={}), pool_megabytes=1)


@pytest.fixture
def backend() -> Iterator[GpuBackend]:
    made = _metered(fake.FakeAccelerator())
    yield made
    made.close()


def test_a_window_finds_the_power_of_the_board(backend: GpuBackend) -> None:
    point = gelu(1024, 16)
    timing = backend.time(backend.prepare(point.primitive, 0), energy=True)
    work = point.primitive.work
    # By hand: 128 KiB at 20 GB/s take 6.6 us, its FLOPs less; 4 us to start, so the traffic is at 0.62 of its rate.
    moved_s = 2 * 1024 * 16 * 4 / 20e9
    assert float(work.other_flops) / 25e9 < 3e-4
    assert timing.power_w is not None
    assert timing.energy_j is not None
    assert timing.energy_error is not None
    assert timing.energy_j == pytest.approx(timing.power_w * timing.latency_s)
    busy = max(moved_s, float(work.other_flops) / 25e9)
    power_w = (
        120 + 480 * (float(work.other_flops) / 25e9) / (4e-6 + busy) + 260 * moved_s / (4e-6 + busy)
    )
    assert timing.latency_s == pytest.approx(4e-6 + busy, rel=0.1)
    assert timing.power_w == pytest.approx(min(power_w, 700), rel=timing.energy_error + 0.03)
    assert timing.clocks_hz == 1980e6
    assert timing.temperature_c is not None


def test_a_point_for_latency_is_not_metered(backend: GpuBackend) -> None:
    timing = backend.time(backend.prepare(linear(8).primitive, 0))
    assert timing.energy_j is None
    assert timing.power_w is None
    assert timing.repeats >= 5
    assert timing.spread < 0.05


def test_without_a_meter_energy_is_unknown_and_latency_is_not(tmp_path: Path) -> None:
    on = fake.FakeAccelerator()
    backend = GpuBackend(on, NullMeter("none here"), pool_megabytes=1)
    assert backend.idle().context_w is None
    timing = backend.time(backend.prepare(linear(8).primitive, 0), energy=True)
    assert timing.energy_j is None
    assert timing.latency_s > 0


def test_idle_is_that_of_the_board(backend: GpuBackend) -> None:
    idle = backend.idle()
    assert idle.bare_w == pytest.approx(70.0, rel=0.02)
    assert idle.context_w == pytest.approx(70.0, rel=0.02)


def test_operands_of_a_graph_are_together_several_times_the_cache(backend: GpuBackend) -> None:
    on = backend.on.facts()
    small, large = linear(8), linear(256, 128, 128)
    held = backend.prepare(large.primitive, 0)
    assert held.executions * large.primitive.nbytes >= RING * on["l2_bytes"]
    assert backend.prepare(small.primitive, 0).executions <= 512


def test_an_operator_that_fails_is_unrunnable_with_the_reason(backend: GpuBackend) -> None:
    wrong = Primitive(
        "aten::mm", "", (), (TensorSpec((2, 3)), TensorSpec((4, 5))), (TensorSpec((2, 5)),)
    )
    with pytest.raises(Unrunnable, match="cannot be multiplied"):
        backend.prepare(wrong, 0)
    unknown = Primitive("aten::no_such_thing", "", (), (), ())
    with pytest.raises(Unrunnable, match="no_such_thing"):
        backend.prepare(unknown, 0)


def test_a_whole_calibration_finds_the_board_again(tmp_path: Path) -> None:
    points = [linear(16 * i, 16 * (i % 3 + 1), 32 * (i % 4 + 1), energy=True) for i in range(1, 17)]
    backend = _metered(fake.FakeAccelerator())
    device = calibrate_device(
        "cuda:0", output=tmp_path / "gpu.json", backend=backend, points=points
    )
    assert device.calibration is not None
    assert (device.calibration.points, device.calibration.partial) == (16, False)
    assert device.calibration.power_limit_w == 700.0
    assert device.calibration.driver == "0.0 (replay)"
    assert device.calibration.clocks_hz["median"] == 1980e6
    assert device.kind == "gpu"
    assert device.idle_context_w == pytest.approx(70.0, rel=0.02)
    assert set(device.host) == {"eager", "graph"}
    assert device.host["eager"].overlaps
    fitted = next(f for f in device.fits if (f.kind, f.op) == ("matmul", ""))
    assert fitted.time is not None
    assert fitted.energy is not None
    assert fitted.energy.basis == "measured"
    # The board draws 120 W while busy.
    assert fitted.energy.at["base_w"] == pytest.approx(120.0, rel=0.1)
    assert fitted.energy.errors.mape < 0.05
    assert refit(tmp_path / "gpu.samples.jsonl") == device


def test_the_points_are_those_that_were_planned() -> None:
    points = gpu_points.points()
    energy = [point for point in points if point.energy]
    by_dtype = Counter(point.dtype for point in energy if point.primitive.row.kind == "matmul")
    assert set(by_dtype) == set(gpu_points.DTYPES)
    assert min(by_dtype.values()) >= 12
    assert 180 <= len(energy) <= 240
    assert 350 <= len(points) - len(energy) <= 560
    kinds = Counter(point.primitive.row.kind for point in energy)
    assert kinds["attention"] == 20
    assert sum(kinds[kind] for kind in gpu_points.MEMORY) >= 60
    assert sum(point.setting.data == "zeros" for point in points) == 4
    assert {point.setting.attention for point in points} == {"", *gpu_points.ATTENTION}


def test_points_stay_short_on_a_slow_device() -> None:
    device = Device.load("t4")
    points = gpu_points.points(device=device, dtypes=["fp32"])
    # 8.1 TFLOP/s for 6 ms
    assert max(p.primitive.work.matmul_flops for p in points) <= 6e-3 * device.peak("float32")
    assert {point.dtype for point in points} <= {"float32", "int64", "bool"}


@pytest.mark.parametrize("dtype", ["int8", "float8"])
def test_narrow_products_run_and_count_what_they_were_drawn_from(dtype: str) -> None:
    drawn = linear(30, 50, 70).primitive
    made = gpu_points.narrow(drawn, dtype)
    # m, n and k rounded up to multiples of 16
    assert {name: int(size) for name, size in made.row.sizes} == {"b": 1, "m": 32, "n": 64, "k": 80}
    assert made.row.matmul_flops == 2 * 32 * 64 * 80
    assert made.row.dtype == dtype
    backend = GpuBackend(fake.FakeAccelerator(), NullMeter("none"), pool_megabytes=1)
    assert backend.time(backend.prepare(made, 0)).latency_s > 0


def test_types_and_runtimes_that_are_not_timed_are_named() -> None:
    with pytest.raises(UsageError, match="float64"):
        gpu_points.points(dtypes=["float64"])
    with pytest.raises(UsageError, match="onnxruntime"):
        gpu_points.points(runtime="onnxruntime")


def test_settings_are_put_back() -> None:
    def state() -> tuple[object, ...]:
        return (
            torch.backends.cuda.matmul.fp32_precision,
            torch.backends.cudnn.conv.fp32_precision,
            torch.backends.cuda.flash_sdp_enabled(),
        )

    before = state()
    with applied(Setting(math="tf32", attention="math")):
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        assert not torch.backends.cuda.flash_sdp_enabled()
    assert state() == before
    with applied(Setting()):
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    assert state() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="sees no CUDA device"):
        Cuda(0)
    with pytest.raises((CalibrationError, MeterError), match="CUDA"):
        calibrate_device("cuda:0", output=tmp_path / "gpu.json")
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("NVIDIA H200", "h200-sxm"),
        ("NVIDIA H200 NVL", "h200-nvl"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA A100-SXM4-40GB", "a100-sxm4-40gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("NVIDIA GB200", "gb200"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L4", "l4"),
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-32GB", "v100-sxm2-32gb"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA A10G", "nvidia-a10g"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "nvidia-geforce-rtx-4090-laptop-gpu"),
    ],
)
def test_a_gpu_is_known_by_its_name(name: str, slug: str) -> None:
    facts = {"device": name, "kind": "gpu", "units": 80}
    assert base_of("cuda:0", facts, []).name == slug


def test_a_fake_board_that_throttles_says_so() -> None:
    on = fake.FakeAccelerator()
    on.gpu.reasons_at = lambda _time_s: 0x8  # a hardware slowdown
    backend = _metered(on)
    timing = backend.time(backend.prepare(linear(64).primitive, 0), energy=True)
    assert timing.throttled
    assert np.isfinite(timing.latency_s)
