"""The NVML meter on a fake GPU whose true energy is known."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_opt.errors import MeterError
from energy_opt.measure.meters import Window
from energy_opt.measure.meters import nvml as nvml_module
from energy_opt.measure.meters.clock import VirtualClock
from energy_opt.measure.meters.cuda_visible import visible_gpus
from energy_opt.measure.meters.nvml import NvmlMeter
from energy_opt.measure.meters.replay import FakeGpu, FakeGpuSettings, FakeNvml, FakeNvmlError


def fake(**settings: object) -> tuple[FakeGpu, FakeNvml]:
    gpu = FakeGpu(settings=FakeGpuSettings(**settings))  # type: ignore[arg-type]
    return gpu, FakeNvml(gpu)


def metered(
    gpu: FakeGpu, nvml: FakeNvml, work: list[tuple[float, float]], **how: object
) -> tuple[Window, float]:
    """A window over queued work, and its true energy in J."""
    meter = NvmlMeter(nvml=nvml, environ={}, **how)  # type: ignore[arg-type]
    gpu.submit(work[0][0], 0.5)
    gpu.synchronize()
    with meter.window(sync=gpu.synchronize) as window:
        for power_w, seconds in work:
            gpu.submit(power_w, seconds)
    end = gpu.busy_until_s
    return window, gpu.energy_j(end) - gpu.energy_j(end - sum(seconds for _, seconds in work))


def off(window: Window, true_j: float) -> float:
    assert window.energy_j is not None, window.reason
    return abs(window.energy_j / true_j - 1)


# 500 W for 2 s is 1000 J, by whatever way it is read.
WAYS = {
    "counter": {},
    "counter, ticks of 20 ms": {"tick_s": 0.02},
    "counter, ticks of 100 ms, late or early by a tenth": {"tick_s": 0.1, "jitter": 0.1},
    "counter of a sensor that looks a quarter of the time": {"duty": 0.25, "tick_s": 0.1},
    "power": {"counter": False},
    "power of a sensor that looks a quarter of the time": {"counter": False, "duty": 0.25},
    "moving average": {"counter": False, "instant": False, "architecture": 8},
}


@pytest.mark.parametrize("way", WAYS)
def test_known_energy_in_same_energy_out(way: str) -> None:
    window, true_j = metered(*fake(**WAYS[way]), [(500.0, 2.0001)])
    assert true_j == pytest.approx(1000.05)
    assert off(window, true_j) <= window.quality.relative_error < 0.12
    assert window.seconds == pytest.approx(2.0, abs=0.01)
    assert window.mean_power_w == pytest.approx(500, rel=window.quality.relative_error)
    assert window.boundary == "board"
    assert window.quality.method.startswith("counter" if "counter" in way else "integral")


@settings(max_examples=60)
@given(
    tick_s=st.floats(0.02, 0.1),
    jitter=st.floats(0, 0.1),
    seconds=st.floats(1, 4),
    power_w=st.floats(120, 690),
    phase=st.floats(0, 0.2),
    seed=st.integers(0, 99),
)
def test_the_stated_error_covers_steady_work(
    tick_s: float, jitter: float, seconds: float, power_w: float, phase: float, seed: int
) -> None:
    gpu, nvml = fake(tick_s=tick_s, jitter=jitter, seed=seed)
    gpu.clock.sleep(phase)
    window, true_j = metered(gpu, nvml, [(power_w, seconds)])
    assert off(window, true_j) <= window.quality.relative_error


def test_the_stated_error_covers_nine_of_ten_uneven_windows() -> None:
    rng = random.Random(1)
    covered = 0
    for seed in range(40):
        gpu, nvml = fake(tick_s=rng.choice([0.02, 0.05, 0.1]), seed=seed)
        work = [(rng.uniform(280, 700), rng.uniform(0.001, 0.02)) for _ in range(150)]
        window, true_j = metered(gpu, nvml, work)
        covered += off(window, true_j) <= window.quality.relative_error
    assert covered >= 36


def test_a_counter_read_between_ticks_is_outside_the_stated_error() -> None:
    """The sabotage: without alignment, the first and last tick are lost or won whole."""
    worst = 0.0
    for seed in range(10):
        gpu, nvml = fake(tick_s=0.1, seed=seed, architecture=8)
        window, true_j = metered(gpu, nvml, [(600.0, 1.03)])
        gpu, nvml = fake(tick_s=0.1, seed=seed, architecture=8)
        gpu.submit(600.0, 0.55)
        gpu.synchronize()
        before = gpu.counter_mj()
        gpu.submit(600.0, 1.03)
        gpu.synchronize()
        naive = abs((gpu.counter_mj() - before) / 1e3 / true_j - 1)
        worst = max(worst, naive - window.quality.relative_error)
    assert worst > 0


def test_a_moving_average_taken_at_face_value_is_outside_the_stated_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sabotage: readings that are means over the second before are integrated as if they were of now."""
    settings = {"counter": False, "instant": False, "architecture": 8}
    window, true_j = metered(*fake(**settings), [(500.0, 3.0)])
    assert off(window, true_j) <= window.quality.relative_error
    gpu, nvml = fake(**settings)
    monkeypatch.setattr("energy_opt.measure.meters.sensor.AVERAGING_S", 0.0)
    gpu.clock.sleep(1.0)
    meter = NvmlMeter(nvml=nvml, environ={})
    with meter.window(sync=gpu.synchronize) as naive:
        gpu.submit(500.0, 3.0)
    assert naive.energy_j is not None
    assert abs(naive.energy_j / 1500.0 - 1) > window.quality.relative_error


def test_work_that_ends_otherwise_than_it_went_on_is_within_the_stated_error() -> None:
    for seed in range(10):  # less than a tick of 600 W after 480 W
        gpu, nvml = fake(tick_s=0.1, seed=seed, architecture=8)
        window, true_j = metered(gpu, nvml, [(480.0, 1.2), (600.0, 0.09)])
        assert off(window, true_j) <= window.quality.relative_error < 0.03


def test_the_idle_tail_after_the_work_is_not_in_the_window() -> None:
    gpu, nvml = fake(tick_s=0.1, idle_w=70.0)
    window, true_j = metered(gpu, nvml, [(650.0, 1.05)])
    assert window.seconds == pytest.approx(1.05, abs=0.002)
    assert off(window, true_j) < 0.02


def test_short_windows_are_refused_with_what_to_do() -> None:
    gpu, nvml = fake(tick_s=0.1)
    with pytest.raises(
        MeterError,
        match=r"0\.3\d* s is too short.*at least 1 s.*repeat the work 4 times.*every 100 ms",
    ):
        metered(gpu, nvml, [(500.0, 0.3)])


def test_short_windows_that_are_allowed_state_a_large_error() -> None:
    gpu, nvml = fake(tick_s=0.1)
    short, true_j = metered(gpu, nvml, [(500.0, 0.23)], least_window_s=0.1)
    assert off(short, true_j) <= short.quality.relative_error
    long, _ = metered(*fake(tick_s=0.1), [(500.0, 5.0)])
    assert short.quality.relative_error > 5 * long.quality.relative_error


def test_a_moving_average_needs_two_of_its_widths() -> None:
    _, nvml = fake(counter=False, instant=False, architecture=8)
    assert NvmlMeter(nvml=nvml, environ={}, least_window_s=0.1).least_window_s == 2.0


def test_sync_is_called_before_either_end_is_read() -> None:
    gpu, nvml = fake()
    meter = NvmlMeter(nvml=nvml, environ={})
    calls: list[int] = []
    with meter.window(sync=lambda: calls.append(nvml.calls)):
        before = nvml.calls
        gpu.clock.sleep(1.5)
        within = nvml.calls
    assert calls[0] < before
    assert calls[1] == within
    assert len(calls) == 2


def test_failing_work_leaves_no_energy_and_no_watch_behind() -> None:
    gpu, nvml = fake()
    meter = NvmlMeter(nvml=nvml, environ={})
    with pytest.raises(ZeroDivisionError), meter.window() as window:
        gpu.clock.sleep(1 / 0)
    assert window.energy_j is None
    assert "failed" in window.reason
    calls = nvml.calls
    gpu.clock.sleep(5)
    assert nvml.calls == calls


def test_what_the_board_was_like_meanwhile() -> None:
    gpu, nvml = fake(limit_w=700.0)
    gpu.reasons_at = lambda time_s: 0x40 if 2.5 < time_s < 4 else 0
    window, _ = metered(gpu, nvml, [(900.0, 4.0)])  # more than the limit
    assert window.throttled == ("power cap", "thermal (hardware)")
    assert window.power_limit_w == 700
    assert window.clocks_hz == {"sm": 1980e6, "memory": 2619e6}
    assert window.utilisation == 1
    assert window.temperature_c == 70  # 35 °C, and 35 more at the limit
    calm, _ = metered(*fake(), [(300.0, 2.0)])
    assert calm.throttled == ()


def test_a_driver_that_lacks_a_reading_says_none_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object) -> int:
        raise FakeNvmlError(3, "Not Supported")

    for name in (
        "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetClockInfo", "nvmlDeviceGetTemperature",
        "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetMigMode",
    ):  # fmt: skip
        monkeypatch.setattr(FakeNvml, name, lacking)
    window, _ = metered(*fake(), [(300.0, 2.0)])
    assert window.energy_j is not None
    assert window.throttled is window.clocks_hz is window.temperature_c is None
    assert window.power_limit_w is window.utilisation is None


def test_a_driver_that_fails_in_the_window_leaves_no_energy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu, nvml = fake()
    meter = NvmlMeter(nvml=nvml, environ={})

    def lost(*_: object) -> int:
        raise FakeNvmlError(15, "GPU is lost")

    with meter.window() as window:
        gpu.clock.sleep(2)
        monkeypatch.setattr(FakeNvml, "nvmlDeviceGetTotalEnergyConsumption", lost)
    assert window.energy_j is None
    assert "GPU is lost" in window.reason


def test_a_counter_that_goes_back_is_no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, nvml = fake()
    meter = NvmlMeter(nvml=nvml, environ={})
    with meter.window() as window:
        gpu.clock.sleep(2)
        true = FakeGpu.counter_mj
        monkeypatch.setattr(FakeGpu, "counter_mj", lambda gpu: true(gpu) - 10_000_000)
    assert window.energy_j is None
    assert "reloaded" in window.reason


def test_a_counter_that_stands_still_is_replaced_by_power(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeGpu, "counter_mj", lambda _gpu: 7)
    window, true_j = metered(*fake(), [(500.0, 2.0)])
    assert window.quality.method == "integral"
    assert any("stands still" in note for note in window.quality.notes)
    assert off(window, true_j) <= window.quality.relative_error


def test_idle_power_and_a_counter_that_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, nvml = fake(idle_w=70.0, architecture=8)
    gpu.clock.sleep(2)
    meter = NvmlMeter(nvml=nvml, environ={})
    assert meter.idle_power_w(2.0) == pytest.approx(70, rel=0.01)
    with meter.window() as window:
        gpu.clock.sleep(2)
    assert not any("at idle" in note for note in window.quality.notes)
    true = FakeGpu.reading_mw
    monkeypatch.setattr(FakeGpu, "reading_mw", lambda gpu, width: int(1.2 * true(gpu, width)))
    meter.idle_power_w(2.0)
    gpu.submit(400, 2)
    with meter.window(sync=gpu.synchronize) as window:
        gpu.submit(400, 2)
    # 70 W by the counter, 1.2 times that by the readings
    assert any(
        re.search(r"at idle the counter says (70|69\.9).* W and the power reading (84|83\.9)", note)
        for note in window.quality.notes
    )


def test_sensors_that_look_part_of_the_time_say_so() -> None:
    for name, architecture, part_time in (("NVIDIA H100", 9, True), ("NVIDIA A100-SXM4-40GB", 7, True),
                                          ("NVIDIA A40", 7, False), ("Tesla V100", 5, False)):  # fmt: skip
        window, _ = metered(*fake(name=name, architecture=architecture), [(300.0, 2.0)])
        assert any("25 ms of every 100 ms" in note for note in window.quality.notes) == part_time


def test_windows_overlap() -> None:
    gpu, nvml = fake()
    meter = NvmlMeter(nvml=nvml, environ={})
    with meter.window(sync=gpu.synchronize) as outer:
        gpu.submit(200, 1.5)
        with meter.window(sync=gpu.synchronize) as inner:
            gpu.submit(400, 1.5)
    assert inner.energy_j == pytest.approx(600, rel=0.03)  # 400 W for 1.5 s
    assert outer.energy_j == pytest.approx(900, rel=0.05)  # 300 J more, and a wait for a tick


def test_nothing_on_the_board_is_ever_set() -> None:
    import inspect

    from energy_opt.measure.meters import sensor

    for module in (nvml_module, sensor):
        assert "nvmlDeviceSet" not in inspect.getsource(module)


# -- which GPU -----------------------------------------------------------------------------------------------


def three_gpus(**settings: object) -> FakeNvml:
    clock = VirtualClock()
    return FakeNvml(*(
        FakeGpu(clock, FakeGpuSettings(uuid=f"GPU-{i}{i}{i}", **settings))  # type: ignore[arg-type]
        for i in range(3)
    ))  # fmt: skip


# What CUDA shows for each value; the list ends at the first entry that means nothing.
VISIBLE = [
    (None, [0, 1, 2]),
    ("0", [0]),
    ("2,0", [2, 0]),
    (" 1 , 2 ", [1, 2]),
    ("GPU-111", [1]),
    ("GPU-2,GPU-0", [2, 0]),
    ("0,9,1", [0]),
    ("1,-1,2", [1]),
    ("GPU-000,2", [0, 2]),
]


@pytest.mark.parametrize(("value", "expected"), VISIBLE)
def test_cuda_visible_devices(value: str | None, expected: list[int]) -> None:
    environ = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    gpus = visible_gpus(three_gpus(), environ)
    assert [gpu.nvml_index for gpu in gpus] == expected
    assert [gpu.index for gpu in gpus] == list(range(len(expected)))


@pytest.mark.parametrize("value", ["", "-1", "9", "GPU-", "GPU-x", "0,0", "NoDevFiles"])
def test_cuda_visible_devices_that_show_nothing(value: str) -> None:
    with pytest.raises(MeterError, match="hides all 3 GPUs"):
        visible_gpus(three_gpus(), {"CUDA_VISIBLE_DEVICES": value})


def test_the_meter_reads_the_gpu_that_cuda_means() -> None:
    nvml = three_gpus()
    meter = NvmlMeter(0, nvml=nvml, environ={"CUDA_VISIBLE_DEVICES": "2"})
    busy = nvml.gpus[2]
    with meter.window(sync=busy.synchronize) as window:
        busy.submit(400, 2)
    assert window.energy_j == pytest.approx(800, rel=0.03)
    with pytest.raises(MeterError, match="GPU 1 is not visible"):
        NvmlMeter(1, nvml=nvml, environ={"CUDA_VISIBLE_DEVICES": "2"})


def test_gpus_of_two_kinds_are_not_numbered_by_guess() -> None:
    clock = VirtualClock()
    nvml = FakeNvml(
        FakeGpu(clock, FakeGpuSettings(name="A")),
        FakeGpu(clock, FakeGpuSettings(name="B", uuid="GPU-b")),
    )
    with pytest.raises(MeterError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        visible_gpus(nvml, {})
    assert len(visible_gpus(nvml, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})) == 2
    assert visible_gpus(nvml, {"CUDA_VISIBLE_DEVICES": "GPU-b"})[0].name == "B"


def test_shared_boards_are_unavailable_with_the_reason() -> None:
    with pytest.raises(MeterError, match="split by MIG"):
        NvmlMeter(nvml=three_gpus(mig=True), environ={})
    with pytest.raises(MeterError, match="virtual GPU"):
        NvmlMeter(nvml=three_gpus(vgpu=True), environ={})
    with pytest.raises(MeterError, match="MIG instance"):
        NvmlMeter(nvml=three_gpus(), environ={"CUDA_VISIBLE_DEVICES": "MIG-1234"})


def test_no_driver_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_nvml: FakeNvml) -> None:
        raise FakeNvmlError(12, "NVML Shared Library Not Found")

    monkeypatch.setattr(FakeNvml, "nvmlInit", absent)
    with pytest.raises(MeterError, match=r"driver does not answer.*Not Found"):
        NvmlMeter(nvml=FakeNvml(), environ={})
