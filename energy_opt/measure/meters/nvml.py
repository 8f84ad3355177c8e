"""NVIDIA GPUs: the board's energy counter read on its ticks, or its power integrated where there is no counter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from energy_opt.errors import MeterError
from energy_opt.measure.meters.clock import Clock, SystemClock
from energy_opt.measure.meters.cuda_visible import VisibleGpu, text, visible_gpus
from energy_opt.measure.meters.meter import Meter, Quality, Window
from energy_opt.measure.meters.sensor import DUTY_NOTE, DUTY_PERIOD_S, SENSOR_NOTE, UPDATE_S, Sensor
from energy_opt.measure.meters.ticks import Rhythm, Tick, next_tick, rhythm, split
from energy_opt.measure.meters.trace import Trace
from energy_opt.measure.meters.watch import Watch

LEAST_WINDOW_S = 1.0
TICK_TIMEOUT_S = 1.0
"""Counters tick every 20 to 100 ms; one that is still for this long is taken to stand."""
INTEGRAL_PERIOD_S, LOOK_EVERY = 0.02, 12
_MILLIJOULE = 1e-3
_AGREE = 0.05
LEAST_UNSTEADY = 0.15
"""A tick's worth of power is taken to differ from the window's mean by at least this much."""


@dataclass
class _Open:
    start_s: float
    watch: Watch
    tick: Tick | None


class NvmlMeter(Meter):
    """One GPU's board: chip, memory and regulators, not the host.

    `index` counts as CUDA does in this process. Windows shorter than `least_window_s` (1 s unless given) are refused;
    what a shorter one costs in accuracy stands in its quality. During a window the board is looked at every `watch_s`
    seconds, for clocks, temperature, throttling and how steady its power is; None leaves that out. Nothing is ever set.

    Raises:
        MeterError: no driver, no such GPU, or one that cannot be metered (MIG, a virtual GPU).
    """

    name = "nvml"
    boundary = "board"

    def __init__(
        self,
        index: int = 0,
        *,
        least_window_s: float | None = None,
        watch_s: float | None = 0.25,
        use_counter: bool = True,
        nvml: Any = None,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.nvml = load(nvml)
        self.gpu = _choose(visible_gpus(self.nvml, environ), index)
        self.name = f"nvml:{index}" if index else "nvml"
        self.clock = clock or getattr(nvml, "clock", None) or SystemClock()
        self.sensor = Sensor(self.nvml, self.gpu)
        self.watch_s = watch_s
        self.rhythm: Rhythm | None = None
        self._notes: tuple[str, ...] = ()
        self._at_idle: tuple[str, ...] = ()
        if use_counter and self.sensor.has_counter():
            self.rhythm = rhythm(self.sensor.counter_mj, self.clock, timeout_s=TICK_TIMEOUT_S)
            if self.rhythm is None:
                self._notes += (
                    "the energy counter stands still, so power readings are integrated",
                )
        self._instant = self.sensor.instant_w() is not None
        averaging_s = 0.0 if self._instant else self.sensor.averaging_s
        if self.rhythm is None and self.sensor.usage_w() is None:
            raise MeterError(
                f"meter nvml: GPU {index} ({self.gpu.name}) reports neither energy nor power"
            )
        floor_s = 0.0 if self.rhythm is not None else 2 * averaging_s
        self.averaging_s = averaging_s
        self.least_window_s = max(LEAST_WINDOW_S if least_window_s is None else least_window_s, floor_s)  # fmt: skip
        self.settle_s = self.rhythm.length_s if self.rhythm is not None else 0.0

    @property
    def driver(self) -> str:
        """The driver's version."""
        return text(self.nvml.nvmlSystemGetDriverVersion())

    def begin(self, window: Window) -> None:
        """Wait for a tick of the counter and start looking."""
        watch = Watch(self.sensor, self.clock, self._instant)
        window.power_limit_w = self.sensor.limit_w()
        tick = None
        if self.rhythm is not None:
            if self.watch_s is not None:
                watch.start(self.watch_s)
            tick = next_tick(
                self.sensor.counter_mj, self.clock, TICK_TIMEOUT_S, pause_s=self.rhythm.pause_s
            )
        else:
            watch.power()
            watch.start(INTEGRAL_PERIOD_S, power_only=LOOK_EVERY)
        start_s = self.clock.now() if tick is None else tick.time_s
        window.state = _Open(start_s, watch, tick)

    def finish(self, window: Window) -> None:
        """Read where the counter is, wait for its next tick, and fill the window in."""
        state: _Open = window.state
        end_s = self.clock.now()
        window.seconds = end_s - state.start_s
        try:
            if self.rhythm is not None and state.tick is not None:
                at_end = self.sensor.counter_mj()
                state.watch.look_once()
                self.check_length(window, self._advice(window.seconds))
                self._count(window, state, state.tick, end_s, at_end)
            else:
                state.watch.stop()
                state.watch.power()
                state.watch.look_once()
                self.check_length(window, self._advice(window.seconds))
                self._integrate(window, state, end_s)
        except self.nvml.NVMLError as error:
            window.unavailable(f"the driver failed during the window: {error}")
        finally:
            state.watch.stop()
        self._describe(window, state.watch)

    def abandon(self, window: Window) -> None:
        """Stop looking."""
        if window.state is not None:
            window.state.watch.stop()

    def close(self) -> None:
        """Let go of the driver."""
        self.nvml.nvmlShutdown()

    def idle_power_w(self, seconds: float = 3.0) -> float | None:
        """Mean power in W while this process does nothing, and a check of the counter against the power readings.

        Where the two differ by more than 5 %, every later window says so.
        """
        if self.rhythm is None:
            return super().idle_power_w(seconds)
        watch = Watch(self.sensor, self.clock, self._instant)
        with self.window() as window:
            watch.start(INTEGRAL_PERIOD_S, power_only=LOOK_EVERY)
            self.clock.sleep(max(seconds, self.least_window_s))
            watch.stop()
        if window.mean_power_w and watch.power_w:
            # A moving average still shows, for its own width, what was before the idle.
            since_s = watch.time_s[0] + self.averaging_s
            seen = [p for t, p in zip(watch.time_s, watch.power_w, strict=True) if t >= since_s]
            self._compare(window.mean_power_w, float(np.mean(seen)) if seen else None)
        return window.mean_power_w

    def _compare(self, counted_w: float, read_w: float | None) -> None:
        self._at_idle = ()
        if read_w is None or abs(read_w / counted_w - 1) <= _AGREE:
            return
        self._at_idle = (
            f"at idle the counter says {counted_w:.4g} W and the power reading {read_w:.4g} W",
        )

    def _count(self, window: Window, state: _Open, first: Tick, end_s: float, at_end: int) -> None:
        assert self.rhythm is not None
        last = next_tick(
            self.sensor.counter_mj, self.clock, TICK_TIMEOUT_S, known=at_end, known_s=end_s,
            pause_s=self.rhythm.pause_s,
        )  # fmt: skip
        state.watch.stop()
        if last is None:
            window.unavailable("the energy counter stopped ticking during the window")
            return
        if at_end < first.value:
            window.unavailable("the energy counter went back: the driver was reloaded")
            return
        unsteady = state.watch.unsteady(end_s)
        part = split(
            first, end_s, at_end, last, self.rhythm, unit_j=_MILLIJOULE,
            unsteady=max(unsteady, LEAST_UNSTEADY),
        )  # fmt: skip
        if part.energy_j <= 0:
            window.unavailable("the energy counter did not move")
            return
        error = part.error_j / part.energy_j + self._part_time_error(window, unsteady)
        window.energy_j = part.energy_j
        window.quality = self._quality(error, "counter", part.ticks)

    def _integrate(self, window: Window, state: _Open, end_s: float) -> None:
        watch = state.watch
        if len(watch.time_s) < 2:
            window.unavailable("the driver gave fewer than two readings of power in the window")
            return
        trace = Trace(
            np.array(watch.time_s), np.array(watch.power_w), "board", self.name, self.averaging_s,
            UPDATE_S,
        )  # fmt: skip
        # The two end readings are taken a call's length after the ends.
        start, end = (
            max(state.start_s, trace.start_s),
            min(end_s + trace.spacing_s, trace.end_s),
        )
        energy_j, quality = trace.measure(start, end)
        window.energy_j = energy_j * window.seconds / (end - start)
        error = quality.relative_error + self._part_time_error(window, watch.unsteady(end_s))
        method = "integral of a moving average" if self.averaging_s else "integral"
        window.quality = self._quality(error, method, quality.samples).noting(*quality.notes)

    def _part_time_error(self, window: Window, unsteady: float) -> float:
        """What a sensor that looks a quarter of the time may miss: looks at random moments, as many as there were.

        At either end it may also have looked before the work began or ended, for up to a period. Whether the energy
        counter is made of the same looks is not documented, so it is taken to be.
        """
        if not self.sensor.part_time:
            return 0.0
        looks = max(window.seconds / DUTY_PERIOD_S, 1.0)
        return max(unsteady, LEAST_UNSTEADY / 5) / math.sqrt(looks) + 0.5 / looks

    def _quality(self, error: float, method: str, samples: int) -> Quality:
        notes = (*self._notes, *self._at_idle, SENSOR_NOTE)
        if self.sensor.part_time:
            notes = (*notes, DUTY_NOTE)
        if self.rhythm is None and self.averaging_s:
            notes = (*notes, "power readings are means over 1 s, and are unrolled as such")
        return Quality(error, method, samples, notes)

    def _describe(self, window: Window, watch: Watch) -> None:
        window.throttled = tuple(watch.held_back) if watch.knows_reasons else None
        window.clocks_hz = watch.mean_clocks_hz()
        window.temperature_c = max(watch.temperatures_c, default=None)
        window.utilisation = sum(watch.busy) / len(watch.busy) if watch.busy else None

    def _advice(self, seconds: float) -> str:
        if self.rhythm is None or seconds <= 0:
            return ""
        error = min(self.rhythm.length_s / seconds, 1.0)
        return (
            f", or open the meter with least_window_s={seconds:.2g} and accept an error of up to {100 * error:.0f} % "
            f"(the counter ticks every {1e3 * self.rhythm.length_s:.0f} ms)"
        )


def load(nvml: Any = None) -> Any:
    """NVML's Python bindings, started.

    Raises:
        MeterError: they are not installed, or there is no driver.
    """
    if nvml is None:
        try:
            import pynvml
        except ImportError:
            raise MeterError(
                "meter nvml: the package nvidia-ml-py is not installed; pip install nvidia-ml-py"
            ) from None
        nvml = pynvml
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise MeterError(
            f"meter nvml: the NVIDIA driver does not answer ({error}); is there an NVIDIA GPU "
            "here, and is its driver loaded?"
        ) from None
    return nvml


def _choose(gpus: list[VisibleGpu], index: int) -> VisibleGpu:
    if not 0 <= index < len(gpus):
        raise MeterError(
            f"meter nvml: GPU {index} is not visible; there are 0 to {len(gpus) - 1} (CUDA_VISIBLE_DEVICES counts)"
        )
    if gpus[index].reason:
        raise MeterError(f"meter nvml: {gpus[index].reason}")
    return gpus[index]
