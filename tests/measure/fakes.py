"""A clock that only moves when something runs, a runner with scripted times, and a meter that sees that clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """Each call takes the next of `seconds`, and then the last one for ever."""

    name, target, notes = "eager", "cpu", ()

    def __init__(self, clock: Time, *seconds: float, queued: bool = False) -> None:
        self.clock, self.queued = clock, queued
        self._seconds: Iterator[float] = iter(seconds)
        self._last = seconds[-1]
        self.calls = 0
        self.pending = 0.0

    def run(self) -> None:
        self.calls += 1
        self._last = next(self._seconds, self._last)
        if self.queued:
            self.pending += self._last
            self.clock.now += self._last / 10  # queueing is quicker than running
        else:
            self.clock.now += self._last

    def wait(self) -> None:
        self.clock.now += max(0.0, self.pending * 0.9)
        self.pending = 0.0

    def facts(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        pass


class ConstantPower:
    """`power_w` at all times; it opens `before_s` early and closes `after_s` late, as one that waits for a tick."""

    name, boundary, provenance = "fake", "board", "measured"

    def __init__(
        self, clock: Any, power_w: float | None, *, least_s: float = 0.0, after_s: float = 0.0
    ) -> None:
        self.clock, self.power_w, self.least_window_s, self.after_s = (
            clock,
            power_w,
            least_s,
            after_s,
        )
        self.windows: list[Any] = []
        self.closed = False

    def window(self, sync: Any = None) -> Any:
        meter = self
        window = SimpleNamespace(
            energy_j=None, seconds=0.0, reason="", boundary=self.boundary, mean_power_w=None, throttled=(),
            clocks_hz=None, temperature_c=41.0, utilisation=0.5, power_limit_w=None,
            quality=SimpleNamespace(relative_error=0.02, method="counter", notes=()),
        )  # fmt: skip

        class Context:
            def __enter__(self) -> Any:
                if sync is not None:
                    sync()
                self.start = meter.clock.now
                return window

            def __exit__(self, kind: Any, *_: object) -> None:
                if kind is not None:
                    return
                if sync is not None:
                    sync()
                meter.clock.now += meter.after_s
                window.seconds = meter.clock.now - self.start
                meter.windows.append(window)
                if meter.power_w is None:
                    window.reason = "the sensor is asleep"
                    return
                window.energy_j = meter.power_w * window.seconds
                window.mean_power_w = meter.power_w

        return Context()

    def close(self) -> None:
        self.closed = True
