"""RAPL on made-up powercap folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from energy_opt.errors import MeterError
from energy_opt.measure.meters.clock import VirtualClock
from energy_opt.measure.meters.rapl import RaplMeter

RANGE_UJ = 262_143_328_850


class Host:
    """A host that draws constant power in each of its domains, as counters in files that wrap."""

    def __init__(
        self, root: Path, watts: dict[str, tuple[str, float]], range_uj: int = RANGE_UJ
    ) -> None:
        self.root, self.watts, self.range_uj = root, watts, range_uj
        self.clock = VirtualClock()
        self.start_uj = 0
        for zone, (name, _) in watts.items():
            folder = root / zone
            folder.mkdir(parents=True)
            (folder / "name").write_text(name + "\n")
            (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        self.write()
        self.clock.repeat(0.25, self.write)

    def write(self) -> None:
        for zone, (_, power_w) in self.watts.items():
            value = (self.start_uj + int(self.clock.now() * power_w * 1e6)) % self.range_uj
            (self.root / zone / "energy_uj").write_text(f"{value}\n")

    def run(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        self.write()


SERVER = {
    "intel-rapl:0": ("package-0", 100.0),
    "intel-rapl:0:0": ("core", 60.0),
    "intel-rapl:0:1": ("dram", 20.0),
    "intel-rapl:1": ("package-1", 80.0),
    "intel-rapl:1:0": ("dram", 10.0),
    "intel-rapl:2": ("psys", 300.0),
}


def test_packages_and_dram_are_added_and_nothing_else(tmp_path: Path) -> None:
    host = Host(tmp_path, SERVER)
    with RaplMeter(tmp_path, clock=host.clock).window() as window:
        host.run(2.0)
    assert window.energy_j == pytest.approx(2 * (100 + 20 + 80 + 10))
    assert window.domains == pytest.approx(
        {"package-0": 200, "core-0": 120, "dram-0": 40, "package-1": 160, "dram-1": 20, "psys": 600}
    )
    assert window.boundary == "package"
    assert window.quality.relative_error == pytest.approx(0.002, rel=0.01)  # 4 ms of 2 s


def test_the_memory_mapped_copy_of_a_package_is_not_counted_again(tmp_path: Path) -> None:
    host = Host(
        tmp_path, {"intel-rapl:0": ("package-0", 50.0), "intel-rapl-mmio:0": ("package-0", 50.0)}
    )
    with RaplMeter(tmp_path, clock=host.clock).window() as window:
        host.run(1.0)
    assert window.energy_j == pytest.approx(50)
    assert "this processor counts no DRAM" in window.quality.notes


@pytest.mark.parametrize("before_wrap_j", [0.001, 25.0, 99.0])
def test_a_counter_that_wraps(tmp_path: Path, before_wrap_j: float) -> None:
    host = Host(tmp_path, {"intel-rapl:0": ("package-0", 50.0)})
    host.start_uj = RANGE_UJ - int(before_wrap_j * 1e6)
    host.write()
    with RaplMeter(tmp_path, clock=host.clock).window() as window:
        host.run(2.0)
    assert window.energy_j == pytest.approx(100)


def test_a_counter_that_wraps_many_times(tmp_path: Path) -> None:
    # 2 kJ at 200 W wrap every 10 s, so 12 times in 2 minutes; at 1000 W they might every 2 s.
    host = Host(tmp_path, {"intel-rapl:0": ("package-0", 200.0)}, range_uj=2_000_000_000)
    with RaplMeter(tmp_path, clock=host.clock).window() as window:
        host.run(120.0)
    assert window.energy_j == pytest.approx(24_000)


def test_without_looking_inside_wraps_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sabotage: the test above has to notice."""
    host = Host(tmp_path, {"intel-rapl:0": ("package-0", 200.0)}, range_uj=2_000_000_000)
    meter = RaplMeter(tmp_path, clock=host.clock)
    monkeypatch.setattr(meter, "_period_s", 1e9)
    with meter.window() as window:
        host.run(120.0)
    assert window.energy_j != pytest.approx(24_000)


def test_the_permission_error_says_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Host(tmp_path, SERVER)
    read = Path.read_text

    def guarded(path: Path, *arguments: object) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_text", guarded)
    with pytest.raises(MeterError, match=r"root only.*run sudo chmod -R a\+r .*intel-rapl"):
        RaplMeter(tmp_path)


@pytest.mark.parametrize(
    ("zones", "says"),
    [({}, "no RAPL counters"), ({"intel-rapl:0": ("psys", 5.0)}, "counts psys and no package")],
)
def test_hosts_without_packages(
    tmp_path: Path, zones: dict[str, tuple[str, float]], says: str
) -> None:
    Host(tmp_path, zones)
    with pytest.raises(MeterError, match=says):
        RaplMeter(tmp_path)


def test_a_counter_file_that_holds_no_number(tmp_path: Path) -> None:
    Host(tmp_path, SERVER)
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("")
    with pytest.raises(MeterError, match="cannot be read"):
        RaplMeter(tmp_path)


def test_counters_that_stand_still_are_unavailable(tmp_path: Path) -> None:
    host = Host(tmp_path, {"intel-rapl:0": ("package-0", 0.0)})
    with RaplMeter(tmp_path, clock=host.clock).window() as window:
        host.run(1.0)
    assert window.energy_j is None
    assert "did not move" in window.reason


def test_short_windows_are_refused(tmp_path: Path) -> None:
    host = Host(tmp_path, SERVER)
    with (
        pytest.raises(MeterError, match=r"at least 0\.1 s"),
        RaplMeter(tmp_path, clock=host.clock).window(),
    ):
        host.run(0.01)
