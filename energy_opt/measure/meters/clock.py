"""Time as the meters see it: the machine's, or a virtual one over which recorded traces are played."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Seconds that only go forward, the date, sleep, and a call that repeats while other work goes on."""

    def now(self) -> float:
        """Seconds since some fixed moment."""

    def epoch(self) -> float:
        """Seconds since 1970, as power logs count."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""

    def repeat(self, period_s: float, call: Callable[[], None]) -> Callable[[], None]:
        """Call every `period_s` from now on, until what is returned is called."""


class SystemClock:
    """The machine's clock; repeated calls run in a thread of their own."""

    def now(self) -> float:
        """Seconds since some fixed moment."""
        return time.perf_counter()

    def epoch(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def repeat(self, period_s: float, call: Callable[[], None]) -> Callable[[], None]:
        """Call every `period_s` from a daemon thread; calls that came too late are left out, not made up for."""
        over = threading.Event()

        def run() -> None:
            due = time.perf_counter() + period_s
            while not over.wait(max(0.0, due - time.perf_counter())):
                call()
                due = max(due + period_s, time.perf_counter())

        thread = threading.Thread(target=run, name="energy-opt meter", daemon=True)
        thread.start()

        def stop() -> None:
            over.set()
            thread.join()

        return stop


class VirtualClock:
    """Time that passes only when somebody sleeps or advances it: an hour of trace takes milliseconds."""

    def __init__(self, start_s: float = 0.0, epoch_s: float = 1.7e9) -> None:
        self._now = start_s
        self._zero = epoch_s - start_s
        self._due: list[tuple[float, int, float, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._stopped: set[int] = set()
        self._calling = False

    def now(self) -> float:
        """Seconds since the clock's zero."""
        return self._now

    def epoch(self) -> float:
        """Seconds since 1970, as this clock pretends."""
        return self._zero + self._now

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let virtual time pass, with the repeated calls that fall due in it."""
        end = self._now + max(0.0, seconds)
        # A repeated call may take time itself; what falls due meanwhile is made when it is over.
        while not self._calling and self._due and self._due[0][0] <= end:
            due, number, period_s, call = heapq.heappop(self._due)
            if number in self._stopped:
                continue
            self._now = max(self._now, due)
            self._calling = True
            try:
                call()
            finally:
                self._calling = False
            heapq.heappush(self._due, (max(due + period_s, self._now), number, period_s, call))
        self._now = max(self._now, end)

    def repeat(self, period_s: float, call: Callable[[], None]) -> Callable[[], None]:
        """Call every `period_s` of virtual time until what is returned is called."""
        number = next(self._numbers)
        heapq.heappush(self._due, (self._now + period_s, number, period_s, call))
        return lambda: self._stopped.add(number)
