"""A GPU that is not there: the CPU runs each operator once, and a replayed board draws power for as long as it says.

It makes the dry run of a GPU calibration: everything but CUDA itself is the code that runs on a GPU.
"""
# ruff: noqa: TID253  (this file is imported where a GPU is calibrated)

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from energy_opt.calibrate.accelerator import Captured, Hint, said
from energy_opt.calibrate.backend import Unrunnable
from energy_opt.estimators.work import RowWork
from energy_opt.measure.meters.replay import FakeGpu, FakeGpuSettings, FakeNvml

PEAK_FLOPS, BANDWIDTH, START_S = 2e11, 2e10, 4e-6
"""A small accelerator: fast enough that windows hold many executions, slow enough that small shapes tell."""
BASE_W, PEAK_W, STREAM_W = 120.0, 480.0, 260.0
"""Power while busy, and what arithmetic and traffic at full rate add."""
CAP_W = 700.0
LAUNCH_S = 5e-6
OWN_SD = 0.02
"""How far kernels are off what their work says, as a standard deviation of the logarithm."""


class FakeAccelerator:
    """A device on a virtual clock whose times follow a roofline with noise, and whose power follows its load."""

    wants_hints = True

    def __init__(self, seed: int = 0, settings: FakeGpuSettings | None = None) -> None:
        self.gpu = FakeGpu(
            settings=settings or FakeGpuSettings(name="Fake GPU", limit_w=CAP_W, seed=seed)
        )
        self.nvml = FakeNvml(self.gpu)
        self.device = "cpu"
        self.clock = self.gpu.clock
        self._random = random.Random(seed)

    def open(self) -> None:
        """A context costs some power, as on a real device."""

    def facts(self) -> dict[str, Any]:
        """A small GPU that says what it is."""
        return {
            "device": "Fake GPU (dry run)", "kind": "gpu", "units": 16, "memory_bytes": 8e9, "l2_bytes": 2**18,
            "capability": "0.0", "host": "dry-run",
        }  # fmt: skip

    def synchronize(self) -> None:
        """Let virtual time pass until the queued work is done."""
        self.gpu.synchronize()

    def capture(self, work: Callable[[], object], hint: Hint) -> Captured:
        """Run it once for real, and remember how long it would take."""
        try:
            with torch.inference_mode():
                work()
        except (RuntimeError, ValueError, TypeError, NotImplementedError, IndexError) as error:
            raise Unrunnable(said(error)) from error
        seconds = joules = 0.0
        for each, count in hint:
            each_s, power_w = self._modelled(each)
            # Kernels differ from what their work says, and not by noise that more replays would even out.
            each_s *= float(np.exp(self._random.gauss(0.0, OWN_SD))) * count
            seconds, joules = seconds + each_s, joules + each_s * power_w
        return _Queued(self, seconds, joules / seconds)

    def loose(self, work: Callable[[], object], hint: Hint) -> Captured:
        """As captured, but no faster than the host launches: meanwhile clocks stay up, and so does the base power."""
        queued = self.capture(work, hint)
        assert isinstance(queued, _Queued)
        wait_s = LAUNCH_S * sum(count for _, count in hint) - queued.seconds
        if wait_s > 0:
            joules = queued.seconds * queued.power_w + wait_s * BASE_W
            queued.seconds += wait_s
            queued.power_w = joules / queued.seconds
        return queued

    def _modelled(self, work: RowWork) -> tuple[float, float]:
        compute = float(work.matmul_flops / PEAK_FLOPS + work.other_flops / (PEAK_FLOPS / 8))
        memory = float(work.bytes / BANDWIDTH)
        seconds = START_S + max(compute, memory)
        power_w = BASE_W + PEAK_W * compute / seconds + STREAM_W * memory / seconds
        return seconds, min(power_w, CAP_W)

    def noise(self) -> float:
        """A factor of 1 % or so."""
        return float(np.exp(self._random.gauss(0.0, 0.01)))

    def seconds(self, queue: Callable[[], None]) -> float:
        """Seconds of the virtual clock."""
        self.synchronize()
        start_s = self.clock.now()
        queue()
        self.synchronize()
        return self.clock.now() - start_s

    def release(self) -> None:
        """Nothing to give back."""

    def loose_s(self, steps: int, call: Callable[[], object], launches: int) -> float:
        """The call is made once; a launch is said to take 5 microseconds, a view 1."""
        call()
        return LAUNCH_S * launches + 1e-6


class _Queued:
    def __init__(self, on: FakeAccelerator, seconds: float, power_w: float) -> None:
        self._on, self.seconds, self.power_w = on, seconds, power_w

    def replay(self) -> None:
        self._on.gpu.submit(self.power_w, self.seconds * self._on.noise())
