"""A GPU that is not there: a power trace behind the functions of NVML, on a virtual clock.

What runs against `FakeNvml` is the code that runs against the driver: tests, the benchmark of the meters, and the dry
run of a calibration. The fake knows the true energy, so that what a meter says can be compared.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from energy_opt.measure.meters.clock import Clock, VirtualClock
from energy_opt.measure.meters.meter import Meter, Window
from energy_opt.measure.meters.trace import Trace


@dataclass
class FakeGpuSettings:
    """How a fake GPU and its sensor behave. The defaults are those of a large board of recent make.

    The energy counter steps every `tick_s`, each step late or early by up to `jitter` of it; power readings are renewed
    every `update_s` and are means over `averaging_s`. With `duty` below 1 the sensor looks at that share of every
    `duty_period_s` only, and the counter adds up what it saw. A call of the driver takes `call_s`.
    """

    name: str = "FAKE H100"
    uuid: str = "GPU-00000000-0000-0000-0000-000000000000"
    architecture: int = 9
    idle_w: float = 70.0
    limit_w: float = 700.0
    tick_s: float = 0.05
    jitter: float = 0.02
    update_s: float = 0.1
    averaging_s: float = 1.0
    duty: float = 1.0
    duty_period_s: float = 0.1
    call_s: float = 2e-5
    counter: bool = True
    instant: bool = True
    mig: bool = False
    vgpu: bool = False
    seed: int = 0


class FakeGpu:
    """Power as steps over time. Work is queued as on a real device: it runs while the host goes on.

    `submit(power_w, seconds)` queues work, `synchronize()` waits for it.
    """

    def __init__(self, clock: Clock | None = None, settings: FakeGpuSettings | None = None) -> None:
        self.clock = VirtualClock() if clock is None else clock
        self.settings = settings or FakeGpuSettings()
        self._times = [self.clock.now() - 60.0]
        self._powers = [self.settings.idle_w]
        self._energies = [0.0]
        self._busy_until = self.clock.now()
        self._random = random.Random(self.settings.seed)
        self._ticks = [self.clock.now() - 0.5 - self._random.random() * self.settings.tick_s]
        self.reasons_at: Callable[[float], int] = lambda _time_s: 0

    @classmethod
    def of_trace(
        cls,
        trace: Trace,
        clock: Clock | None = None,
        settings: FakeGpuSettings | None = None,
    ) -> FakeGpu:
        """A GPU that draws what a recorded trace says, from now on; each reading holds until the next."""
        gpu = cls(clock, settings)
        for seconds, power in zip(_steps(trace), trace.power_w, strict=True):
            gpu.submit(float(power), seconds)
        return gpu

    def submit(self, power_w: float, seconds: float) -> None:
        """Queue work that draws `power_w` for `seconds`, capped at the power limit."""
        start = max(self.clock.now(), self._busy_until)
        self._step(start, min(power_w, self.settings.limit_w))
        self._busy_until = start + seconds
        self._step(self._busy_until, self.settings.idle_w)

    def synchronize(self) -> None:
        """Wait until the queued work is done."""
        self.clock.sleep(self._busy_until - self.clock.now())

    @property
    def busy_until_s(self) -> float:
        """When the queued work will be done, in the clock's seconds."""
        return self._busy_until

    def energy_j(self, time_s: float) -> float:
        """The true energy in J from the beginning to a moment."""
        at = bisect.bisect_right(self._times, time_s) - 1
        if at < 0:
            return 0.0
        return self._energies[at] + self._powers[at] * (time_s - self._times[at])

    def power_w(self, time_s: float) -> float:
        """The true power in W at a moment."""
        return self._powers[max(0, bisect.bisect_right(self._times, time_s) - 1)]

    def counter_mj(self) -> int:
        """The energy counter now: the energy at its last step, as the sensor saw it."""
        now = self.clock.now()
        setting = self.settings
        while self._ticks[-1] <= now:
            late = 1 + setting.jitter * (2 * self._random.random() - 1)
            self._ticks.append(self._ticks[-1] + setting.tick_s * late)
        tick = self._ticks[bisect.bisect_right(self._ticks, now) - 1]
        return int(1000 * self._seen_j(tick))

    def reading_mw(self, averaging_s: float) -> int:
        """The power reading now: renewed every `update_s`, a mean over `averaging_s`, of what the sensor sees."""
        update = self.settings.update_s
        at = (self.clock.now() // update) * update
        if averaging_s <= 0:
            return int(1000 * self.power_w(at))
        return int(1000 * (self._seen_j(at) - self._seen_j(at - averaging_s)) / averaging_s)

    def _seen_j(self, time_s: float) -> float:
        """Energy as a sensor that looks only part of the time takes it to be."""
        duty, period = self.settings.duty, self.settings.duty_period_s
        if duty >= 1:
            return self.energy_j(time_s)
        first = self._times[0]
        whole = int((time_s - first) // period)
        seen = self._duty_sum(whole)
        # Within a period that is not over, the reading of the last one holds.
        last = self._duty_sum(whole) - self._duty_sum(whole - 1) if whole else 0.0
        return seen + last * ((time_s - first) / period - whole)

    def _duty_sum(self, periods: int) -> float:
        first, period, duty = self._times[0], self.settings.duty_period_s, self.settings.duty
        cache: list[float] = self.__dict__.setdefault("_duty_cache", [0.0])
        now = self.clock.now()
        while len(cache) <= periods:
            start = first + (len(cache) - 1) * period
            seen = (self.energy_j(start + duty * period) - self.energy_j(start)) / duty
            if start + period > now:  # still to come, so not to be remembered
                return cache[-1] + seen
            cache.append(cache[-1] + seen)
        return cache[max(0, periods)]

    def _step(self, time_s: float, power_w: float) -> None:
        if time_s <= self._times[-1]:  # the idle after the last work begins where new work does
            self._powers[-1] = power_w
            return
        self._energies.append(self.energy_j(time_s))
        self._times.append(time_s)
        self._powers.append(power_w)


class FakeNvmlError(Exception):
    """What the fake raises where the driver would."""

    def __init__(self, value: int, text: str) -> None:
        super().__init__(text)
        self.value = value


class FakeNvml:
    """The functions of pynvml that the meter uses, over one or several fake GPUs; handles are the GPUs."""

    NVMLError = FakeNvmlError
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVML_FI_DEV_POWER_INSTANT = 186
    NVML_GPU_VIRTUALIZATION_MODE_VGPU = 2
    NVML_ERROR_NOT_SUPPORTED = 3

    def __init__(self, *gpus: FakeGpu) -> None:
        self.gpus = gpus or (FakeGpu(),)
        self.clock = self.gpus[0].clock
        self.calls = 0

    def _spend(self, gpu: FakeGpu) -> None:
        self.calls += 1
        if isinstance(self.clock, VirtualClock):
            self.clock.advance(gpu.settings.call_s)

    def nvmlInit(self) -> None:
        """Nothing to start."""

    def nvmlShutdown(self) -> None:
        """Nothing to stop."""

    def nvmlSystemGetDriverVersion(self) -> str:
        """A version that no driver has."""
        return "0.0 (replay)"

    def nvmlDeviceGetCount(self) -> int:
        """How many fake GPUs there are."""
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        """The fake GPU of a number."""
        return self.gpus[index]

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        """The fake's name."""
        return gpu.settings.name

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:
        """The fake's UUID."""
        return gpu.settings.uuid

    def nvmlDeviceGetArchitecture(self, gpu: FakeGpu) -> int:
        """The fake's architecture by NVML's numbers: 7 is Ampere, 9 Hopper."""
        return gpu.settings.architecture

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:
        """Whether the fake is split."""
        return [int(gpu.settings.mig)] * 2

    def nvmlDeviceGetVirtualizationMode(self, gpu: FakeGpu) -> int:
        """Whether the fake is a virtual GPU."""
        return 2 if gpu.settings.vgpu else 0

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> int:
        """The energy counter in mJ."""
        self._spend(gpu)
        if not gpu.settings.counter:
            raise FakeNvmlError(3, "Not Supported")
        return gpu.counter_mj()

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:
        """The power reading in mW: a moving average."""
        self._spend(gpu)
        return gpu.reading_mw(gpu.settings.averaging_s)

    def nvmlDeviceGetFieldValues(
        self, gpu: FakeGpu, fields: Sequence[int]
    ) -> list[SimpleNamespace]:
        """The instantaneous power in mW, where the fake has it."""
        self._spend(gpu)
        has = gpu.settings.instant
        value = SimpleNamespace(uiVal=gpu.reading_mw(0.0) if has else 0)
        return [SimpleNamespace(nvmlReturn=0 if has else 3, value=value) for _ in fields]

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu: FakeGpu) -> int:
        """The power limit in mW."""
        return int(1000 * gpu.settings.limit_w)

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu: FakeGpu) -> int:
        """The bits of what holds the clocks down: the power cap while at the limit, and what `reasons_at` adds."""
        now = self.clock.now()
        capped = 0x4 if gpu.power_w(now) >= gpu.settings.limit_w else 0
        idle = 0x1 if gpu.power_w(now) <= gpu.settings.idle_w else 0
        return capped | idle | gpu.reasons_at(now)

    def nvmlDeviceGetClockInfo(self, gpu: FakeGpu, kind: int) -> int:
        """A clock in MHz."""
        return 2619 if kind == self.NVML_CLOCK_MEM else 1980

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, _sensor: int) -> int:
        """A temperature in degrees Celsius that goes with the power."""
        return int(35 + 35 * gpu.power_w(self.clock.now()) / gpu.settings.limit_w)

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> SimpleNamespace:
        """Percent of busy time: all or nothing."""
        busy = gpu.power_w(self.clock.now()) > gpu.settings.idle_w
        return SimpleNamespace(gpu=100 * busy, memory=50 * busy)


class ReplayMeter(Meter):
    """A recorded trace as a meter on a virtual clock: windows are parts of the trace, played from its start."""

    name = "replay"

    def __init__(self, trace: Trace, clock: VirtualClock | None = None) -> None:
        self.trace = trace
        self.boundary = trace.boundary
        self.clock: VirtualClock = clock or VirtualClock(trace.start_s)
        self.least_window_s = max(2 * trace.spacing_s, 2 * trace.averaging_s)

    def begin(self, window: Window) -> None:
        """Note where on the trace the window starts."""
        window.state = self.clock.now()

    def finish(self, window: Window) -> None:
        """The energy of the trace since then.

        Raises:
            MeterError: the window is too short or runs past the end of the trace.
        """
        start, end = window.state, self.clock.now()
        window.seconds = end - start
        self.check_length(window)
        window.energy_j, window.quality = self.trace.measure(start, end)


def _steps(trace: Trace) -> list[float]:
    steps = [float(step) for step in trace.time_s[1:] - trace.time_s[:-1]]
    return [*steps, trace.spacing_s]
