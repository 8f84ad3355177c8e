"""A slow look at a GPU while a window is open: what the two ends cannot show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from energy_opt.measure.meters.clock import Clock
from energy_opt.measure.meters.sensor import Sensor

UNSEEN = 0.5
"""By how much power may move, as a fraction of its mean, where nobody looked: between requests it falls to idle."""


@dataclass
class Watch:
    """Readings from inside a window: times in s, power in W, temperatures, clocks, utilisation, what held it back."""

    sensor: Sensor
    clock: Clock
    instant: bool
    time_s: list[float] = field(default_factory=list)
    power_w: list[float] = field(default_factory=list)
    temperatures_c: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    clocks_hz: list[dict[str, float]] = field(default_factory=list)
    held_back: dict[str, None] = field(default_factory=dict)
    knows_reasons: bool = False
    _calls: int = 0
    _stop: Callable[[], None] | None = None

    def start(self, period_s: float, *, power_only: int = 1) -> None:
        """Look every `period_s` from now on, at all but every `power_only`-th time at the power alone."""

        def call() -> None:
            self._calls += 1
            self.power()
            if self._calls % power_only == 0:
                self.look()

        self._stop = self.clock.repeat(period_s, call)

    def stop(self) -> None:
        """Look no more."""
        if self._stop is not None:
            self._stop()
            self._stop = None

    def power(self) -> None:
        """One reading of power."""
        power_w = self.sensor.instant_w() if self.instant else self.sensor.usage_w()
        now = self.clock.now()
        if power_w is not None and (not self.time_s or now > self.time_s[-1]):
            self.time_s.append(now)
            self.power_w.append(power_w)

    def look(self) -> None:
        """One reading of everything but power."""
        reasons = self.sensor.held_back()
        if reasons is not None:
            self.knows_reasons = True
            self.held_back.update(dict.fromkeys(reasons))
        if (temperature := self.sensor.temperature_c()) is not None:
            self.temperatures_c.append(temperature)
        if (busy := self.sensor.utilisation()) is not None:
            self.busy.append(busy)
        if (clocks := self.sensor.clocks_hz()) is not None:
            self.clocks_hz.append(clocks)

    def look_once(self) -> None:
        """A look at the end of a window that was too short for any; clocks fall only some time after the work."""
        if not self.knows_reasons and not self.clocks_hz:
            self.look()

    def unsteady(self, end_s: float) -> float:
        """By how much of its mean the power moved either way, as far as the looks show; 0.5 where they show little."""
        seen = [p for t, p in zip(self.time_s, self.power_w, strict=True) if t <= end_s]
        if not self.instant or len(seen) < 4:
            return UNSEEN
        seen = seen[1:]  # the first may still show what was before
        mean_w = sum(seen) / len(seen)
        if mean_w <= 0:
            return 1.0
        # Few looks miss the extremes.
        moved = (max(seen) - min(seen)) / 2 / mean_w * (1 + 2 / len(seen))
        return max(moved, UNSEEN / 2) if len(seen) < 8 else moved

    def mean_clocks_hz(self) -> dict[str, float] | None:
        """Mean clocks in Hz over the looks."""
        if not self.clocks_hz:
            return None
        names = self.clocks_hz[-1]
        rows = [row for row in self.clocks_hz if row.keys() == names.keys()]
        return {name: sum(row[name] for row in rows) / len(rows) for name in names}
