"""Modelled power, other packages, several meters at once, and meters by name."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from energy_opt.errors import MeterError
from energy_opt.measure.meters import Meter, NullMeter, available, open_meter, several
from energy_opt.measure.meters.adapters import CodeCarbonMeter, PyJoulesMeter, ZeusMeter
from energy_opt.measure.meters.clock import SystemClock, VirtualClock
from energy_opt.measure.meters.modelled import ModelledMeter
from energy_opt.measure.meters.replay import FakeGpu, FakeGpuSettings, FakeNvml

# -- modelled ------------------------------------------------------------------------------------------------


# Of 4 cores, this many are busy: 10 W idle, 50 W all busy.
@pytest.mark.parametrize(("busy", "watts"), [(0, 10), (1, 20), (2, 30), (4, 50), (9, 50)])
def test_modelled_power(busy: float, watts: float) -> None:
    clock = VirtualClock()
    meter = ModelledMeter(10, 50, cores=4, clock=clock, busy_s=lambda: busy * clock.now())
    with meter.window() as window:
        clock.sleep(3)
    assert window.mean_power_w == pytest.approx(watts)
    assert meter.provenance == "modelled"
    assert window.quality.method == "modelled"
    assert window.quality.relative_error >= 0.3


def test_modelled_power_of_this_process() -> None:
    meter = ModelledMeter(10, 50, cores=1, least_window_s=0.0)
    with meter.window() as window:
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
    assert window.utilisation is not None
    assert window.utilisation > 0
    assert window.energy_j is not None


@pytest.mark.parametrize(("idle", "most"), [(-1, 5), (6, 5), (0, 0)])
def test_watts_that_make_no_sense(idle: float, most: float) -> None:
    with pytest.raises(MeterError, match="idle <= most"):
        ModelledMeter(idle, most)


# -- other packages ------------------------------------------------------------------------------------------


class FakeZeus:
    """ZeusMonitor as far as the meter uses it."""

    def __init__(self, clock: VirtualClock, gpus: int = 1, cpus: int = 1, **energy: Any) -> None:
        self.clock, self.energy = clock, energy
        self.gpu_indices, self.cpu_indices = list(range(gpus)), list(range(cpus))
        self.open: dict[str, float] = {}

    def begin_window(self, key: str, sync_execution: bool = True) -> None:
        assert not sync_execution
        self.open[key] = self.clock.now()

    def end_window(
        self, key: str, sync_execution: bool = True, cancel: bool = False
    ) -> SimpleNamespace:
        fields = {"gpu_energy": {}, "cpu_energy": None, "dram_energy": None, "soc_energy": None}
        return SimpleNamespace(
            time=self.clock.now() - self.open.pop(key), **{**fields, **self.energy}
        )


def test_zeus() -> None:
    clock = VirtualClock()
    zeus = FakeZeus(
        clock, gpu_energy={0: 500.0, 1: 90.0}, cpu_energy={0: 60.0}, dram_energy={0: 9.0}
    )
    meter = ZeusMeter(clock=clock, monitor=zeus)
    with meter.window() as window:
        clock.sleep(2)
    assert (window.energy_j, window.boundary, window.seconds) == (500, "board", 2)
    assert window.domains == {"gpu-0": 500, "gpu-1": 90, "package-0": 60, "package-dram-0": 9}
    assert any(
        "not in the sum: gpu-1, package-0, package-dram-0" in note for note in window.quality.notes
    )


def test_zeus_without_a_gpu() -> None:
    clock = VirtualClock()
    zeus = FakeZeus(clock, gpus=0, cpu_energy={0: 60.0, 1: 50.0}, dram_energy={0: 9.0})
    with ZeusMeter(clock=clock, monitor=zeus).window() as window:
        clock.sleep(2)
    assert (window.energy_j, window.boundary) == (119, "package")


def test_zeus_that_saw_nothing_is_unavailable() -> None:
    clock = VirtualClock()
    with ZeusMeter(clock=clock, monitor=FakeZeus(clock, gpu_energy={0: 0.0})).window() as window:
        clock.sleep(2)
    assert window.energy_j is None
    assert "0 J" in window.reason


def test_zeus_window_of_failing_work_is_closed() -> None:
    clock = VirtualClock()
    zeus = FakeZeus(clock, gpu_energy={0: 5.0})
    with pytest.raises(ZeroDivisionError), ZeusMeter(clock=clock, monitor=zeus).window():
        raise ZeroDivisionError
    assert not zeus.open


class FakeTracker:
    """CodeCarbon's tracker: 3.6 MJ are 1 kWh."""

    def __init__(self, **kwh: float) -> None:
        self.kwh = kwh

    def start_task(self, name: str) -> None:
        self.name = name

    def stop_task(self, name: str) -> SimpleNamespace:
        assert name == self.name
        return SimpleNamespace(
            duration=10.0,
            **{f"{part}_energy": self.kwh.get(part, 0.0) for part in ("gpu", "cpu", "ram")},
        )


def test_codecarbon() -> None:
    tracker = FakeTracker(gpu=1e-3, cpu=5e-4, ram=1e-4)
    with CodeCarbonMeter(tracker=tracker).window() as window:
        pass
    assert window.energy_j == pytest.approx(3600 + 1800 + 360)
    assert window.domains == pytest.approx({"gpu": 3600, "cpu": 1800, "ram": 360})
    assert (window.boundary, window.meter.provenance) == ("system", "modelled")
    with CodeCarbonMeter(tracker=FakeTracker(cpu=5e-4, ram=1e-4)).window() as window:
        pass
    assert window.boundary == "package"
    assert any("not covered here: gpu" in note for note in window.quality.notes)
    with CodeCarbonMeter(tracker=FakeTracker()).window() as window:
        pass
    assert window.energy_j is None


class FakeJoules:
    def __init__(self, energy: dict[str, float]) -> None:
        self.energy = energy

    def start(self, tag: str) -> None: ...

    def stop(self) -> None: ...

    def get_trace(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(duration=2.0, energy=self.energy)]


def test_pyjoules_counts_micro_and_millijoules() -> None:
    energy = {"package_0": 50e6, "dram_0": 7e6, "core_0": 30e6, "nvidia_gpu_0": 400e3}
    with PyJoulesMeter(meter=FakeJoules(energy)).window() as window:
        pass
    assert window.energy_j == pytest.approx(57)
    assert any("not in the sum: core-0, gpu-0" in note for note in window.quality.notes)
    with PyJoulesMeter(0, meter=FakeJoules(energy)).window() as window:
        pass
    assert (window.energy_j, window.boundary) == (pytest.approx(400), "board")


def test_pyjoules_does_not_follow_wraps() -> None:
    with PyJoulesMeter(meter=FakeJoules({"package_0": -3e6})).window() as window:
        pass
    assert window.energy_j is None
    assert "wraps" in window.reason


@pytest.mark.parametrize(
    ("name", "modules", "says"),
    [
        ("zeus", ["zeus", "zeus.monitor"], "pip install zeus"),
        ("codecarbon", ["codecarbon"], "pip install codecarbon"),
        (
            "pyjoules",
            ["pyJoules", "pyJoules.device", "pyJoules.device.device_factory"],
            "pip install pyJoules",
        ),
        ("nvml", ["pynvml"], "pip install nvidia-ml-py"),
    ],
)
def test_absent_packages_say_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, name: str, modules: list[str], says: str
) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MeterError, match=says):
        open_meter(name)


def test_a_zeus_that_is_installed_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    package, monitor = ModuleType("zeus"), ModuleType("zeus.monitor")
    monitor.ZeusMonitor = lambda: FakeZeus(clock, gpu_energy={0: 7.0})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "zeus", package)
    monkeypatch.setitem(sys.modules, "zeus.monitor", monitor)
    with open_meter("zeus").window() as window:
        clock.sleep(2)
    assert window.energy_j == 7


# -- several -------------------------------------------------------------------------------------------------


def test_several_meters_over_one_window() -> None:
    gpu = FakeGpu(settings=FakeGpuSettings(tick_s=0.1))
    clock = gpu.clock
    nvml = open_meter("nvml", nvml=FakeNvml(gpu), environ={})
    modelled = ModelledMeter(100, 100, cores=1, clock=clock, busy_s=lambda: 0.0)  # type: ignore[arg-type]
    meters = several([nvml, modelled, NullMeter("not here", "zeus", "board")])
    gpu.submit(400, 1)
    with meters.window(sync=gpu.synchronize) as window:
        gpu.submit(400, 2)
    rows = window.table()
    assert [row["meter"] for row in rows] == ["nvml", "modelled", "zeus"]
    assert rows[0]["mean_power_w"] == pytest.approx(400, rel=0.02)
    assert rows[0]["difference"] == 0
    assert rows[1]["difference"] == pytest.approx(-0.75, abs=0.01)
    assert (rows[1]["same_boundary"], rows[2]["same_boundary"]) == (False, True)
    assert (rows[2]["energy_j"], rows[2]["difference"], rows[2]["reason"]) == (
        None,
        None,
        "not here",
    )
    assert window.energy_j == rows[0]["energy_j"]
    # The wait for the counter's tick, up to 0.1 s, is in nobody's window.
    assert rows[1]["seconds"] == pytest.approx(2.0, abs=0.005)


def test_one_that_refuses_leaves_the_others_be() -> None:
    gpu = FakeGpu()
    nvml = open_meter("nvml", nvml=FakeNvml(gpu), environ={})
    modelled = ModelledMeter(100, 100, cores=1, clock=gpu.clock, busy_s=lambda: 0.0)  # type: ignore[arg-type]
    with several([nvml, modelled]).window() as window:
        gpu.clock.sleep(0.3)
    first, second = window.table()
    assert first["energy_j"] is None
    assert "too short" in first["reason"]
    assert second["energy_j"] == pytest.approx(30)


def test_several_close_what_they_opened_when_the_work_fails() -> None:
    gpu = FakeGpu()
    nvml = FakeNvml(gpu)
    meters = several([open_meter("nvml", nvml=nvml, environ={}), NullMeter("none")])
    with pytest.raises(ZeroDivisionError), meters.window() as window:
        raise ZeroDivisionError
    calls = nvml.calls
    gpu.clock.sleep(5)
    assert nvml.calls == calls
    assert all(row["energy_j"] is None for row in window.table())
    with pytest.raises(MeterError, match="no meter to run"):
        several([])


# -- by name -------------------------------------------------------------------------------------------------


def test_unavailable_is_never_zero() -> None:
    with open_meter("none").window() as window:
        pass
    assert window.energy_j is None
    assert window.mean_power_w is None
    assert window.reason
    assert window.to_dict()["energy_j"] is None
    assert window.to_dict()["relative_error"] is None


def test_available_lists_every_meter() -> None:
    rows = available()
    assert [row.name for row in rows] == [
        "nvml",
        "rapl",
        "modelled",
        "log",
        "zeus",
        "codecarbon",
        "pyjoules",
    ]
    assert all(row.reason for row in rows)


def test_auto_answers_with_a_reason_where_there_is_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    meter = open_meter("auto", "cuda:0")
    assert isinstance(meter, NullMeter)
    assert "nvidia-ml-py" in meter.reason
    cpu = open_meter("auto", "cpu", root=tmp_path)
    assert isinstance(cpu, NullMeter)
    assert "idle_w" in cpu.reason
    assert open_meter("auto", "cpu", root=tmp_path, idle_w=5, most_w=9).name == "modelled"


NAMES = [
    ("nvml", None, "nvml"),
    ("nvml:1", None, "nvml:1"),
    ("nvml", "cuda:1", "nvml:1"),
    ("nvml", 1, "nvml:1"),
    ("nvml:all", None, "nvml,nvml:1"),
    ("auto", "cuda:1", "nvml:1"),
]


def test_names_and_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    nvml = FakeNvml(*(FakeGpu(clock, FakeGpuSettings(uuid=f"GPU-{i}")) for i in range(2)))
    for name, device, expected in NAMES:
        assert open_meter(name, device, nvml=nvml, environ={}).name == expected
    monkeypatch.setitem(sys.modules, "zeus", None)
    monkeypatch.setitem(sys.modules, "zeus.monitor", None)
    both = open_meter("nvml,zeus", nvml=nvml, environ={})
    assert both.name == "nvml,zeus"
    for name in ("watts", "nvml,watts", "log", "modelled", "nvml:two"):
        with pytest.raises(MeterError):
            open_meter(name, nvml=nvml, environ={}) if name == "nvml:two" else open_meter(name)


# -- clocks --------------------------------------------------------------------------------------------------


def test_the_system_clock_repeats_until_it_is_stopped() -> None:
    clock, called = SystemClock(), threading.Event()
    count = 0

    def call() -> None:
        nonlocal count
        count += 1
        called.set()

    stop = clock.repeat(0.001, call)
    assert called.wait(10)
    stop()
    after = count
    time.sleep(0.01)
    assert count == after


def test_the_virtual_clock_makes_calls_in_their_order() -> None:
    clock, seen = VirtualClock(), []
    stop = clock.repeat(1.0, lambda: seen.append(("a", clock.now())))
    clock.repeat(2.5, lambda: seen.append(("b", clock.now())))
    clock.sleep(3)
    stop()
    clock.sleep(3)
    assert seen == [("a", 1), ("a", 2), ("b", 2.5), ("a", 3), ("b", 5)]


def test_meters_are_context_managers() -> None:
    closed: list[bool] = []

    class Closing(NullMeter):
        def close(self) -> None:
            closed.append(True)

    with Closing("none") as meter:
        assert isinstance(meter, Meter)
    assert closed == [True]
