"""The protocol of all meters: `with meter.window() as w: ...` gives joules, seconds, boundary and quality."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

from energy_opt.errors import MeterError
from energy_opt.measure.meters.clock import Clock, SystemClock

Boundary = Literal["board", "package", "system"]
Provenance = Literal["measured", "modelled"]
BOUNDARIES: tuple[Boundary, ...] = ("board", "package", "system")


@dataclass(frozen=True)
class Quality:
    """How far the joules may be off, as a fraction, by the arithmetic of ticks, resolution and sampling.

    It is a bound to expect, not a standard deviation. What it cannot know stands in `notes`: that the sensor itself is
    off, or that what it saw is not all there was. `samples` are the readings behind the number.
    """

    relative_error: float
    method: str
    samples: int = 0
    notes: tuple[str, ...] = ()

    def noting(self, *notes: str) -> Quality:
        """The same with more notes."""
        return Quality(self.relative_error, self.method, self.samples, (*self.notes, *notes))


UNKNOWN = Quality(float("inf"), "none")


@dataclass
class Window:
    """What a meter saw from start to stop.

    `energy_j` is None where nothing was measured, never 0; `reason` then says why. `seconds` is the time that
    `energy_j` belongs to. `domains` are joules by part, not all of which need be in the sum. What the meter does not
    know is None.
    """

    meter: Meter
    boundary: Boundary
    sync: Callable[[], object] | None = None
    energy_j: float | None = None
    seconds: float = 0.0
    reason: str = ""
    domains: dict[str, float] = field(default_factory=dict)
    quality: Quality = UNKNOWN
    throttled: tuple[str, ...] | None = None
    clocks_hz: dict[str, float] | None = None
    temperature_c: float | None = None
    power_limit_w: float | None = None
    utilisation: float | None = None
    state: Any = field(default=None, repr=False)

    @property
    def mean_power_w(self) -> float | None:
        """Mean power over the window in W; None where there is no energy."""
        if self.energy_j is None or self.seconds <= 0:
            return None
        return self.energy_j / self.seconds

    def unavailable(self, reason: str) -> None:
        """Say that there is no energy, and why."""
        self.energy_j, self.reason, self.quality = None, reason, UNKNOWN

    def to_dict(self) -> dict[str, Any]:
        """The window as a JSON object, units in the names."""
        known = self.energy_j is not None
        return {
            "meter": self.meter.name,
            "provenance": self.meter.provenance,
            "boundary": self.boundary,
            "energy_j": self.energy_j,
            "seconds": self.seconds,
            "mean_power_w": self.mean_power_w,
            "relative_error": self.quality.relative_error if known else None,
            "method": self.quality.method,
            "samples": self.quality.samples,
            "notes": list(self.quality.notes),
            "reason": self.reason,
            "domains": dict(self.domains),
            "throttled": None if self.throttled is None else list(self.throttled),
            "clocks_hz": self.clocks_hz,
            "temperature_c": self.temperature_c,
            "power_limit_w": self.power_limit_w,
            "utilisation": self.utilisation,
        }

    def __enter__(self) -> Self:
        if self.sync is not None:
            self.sync()
        self.meter.begin(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.meter.abandon(self)
            self.unavailable("the work in the window failed")
            return
        try:
            if self.sync is not None:
                self.sync()
        except BaseException:
            self.meter.abandon(self)
            self.unavailable("the work in the window failed")
            raise
        self.meter.finish(self)


class Meter(ABC):
    """Something that says how many joules went by.

    `boundary` is what its joules are of: the accelerator's board, the processor package with its DRAM, or the whole
    system at the wall. `provenance` tells a measurement from a model. Windows shorter than `least_window_s` are
    refused.
    """

    name: str
    boundary: Boundary
    provenance: Provenance = "measured"
    least_window_s: float = 0.0
    settle_s: float = 0.0
    """How long the meter itself waits at either end of a window; slower ones enclose faster ones."""
    clock: Clock = SystemClock()

    def window(self, sync: Callable[[], object] | None = None) -> Window:
        """A window to open with `with`; `sync` waits for the device and is called before either end is read.

        Raises:
            MeterError: on leaving, if the window was shorter than `least_window_s`.
        """
        return Window(self, self.boundary, sync)

    def idle_power_w(self, seconds: float = 3.0) -> float | None:
        """Mean power in W over a window in which this process does nothing; None where nothing is measured."""
        with self.window() as window:
            self.clock.sleep(max(seconds, self.least_window_s))
        return window.mean_power_w

    @abstractmethod
    def begin(self, window: Window) -> None:
        """Take the first reading and keep it in `window.state`."""

    @abstractmethod
    def finish(self, window: Window) -> None:
        """Take the last reading and fill the window in."""

    def abandon(self, window: Window) -> None:
        """Clean up after a window whose work failed."""
        window.state = None

    def close(self) -> None:
        """Give back what the meter holds."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def check_length(self, window: Window, advice: str = "") -> None:
        """Refuse a window that is too short to be resolved.

        Raises:
            MeterError: it is.
        """
        if window.seconds >= self.least_window_s:
            return
        seconds = window.seconds
        window.unavailable("the window was too short for this meter")
        times = max(2, -(-self.least_window_s // max(seconds, 1e-9)))
        raise MeterError(
            f"meter {self.name}: a window of {seconds:.3g} s is too short, it takes at least "
            f"{self.least_window_s:.3g} s; repeat the work {times:.0f} times or more{advice}"
        )


class NullMeter(Meter):
    """A meter that is not there: every window is unavailable, with the reason."""

    def __init__(self, reason: str, name: str = "none", boundary: Boundary = "system") -> None:
        self.reason = reason
        self.name = name
        self.boundary = boundary

    def begin(self, window: Window) -> None:
        """Note the time."""
        window.state = self.clock.now()

    def finish(self, window: Window) -> None:
        """Leave the energy unavailable."""
        window.seconds = self.clock.now() - window.state
        window.unavailable(self.reason)
