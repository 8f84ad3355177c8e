"""Intel and AMD processors: RAPL's energy counters of the package and its DRAM, from Linux's powercap files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from energy_opt.errors import MeterError
from energy_opt.measure.meters.clock import Clock, SystemClock
from energy_opt.measure.meters.meter import Meter, Quality, Window

ROOT = Path("/sys/class/powercap")
TICK_S = 1e-3
"""RAPL's counters are renewed about every millisecond. Source: Intel SDM volume 3B, section 16.10.1."""
MOST_W = 1000.0
"""No package draws more; a counter's range over this is the soonest it can wrap."""
NOTE = "RAPL is a model of the chip's own, found within about 5 % of wall measurements on servers"


@dataclass
class Domain:
    """One counter: `counted` if its joules are part of the sum. `range_uj` is where it wraps to 0."""

    name: str
    path: Path
    range_uj: int
    counted: bool

    def read_uj(self) -> int:
        """The counter in µJ."""
        return int((self.path / "energy_uj").read_text())


@dataclass
class _Run:
    """Counters added up while a window is open, each wrap on the way included."""

    start_s: float
    last_uj: dict[str, int]
    total_uj: dict[str, int] = field(default_factory=dict)
    stop: object = None


class RaplMeter(Meter):
    """The processor packages and their DRAM, all sockets, all processes: not the GPU, not the power supply.

    Sub-domains of a package (core, uncore) and the platform (psys) are listed in `domains` and not added.

    Raises:
        MeterError: no RAPL here, or no permission to read it.
    """

    name = "rapl"
    boundary = "package"

    def __init__(
        self,
        root: Path | str = ROOT,
        *,
        least_window_s: float = 0.1,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.domains = find(Path(root))
        self.least_window_s = least_window_s
        self.settle_s = TICK_S
        counted = [domain for domain in self.domains if domain.counted]
        # Three looks within the soonest wrap: one that comes late still sees at most one.
        soonest_s = min(domain.range_uj for domain in counted) * 1e-6 / MOST_W
        self._period_s = max(min(soonest_s / 3, 60.0), 0.5)

    def begin(self, window: Window) -> None:
        """Read all counters, and go on adding them up as often as they might wrap."""
        values = {domain.name: domain.read_uj() for domain in self.domains}
        run = _Run(self.clock.now(), values, dict.fromkeys(values, 0))
        run.stop = self.clock.repeat(self._period_s, lambda: self._add(run))
        window.state = run

    def finish(self, window: Window) -> None:
        """Read all counters again."""
        run: _Run = window.state
        end_s = self.clock.now()
        self.abandon(window)
        window.seconds = end_s - run.start_s
        self.check_length(window)
        try:
            self._add(run)
        except (OSError, ValueError) as error:
            window.unavailable(f"RAPL could not be read at the end of the window ({error})")
            return
        window.domains = {name: total * 1e-6 for name, total in run.total_uj.items()}
        energy_j = sum(window.domains[domain.name] for domain in self.domains if domain.counted)
        if energy_j <= 0:
            window.unavailable("RAPL's counters did not move (some virtual machines show them so)")
            return
        window.energy_j = energy_j
        # Either end lies within one update of the counters, and the power there may be up to twice the mean.
        off = 2 * 2 * TICK_S / window.seconds + 1e-6 * len(self.domains) / energy_j
        window.quality = Quality(off, "counter", int(window.seconds / TICK_S), self._notes())

    def abandon(self, window: Window) -> None:
        """Stop adding up."""
        stop = getattr(window.state, "stop", None)
        if callable(stop):
            stop()

    def _add(self, run: _Run) -> None:
        for domain in self.domains:
            new = domain.read_uj()
            step = new - run.last_uj[domain.name]
            if step < 0:
                step += domain.range_uj
            run.total_uj[domain.name] += step
            run.last_uj[domain.name] = new

    def _notes(self) -> tuple[str, ...]:
        has_dram = any(domain.counted and domain.name.startswith("dram") for domain in self.domains)
        return (NOTE,) if has_dram else (NOTE, "this processor counts no DRAM")


def find(root: Path) -> list[Domain]:
    """The counters under a powercap folder.

    Raises:
        MeterError: there are none, or they may not be read.
    """
    zones = sorted(path for path in root.glob("intel-rapl:*") if (path / "name").is_file())
    if not zones:
        raise MeterError(
            f"meter rapl: {root} has no RAPL counters (not a Linux host with an Intel or AMD processor, or a virtual "
            "machine or container that hides them); use a wall meter's log, or the modelled meter"
        )
    names = {path.name: (path / "name").read_text().strip() for path in zones}
    domains = []
    for path in zones:
        parent = re.match(r"intel-rapl:\d+", path.name)
        assert parent is not None
        name = names[path.name]
        nested = path.name != parent[0]
        if nested:
            socket = names.get(parent[0], parent[0]).removeprefix("package-")
            name = f"{name}-{socket}"
        counted = (name.startswith("dram-") if nested else name.startswith("package"))  # fmt: skip
        domains.append(_domain(path, name, counted))
    if not any(domain.counted for domain in domains):
        raise MeterError(
            f"meter rapl: {root} counts {', '.join(names.values())} and no package; use a wall meter's log"
        )
    return domains


def _domain(path: Path, name: str, counted: bool) -> Domain:
    try:
        int((path / "energy_uj").read_text())
        return Domain(name, path, int((path / "max_energy_range_uj").read_text()), counted)
    except PermissionError:
        raise MeterError(
            f"meter rapl: {path / 'energy_uj'} may be read by root only (Linux does so since 2020, CVE-2020-8694); run "
            f"sudo chmod -R a+r {path.parent}/intel-rapl:*/ once per boot, or run as root"
        ) from None
    except (OSError, ValueError) as error:
        raise MeterError(
            f"meter rapl: {path / 'energy_uj'} cannot be read ({error}); is this a container?"
        ) from None
