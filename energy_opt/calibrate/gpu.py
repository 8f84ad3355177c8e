"""The GPU backend: captured graphs over a ring of operands, energy over windows of a second or more."""
# ruff: noqa: TID253  (this file is imported where a GPU is calibrated)

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from energy_opt.calibrate.accelerator import Accelerator, Captured, Cuda, applied, libraries
from energy_opt.calibrate.backend import NO_IDLE, PLAIN, Backend, Idle, Setting, Timing
from energy_opt.calibrate.base import base_of
from energy_opt.calibrate.gpu_host import host_costs
from energy_opt.calibrate.primitives import Primitive
from energy_opt.calibrate.random_tensors import Pool, bound
from energy_opt.calibrate.schedule import Point
from energy_opt.estimators.runtime import HostCost
from energy_opt.measure.meters import Meter, NullMeter, open_meter

RING = 4
"""The operands of a graph's executions are together this many times the L2 cache. Source: docs/estimators.md."""
MOST_EXECUTIONS = 512
LEAST_EXECUTIONS = 2
"""A graph's executions: launching the graph must not tell, nor may capturing it take long."""

WARM_S = 0.3
"""Work before an energy window, so that clocks and temperature are those of steady work."""
WINDOW_S = 1.05
"""An energy window; the meter's least window counts where that is longer."""
SPOT_WARM_S, SPOT_S, SPOTS = 0.02, 0.006, 5
"""Before, and length and number of, the windows of a point that only its latency is wanted of."""
IDLE_S = 3.0
SOAK_S, SOAK_MOST_S = 4.0, 20.0
"""Work before the first point: until the chip warms by less than 1 degree in 4 s, at most 20 s."""
_CHUNK_S = 0.05
_POOL_MEGABYTES = 256


class Held:
    """A primitive captured: how many executions a replay makes, and the replay."""

    def __init__(self, captured: Captured, executions: int) -> None:
        self.captured: Captured | None = captured
        self.executions = executions

    def run(self) -> None:
        """Queue one replay."""
        if self.captured is not None:
            self.captured.replay()

    def close(self) -> None:
        """Let go of the graph and its memory."""
        self.captured = None


class GpuBackend:
    """One GPU, timed by graphs that it replays without the host.

    `meter` sees its energy; a null meter leaves energy unknown. `eager` costs of the host are measured apart.
    """

    runtime = "eager"
    passes = 1

    def __init__(
        self,
        on: Accelerator,
        meter: Meter,
        *,
        target: str = "cuda:0",
        ring_bytes: float | None = None,
        soak_s: float = SOAK_MOST_S,
        pool_megabytes: int = _POOL_MEGABYTES,
    ) -> None:
        self.on, self.meter, self.target = on, meter, target
        self.window_s = max(WINDOW_S, 1.05 * meter.least_window_s)
        self._ring_bytes, self._soak_left_s, self._megabytes = ring_bytes, soak_s, pool_megabytes
        self._pools: dict[str, Pool] = {}
        self._idle: Idle | None = None
        self._opened = False

    def facts(self) -> Mapping[str, Any]:
        """What the device is, and the power limit that it has."""
        self._measure_idle()
        known = {name: value for name, value in self.on.facts().items() if value is not None}
        return known | {
            "libraries": libraries(),
            "driver": getattr(self.meter, "driver", None),
            "meter": f"{self.meter.name} ({self.meter.provenance}, {self.meter.boundary})",
            "power_limit_w": self._limit_w(),
        }

    def _limit_w(self) -> float | None:
        sensor = getattr(self.meter, "sensor", None)
        return None if sensor is None else sensor.limit_w()

    def _metered(self) -> bool:
        return not isinstance(self.meter, NullMeter)

    def _measure_idle(self) -> Idle:
        """Power before a context is open, and with one: so this comes before anything touches the device."""
        if self._idle is None:
            bare_w = self.meter.idle_power_w(IDLE_S) if self._metered() else None
            self.on.open()
            self._opened = True
            self._idle = NO_IDLE
            if self._metered():
                self.on.clock.sleep(1.0)  # opening it draws power that is not idle
                self._idle = Idle(bare_w, self.meter.idle_power_w(IDLE_S))
        return self._idle

    def idle(self) -> Idle:
        """W before and with an open context; None without a meter."""
        return self._measure_idle()

    def host(self) -> Mapping[str, HostCost]:
        """What the host spends, op by op and per graph."""
        self._measure_idle()
        return host_costs(self.on)

    def prepare(self, primitive: Primitive, seed: int, setting: Setting = PLAIN) -> Held:
        """The primitive captured over a ring of operands. Raises Unrunnable."""
        executions = self._executions(primitive)
        pool = self._pool(setting.data)
        with torch.inference_mode(), applied(setting):
            calls = [
                bound(primitive, lambda spec, written: pool.tensor(spec, own=written))
                for _ in range(executions)
            ]

            def work() -> list[Any]:
                return [function(*given, **named) for function, given, named in calls]

            return Held(self.on.capture(work, [(primitive.work, executions)]), executions)

    def _executions(self, primitive: Primitive) -> int:
        ring = self._ring_bytes
        if ring is None:
            ring = RING * float(self.on.facts().get("l2_bytes") or 64e6)
            self._ring_bytes = ring
        count = math.ceil(ring / max(primitive.nbytes, 1))
        return min(max(count, LEAST_EXECUTIONS), MOST_EXECUTIONS)

    def _pool(self, data: Any) -> Pool:
        if data not in self._pools:
            self._pools[data] = Pool(self._megabytes, 0, self.on.device, data)
        return self._pools[data]

    def time(self, prepared: Held, *, energy: bool = False) -> Timing:
        """Seconds of one execution and, over a window of the meter, joules."""
        self._soak(prepared)
        return self._window(prepared) if energy and self._metered() else self._spots(prepared)

    def _soak(self, prepared: Held) -> None:
        """Warm up once: until the temperature stands still."""
        while self._soak_left_s > 0:
            before = self._temperature_c()
            self._keep_busy(prepared, SOAK_S)
            after = self._temperature_c()
            self._soak_left_s -= SOAK_S
            if before is None or after is None or after - before < 1.0:
                self._soak_left_s = 0.0

    def _temperature_c(self) -> float | None:
        sensor = getattr(self.meter, "sensor", None)
        return None if sensor is None else sensor.temperature_c()

    def _spots(self, prepared: Held) -> Timing:
        """The median of a few windows of some milliseconds."""
        replay_s = self._keep_busy(prepared, SPOT_WARM_S)
        replays = max(1, math.ceil(SPOT_S / replay_s))
        seconds = [
            self.on.seconds(lambda: self._queue(prepared, replays))
            / (replays * prepared.executions)
            for _ in range(SPOTS)
        ]
        return Timing(
            latency_s=float(np.median(seconds)),
            repeats=SPOTS * replays * prepared.executions,
            spread=_spread(seconds),
            at_s=self.on.clock.now(),
        )

    def _window(self, prepared: Held) -> Timing:
        """Seconds and joules over one window of the meter."""
        replay_s = self._keep_busy(prepared, WARM_S)
        chunk = max(1, math.ceil(_CHUNK_S / replay_s))
        seconds: list[float] = []
        with self.meter.window(sync=self.on.synchronize) as window:
            start_s = self.on.clock.now()
            while self.on.clock.now() - start_s < self.window_s:
                seconds.append(self.on.seconds(lambda: self._queue(prepared, chunk)))
        executions = len(seconds) * chunk * prepared.executions
        each = [s / (chunk * prepared.executions) for s in seconds]
        clocks = window.clocks_hz or {}
        power_w = window.mean_power_w
        latency_s = float(np.median(each))
        return Timing(
            latency_s=latency_s,
            repeats=executions,
            spread=_spread(each),
            # Between chunks the device waits some microseconds: power times latency leaves that out.
            energy_j=None if power_w is None else power_w * latency_s,
            energy_error=None if power_w is None else window.quality.relative_error,
            power_w=power_w,
            clocks_hz=clocks.get("sm"),
            temperature_c=window.temperature_c,
            throttled=tuple(window.throttled or ()),
            at_s=self.on.clock.now(),
        )

    def _queue(self, prepared: Held, replays: int) -> None:
        for _ in range(replays):
            prepared.run()

    def _keep_busy(self, prepared: Held, for_s: float) -> float:
        """Work for about that long; seconds of one replay."""
        replay_s = max(self.on.seconds(prepared.run), 1e-7)
        left_s = for_s - replay_s
        while left_s > 0:
            replays = max(1, math.ceil(min(left_s, _CHUNK_S) / replay_s))
            spent_s = self.on.seconds(lambda count=replays: self._queue(prepared, count))  # type: ignore[misc]
            replay_s = max(spent_s / replays, 1e-7)
            left_s -= spent_s
        return replay_s

    def now_s(self) -> float:
        """The clock of the accelerator."""
        return self.on.clock.now()

    def close(self) -> None:
        """Give the memory back and close the meter."""
        self._pools.clear()
        self.on.release()
        self.meter.close()


def _spread(seconds: Sequence[float]) -> float:
    """Standard deviation of the logarithms, from the median of their distances."""
    logs = np.log(seconds)
    return float(1.4826 * np.median(np.abs(logs - np.median(logs))))


def open_target(
    index: int = 0,
    *,
    models: Sequence[Any] = (),
    dtypes: Sequence[str] | None = None,
    runtime: str | None = None,
    meter: Any = None,
    seed: int = 0,
    force: bool = False,
) -> tuple[Backend, Sequence[Point], Sequence[Point]]:
    """The backend of a CUDA device, its points and its anchors.

    `meter` is an open one or a name; without one NVML's is taken where it works.

    Raises:
        CalibrationError: there is no such device.
        UsageError: a runtime or type that is not timed on GPUs.
        MeterError: the meter does not work here.
    """
    from energy_opt.calibrate.gpu_points import anchors, points, refuse_busy

    on = Cuda(index)
    if not isinstance(meter, Meter):
        meter = open_meter(meter or "auto", device=f"cuda:{index}")
    if not force:
        refuse_busy(meter)
    backend = GpuBackend(on, meter, target=f"cuda:{index}")
    try:
        facts = backend.facts()
        chosen = points(
            dtypes=dtypes, models=models, runtime=runtime, device=base_of(backend.target, facts, []), seed=seed
        )  # fmt: skip
    except BaseException:
        backend.close()
        raise
    return backend, chosen, anchors()
