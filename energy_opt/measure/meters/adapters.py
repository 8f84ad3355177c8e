"""Other packages as meters, where they are installed: zeus, codecarbon, pyJoules. Each says what it left out."""

from __future__ import annotations

import importlib
import itertools
import logging
import warnings
from importlib.util import find_spec
from typing import Any

from energy_opt.errors import MeterError
from energy_opt.measure.meters.clock import Clock, SystemClock
from energy_opt.measure.meters.meter import Boundary, Meter, Quality, Window

PACKAGES = {"zeus": "zeus", "codecarbon": "codecarbon", "pyjoules": "pyJoules"}
"""Meter name: what to import and to `pip install`."""
_JOULES_PER_KWH = 3.6e6
_COUNTER_TICK_S = 0.1
"""None of them waits for a tick, so either end is off by up to one."""


def installed(name: str) -> bool:
    """Whether the package behind a meter is there; nothing is imported."""
    return find_spec(PACKAGES[name]) is not None


class _Adapter(Meter):
    """What the adapters share: parts of energy by name, of which one boundary's are added up."""

    def __init__(self, name: str, clock: Clock | None) -> None:
        self.name = name
        self.clock = clock or SystemClock()
        self.least_window_s = 1.0
        self.settle_s = 1.0  # they open other counters first, so they enclose our own meters

    def fill(self, window: Window, parts: dict[str, float], counted: str, quality: Quality) -> None:
        """Energy from the parts whose names begin with `counted`; all of them are listed."""
        window.domains = parts
        mine = [value for part, value in parts.items() if part.startswith(counted)]
        if not mine:
            window.unavailable(f"{self.name} covered {', '.join(parts) or 'nothing'} here")
        elif min(mine) < 0:
            window.unavailable(
                f"{self.name} counted below zero: it does not follow a counter that wraps"
            )
        elif sum(mine) == 0:
            window.unavailable(f"{self.name} answered 0 J, which means that it saw nothing")
        else:
            window.energy_j = sum(mine)
            window.quality = quality


def _import(name: str, module: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        package = PACKAGES[name]
        missing = error.name in (package, None) or not installed(name)
        why = "is not installed" if missing else f"cannot be imported ({error})"
        raise MeterError(
            f"meter {name}: the package {package} {why}; pip install {package}"
        ) from None


class ZeusMeter(_Adapter):
    """ZeusMonitor: NVIDIA and AMD boards, RAPL packages and DRAM, Apple and Jetson chips.

    Its sum is of the board of GPU `index` where there is a GPU, else of the packages, else of the chip.
    """

    def __init__(self, index: int = 0, *, clock: Clock | None = None, monitor: Any = None) -> None:
        super().__init__("zeus", clock)
        if monitor is None:
            # Zeus synchronises through torch unless told not to; the window's own `sync` has done that.
            monitor = _import("zeus", "zeus.monitor").ZeusMonitor()
        self.monitor = monitor
        self._names = (f"energy-opt {number}" for number in itertools.count())
        self._counted = "package" if monitor.cpu_indices else "soc"
        if monitor.gpu_indices:
            self._counted = f"gpu-{index}"
        self.boundary: Boundary = "board" if monitor.gpu_indices else "package"

    def begin(self, window: Window) -> None:
        """Open a window of its own."""
        window.state = next(self._names)
        self.monitor.begin_window(window.state, sync_execution=False)

    def finish(self, window: Window) -> None:
        """Close it, and take its parts over."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that energy was 0, which is answered as unavailable
            seen = self.monitor.end_window(window.state, sync_execution=False)
        window.seconds = seen.time
        self.check_length(window)
        parts = {f"gpu-{i}": joules for i, joules in (seen.gpu_energy or {}).items()}
        parts |= {f"package-{i}": joules for i, joules in (seen.cpu_energy or {}).items()}
        parts |= {f"package-dram-{i}": joules for i, joules in (seen.dram_energy or {}).items()}
        parts |= _soc(getattr(seen, "soc_energy", None))
        left_out = [part for part in parts if not part.startswith(self._counted)]
        notes = ["zeus reads counters between their ticks"]
        if left_out:
            notes.append(f"not in the sum: {', '.join(left_out)}")
        error = 2 * _COUNTER_TICK_S / window.seconds
        self.fill(window, parts, self._counted, Quality(error, "counter", 2, tuple(notes)))

    def abandon(self, window: Window) -> None:
        """Close zeus's window too."""
        self.monitor.end_window(window.state, sync_execution=False, cancel=True)


def _soc(seen: Any) -> dict[str, float]:
    """Parts of a system on a chip in J; zeus gives mJ, and its totals are not added to their parts."""
    if seen is None:
        return {}
    values = {name: value for name, value in vars(seen).items() if name.endswith("_mj")}
    whole = {n: v for n, v in values.items() if n in ("cpu_total_mj", "total_mj", "sys_energy_mj")}
    rest = {n: v for n, v in values.items() if n.split("_")[0] in ("gpu", "dram", "ane")}
    chosen = {**whole, **rest} or values
    numbers = {n: v for n, v in chosen.items() if isinstance(v, int | float)}
    return {f"soc-{name.removesuffix('_mj')}": value / 1e3 for name, value in numbers.items()}


class CodeCarbonMeter(_Adapter):
    """CodeCarbon: GPU boards, processor and memory, the last two often from tables of TDP, in one sum.

    Without RAPL its processor is a model; so is its memory, always. Nothing is written or sent.
    """

    boundary: Boundary = "system"
    provenance = "modelled"

    def __init__(self, *, clock: Clock | None = None, tracker: Any = None) -> None:
        super().__init__("codecarbon", clock)
        if tracker is None:
            module = _import("codecarbon", "codecarbon")
            logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
            # Offline: the other tracker asks the internet where it is. The country weighs carbon only, not energy.
            tracker = module.OfflineEmissionsTracker(
                country_iso_code="USA", save_to_file=False, save_to_api=False, log_level="critical",
                measure_power_secs=1, allow_multiple_runs=True,
            )  # fmt: skip
        self.tracker = tracker
        self._names = (f"energy-opt {number}" for number in itertools.count())

    def begin(self, window: Window) -> None:
        """Start a task of its own."""
        window.state = next(self._names)
        self.tracker.start_task(window.state)

    def finish(self, window: Window) -> None:
        """Stop it, and take its parts over."""
        seen = self.tracker.stop_task(window.state)
        if seen is None:
            window.unavailable("codecarbon gave no answer")
            return
        window.seconds = seen.duration
        self.check_length(window)
        parts = {
            part: getattr(seen, f"{part}_energy") * _JOULES_PER_KWH
            for part in ("gpu", "cpu", "ram")
        }
        absent = [part for part, joules in parts.items() if joules == 0]
        notes: tuple[str, ...] = (
            "processor and memory are tables of TDP where RAPL is not readable",
            "the power supply, fans and disks are left out",
        )
        if absent:
            notes += (f"not covered here: {', '.join(absent)}",)
        parts = {part: joules for part, joules in parts.items() if joules}
        window.boundary = "system" if "gpu" in parts else "package"
        self.fill(window, parts, "", Quality(0.5, "modelled", 2, notes))

    def abandon(self, window: Window) -> None:
        """Stop the task."""
        self.tracker.stop_task(window.state)


class PyJoulesMeter(_Adapter):
    """pyJoules: RAPL packages and DRAM, or the GPU's counter, without following their wraps."""

    def __init__(
        self, index: int | None = None, *, clock: Clock | None = None, meter: Any = None
    ) -> None:
        super().__init__("pyjoules", clock)
        if meter is None:
            factory = _import("pyjoules", "pyJoules.device.device_factory").DeviceFactory
            joules = _import("pyjoules", "pyJoules.energy_meter")
            devices = factory.create_devices()
            if not devices:
                raise MeterError("meter pyjoules: it finds neither RAPL nor an NVIDIA GPU here")
            meter = joules.EnergyMeter(devices)
        self.meter = meter
        self._counted = "package" if index is None else f"gpu-{index}"
        self.boundary: Boundary = "package" if index is None else "board"

    def begin(self, window: Window) -> None:
        """Start a trace."""
        window.state = True
        self.meter.start(tag="energy-opt")

    def finish(self, window: Window) -> None:
        """Stop it, and take its parts over: RAPL counts µJ there, NVIDIA mJ."""
        self.meter.stop()
        sample = self.meter.get_trace()[0]
        window.seconds = sample.duration
        self.check_length(window)
        parts = {}
        for part, value in sample.energy.items():
            if part.startswith("nvidia_gpu_"):
                parts[f"gpu-{part.removeprefix('nvidia_gpu_')}"] = value * 1e-3
            elif part.startswith("dram_"):
                parts[f"package-dram-{part.removeprefix('dram_')}"] = value * 1e-6
            else:
                parts[part.replace("_", "-")] = value * 1e-6
        left_out = [part for part in parts if not part.startswith(self._counted)]
        notes = (f"not in the sum: {', '.join(left_out)}",) if left_out else ()
        tick_s = 1e-3 if self.boundary == "package" else _COUNTER_TICK_S
        error = 2 * tick_s / window.seconds
        self.fill(window, parts, self._counted, Quality(error, "counter", 2, notes))

    def abandon(self, window: Window) -> None:
        """Stop the trace."""
        self.meter.stop()
