"""A power trace: watts over time, with the boundary they were seen at, and the energy of any part of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from energy_opt.errors import MeterError
from energy_opt.measure.meters.meter import BOUNDARIES, Boundary, Quality

Array = npt.NDArray[np.float64]

GAP = 5.0
"""A stretch without readings is a gap where it is this many times the usual distance between readings."""
MOST_MISSING = 0.25
"""A window of which gaps cover more than this is not answered at all."""
_FEW = 5


@dataclass(frozen=True)
class Trace:
    """Readings of power.

    `time_s[n]` (seconds, growing; since 1970 where the source says the date) and `power_w[n]`. `averaging_s` is the
    width of the sensor's moving average, if it has one: a reading is then the mean power over the seconds before it.
    `update_s` is how often the sensor has something new to say, where that is less often than it was read.
    """

    time_s: Array
    power_w: Array
    boundary: Boundary
    source: str = "trace"
    averaging_s: float = 0.0
    update_s: float = 0.0
    dated: bool = False
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_s", np.asarray(self.time_s, dtype=float))
        object.__setattr__(self, "power_w", np.asarray(self.power_w, dtype=float))
        if self.boundary not in BOUNDARIES:
            raise MeterError(
                f"{self.source}: boundary {self.boundary!r}; it is one of {', '.join(BOUNDARIES)}"
            )
        if self.time_s.ndim != 1 or self.time_s.shape != self.power_w.shape:
            raise MeterError(f"{self.source}: times and powers must be two lists of one length")
        if len(self.time_s) < 2:
            raise MeterError(f"{self.source}: {len(self.time_s)} readings; energy takes at least 2")
        if not (np.isfinite(self.time_s).all() and np.isfinite(self.power_w).all()):
            raise MeterError(f"{self.source}: a time or power is not a finite number")
        if (np.diff(self.time_s) <= 0).any():
            at = int(np.argmax(np.diff(self.time_s) <= 0)) + 1
            raise MeterError(
                f"{self.source}: reading {at} is not later than the one before; sort the log by time"
            )
        if (self.power_w < 0).any():
            at = int(np.argmax(self.power_w < 0))
            raise MeterError(
                f"{self.source}: reading {at} is {self.power_w[at]:.4g} W; power is never below 0"
            )

    @property
    def start_s(self) -> float:
        """Time of the first reading in s."""
        return float(self.time_s[0])

    @property
    def end_s(self) -> float:
        """Time of the last reading in s."""
        return float(self.time_s[-1])

    @property
    def spacing_s(self) -> float:
        """The usual (median) time between readings in s."""
        return float(np.median(np.diff(self.time_s)))

    def shifted(self, seconds: float) -> Trace:
        """The same trace with its times moved: for a log whose clock was off, or starts at 0."""
        return Trace(
            self.time_s + seconds, self.power_w, self.boundary, self.source, self.averaging_s,
            self.update_s, self.dated, self.notes,
        )  # fmt: skip

    def energy_j(self, start: float | None = None, end: float | None = None) -> float:
        """Energy in J between two times (default: the whole trace); readings are joined by straight lines.

        Raises:
            MeterError: part of the window lies outside the trace, or too much of it in gaps. Nothing is extrapolated.
        """
        return self.measure(start, end)[0]

    def measure(
        self, start: float | None = None, end: float | None = None
    ) -> tuple[float, Quality]:
        """Energy in J between two times, and its quality. See `energy_j`."""
        start = self.start_s if start is None else start
        end = self.end_s if end is None else end
        self._check(start, end)
        missing_s, longest_s = self._gaps(start, end)
        if missing_s > MOST_MISSING * (end - start):
            raise MeterError(
                f"{self.source}: {missing_s:.3g} s of the {end - start:.3g} s asked for have no readings; "
                "log the run again"
            )
        energy_j = self._boxcar_j(start, end) if self.averaging_s else self._lines_j(start, end)
        quality = self._quality(start, end, energy_j, missing_s)
        if missing_s:
            quality = quality.noting(
                f"{missing_s:.3g} s of {end - start:.3g} s lie in gaps of up to {longest_s:.3g} s, "
                "bridged by straight lines"
            )
        return energy_j, quality

    def _check(self, start: float, end: float) -> None:
        if not (math.isfinite(start) and math.isfinite(end)) or end <= start:
            raise MeterError(
                f"{self.source}: a window from {start:.6g} s to {end:.6g} s; it must end after it starts"
            )
        # A log's last reading may be a rounding error short of the end.
        slack = 1e-6 + 1e-9 * abs(end)
        if start < self.start_s - slack or end > self.end_s + slack:
            raise MeterError(
                f"{self.source}: the log covers {self.start_s:.6f} to {self.end_s:.6f} s, the window is "
                f"{start:.6f} to {end:.6f} s; log for longer, or give the offset between the clocks"
            )

    def _lines_j(self, start: float, end: float) -> float:
        """The integral of the straight lines between readings."""
        inside = (self.time_s > start) & (self.time_s < end)
        times = np.concatenate(([start], self.time_s[inside], [end]))
        powers = np.interp(times, self.time_s, self.power_w)
        return float(np.trapezoid(powers, times))

    def _boxcar_j(self, start: float, end: float) -> float:
        """Energy from a moving average of width B: the readings at end, end - B, ... cover it without overlap.

        What is left at the start, less than B, is covered by the reading B after the start, and taken in proportion.
        """
        width = self.averaging_s
        whole = int((end - start) / width + 1e-9)
        at = end - width * np.arange(whole)
        energy_j = float(np.interp(at, self.time_s, self.power_w).sum()) * width
        rest_s = end - start - whole * width
        if rest_s > 1e-9:
            reading = np.interp(min(start + width, end), self.time_s, self.power_w)
            energy_j += float(reading) * rest_s
        return energy_j

    def _gaps(self, start: float, end: float) -> tuple[float, float]:
        """Seconds of the window that lie in gaps, and the longest of these gaps."""
        steps = np.diff(self.time_s)
        gap = steps > GAP * self.spacing_s
        left, right = self.time_s[:-1][gap], self.time_s[1:][gap]
        inside = np.clip(np.minimum(right, end) - np.maximum(left, start), 0, None)
        return float(inside.sum()), float(steps[gap][inside > 0].max(initial=0.0))

    def _quality(self, start: float, end: float, energy_j: float, missing_s: float) -> Quality:
        """The bound on the error: readings that jump from one to the next stand for what happened between them."""
        near = (self.time_s >= start) & (self.time_s <= end)
        powers = self.power_w[near]
        count = int(near.sum())
        if count < 2 or energy_j <= 0:
            return Quality(1.0, "integral", count, ("fewer than 2 readings in the window",))
        seconds, spacing = end - start, max(self.spacing_s, self.update_s)
        # Readings between two updates of the sensor say nothing new.
        fresh = powers[:: max(1, round(spacing / self.spacing_s))]
        mean_w = energy_j / seconds
        reach_w = float(powers.max() - powers.min())
        jump_w = float(np.sqrt(np.mean(np.diff(fresh) ** 2) / 2)) if len(fresh) > 1 else reach_w
        if len(fresh) < _FEW:  # too few to show what happens between them
            reach_w, jump_w = max(reach_w, mean_w / 2), max(jump_w, mean_w / 4)
        error = 2 * jump_w / math.sqrt(len(fresh))  # between readings, twice the standard error
        # Where the power steps at either end, the step is placed to within half a reading.
        error += reach_w * spacing / seconds / 2
        error += reach_w * missing_s / seconds / 2
        rest_s = self.averaging_s and (seconds % self.averaging_s)
        error += reach_w * min(rest_s, self.averaging_s) / seconds / 2
        if self.averaging_s > seconds:
            error += mean_w
        return Quality(max(error / mean_w, 1e-4), "integral", count)
