"""Many meters over one window: what each says, over which boundary, and how far apart they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from energy_opt.errors import MeterError
from energy_opt.measure.meters.meter import Meter, Window


class SeveralMeters(Meter):
    """Meters that share their windows; the first one's answer is the window's own.

    Meters that take long to settle enclose those that do not, so that the ends of all are as close as can be.
    """

    def __init__(self, meters: Sequence[Meter]) -> None:
        if not meters:
            raise MeterError("no meter to run; name at least one")
        self.meters = tuple(meters)
        first = self.meters[0]
        self.name = ",".join(meter.name for meter in self.meters)
        self.boundary = first.boundary
        self.provenance = first.provenance
        self.clock = first.clock
        self.least_window_s = max(meter.least_window_s for meter in self.meters)
        self.settle_s = max(meter.settle_s for meter in self.meters)

    def window(self, sync: Callable[[], object] | None = None) -> SeveralWindow:
        """One window of every meter; `sync` is called before each end is read."""
        return SeveralWindow(self, self.boundary, sync)

    def begin(self, window: Window) -> None:
        """Open the windows, the slowest first."""
        inner = {meter: meter.window() for meter in self.meters}
        window.state = inner
        begun = []
        try:
            for meter in sorted(self.meters, key=lambda meter: -meter.settle_s):
                meter.begin(inner[meter])
                begun.append(meter)
        except BaseException:
            for meter in begun:
                meter.abandon(inner[meter])
            raise

    def finish(self, window: Window) -> None:
        """Close the windows, the fastest first; one that refuses leaves the others be, with its reason."""
        for meter in sorted(self.meters, key=lambda meter: meter.settle_s):
            mine = window.state[meter]
            try:
                meter.finish(mine)
            except MeterError as error:
                mine.unavailable(str(error))
        first = window.state[self.meters[0]]
        for name, value in vars(first).items():
            if name not in ("meter", "sync", "state"):
                setattr(window, name, value)

    def abandon(self, window: Window) -> None:
        """Give all of them up."""
        for meter, mine in (window.state or {}).items():
            meter.abandon(mine)
            mine.unavailable("the work in the window failed")

    def close(self) -> None:
        """Close all of them."""
        for meter in self.meters:
            meter.close()


class SeveralWindow(Window):
    """A window of several meters; `windows` has each one's own, in the order in which they were named."""

    @property
    def windows(self) -> list[Window]:
        """Each meter's own window."""
        return list((self.state or {}).values())

    def table(self) -> list[dict[str, Any]]:
        """One row per meter: joules, boundary, quality, and the difference to the first as a fraction.

        `difference` compares mean powers, since meters differ a little in when they begin and end; `same_boundary` says
        whether a difference is a disagreement, or only that one saw more than the other.
        """
        rows = []
        first = self.windows[0] if self.windows else None
        for window in self.windows:
            row = window.to_dict()
            mine, base = window.mean_power_w, first.mean_power_w if first else None
            row["difference"] = mine / base - 1 if mine is not None and base else None
            row["same_boundary"] = first is not None and window.boundary == first.boundary
            rows.append(row)
        return rows


def several(meters: Sequence[Meter]) -> SeveralMeters:
    """Meters that run over the same windows; see `SeveralWindow.table`."""
    return SeveralMeters(meters)
