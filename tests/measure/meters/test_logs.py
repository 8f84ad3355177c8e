"""Power logs of other tools."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from energy_opt.errors import MeterError
from energy_opt.measure.meters import read_log
from energy_opt.measure.meters.clock import VirtualClock
from energy_opt.measure.meters.log_meter import LogMeter

SMI = """timestamp, index, power.draw [W], clocks.current.sm [MHz]
2026/01/31 12:00:00.000, 0, 100.00 W, 1410 MHz
2026/01/31 12:00:00.000, 1, 50.00 W, 1410 MHz
2026/01/31 12:00:00.100, 0, 100.00 W, 1410 MHz
2026/01/31 12:00:00.100, 1, [N/A], 1410 MHz
2026/01/31 12:00:00.200, 0, 300.00 W, 1410 MHz
2026/01/31 12:00:00.200, 1, 50.00 W, 1410 MHz
"""
NOON = datetime(2026, 1, 31, 12).timestamp()


def written(folder: Path, text: str) -> Path:
    path = folder / "power.csv"
    path.write_text(text)
    return path


def test_nvidia_smi(tmp_path: Path) -> None:
    trace = read_log(written(tmp_path, SMI), gpu=0)
    assert trace.boundary == "board"
    assert trace.dated
    assert trace.start_s == pytest.approx(NOON)
    assert list(trace.power_w) == [100, 100, 300]
    assert trace.energy_j() == pytest.approx(
        10 + 20
    )  # 0.1 s at 100 W, then 0.1 s from 100 to 300 W


def test_nvidia_smi_with_rows_that_have_no_power(tmp_path: Path) -> None:
    trace = read_log(written(tmp_path, SMI), gpu="1")
    assert list(trace.power_w) == [50, 50]
    assert any("1 of 3 rows have no power" in note for note in trace.notes)


def test_nvidia_smi_of_several_gpus_asks_which(tmp_path: Path) -> None:
    with pytest.raises(MeterError, match="GPUs 0, 1; say which"):
        read_log(written(tmp_path, SMI))
    with pytest.raises(MeterError, match="GPUs 0, 1; say which"):
        read_log(written(tmp_path, SMI), gpu=7)
    unnamed = "timestamp, power.draw [W]\n" + "".join(
        f"2026/01/31 12:00:0{i}.000, {power} W\n" for i in range(4) for power in (100, 50)
    )
    with pytest.raises(MeterError, match="several GPUs"):
        read_log(written(tmp_path, unnamed))


def test_nvidia_smi_without_units_in_cells(tmp_path: Path) -> None:
    text = (
        "timestamp, power.draw [W]\n2026/01/31 12:00:00.000, 80.5\n2026/01/31 12:00:01.000, 80.5\n"
    )
    assert read_log(written(tmp_path, text)).energy_j() == pytest.approx(80.5)


def test_etrace2(tmp_path: Path) -> None:
    text = (
        "# ETRACE2_VERSION=0.1\n0.5 40.0\nthe program's own words\n1.0 60.0\n1.5 60.0\n"
        "# ELAPSED=1.5\n# ENERGY=80.0\n# ENERGY_SOCKET0=70.0\n"
    )
    trace = read_log(written(tmp_path, text))
    assert trace.boundary == "package"
    assert not trace.dated
    assert trace.energy_j() == pytest.approx(25 + 30)
    with pytest.raises(MeterError, match="etrace2 -i"):
        read_log(written(tmp_path, "# ETRACE2_VERSION=0.1\n# ELAPSED=1.5\n# ENERGY=80.0\n"))


# (text, joules): 100 W over 2 s, in each writer's manner
SAME = {
    "time_s,power_w\n0,100\n1,100\n2,100\n": "plain",
    "time_ms;power_mw\n0;100000\n1000;100000\n2000;100000\n": "semicolons and milli",
    "Time (ms),Power (W)\n0,100\n1000,100\n2000,100\n": "units in brackets",
    "# a wall meter\nelapsed\twatts\n0:00:00\t100\n0:00:01\t100\n0:00:02\t100\n": "clock times, tabs",
    "time,power\n2026-01-31T12:00:00Z,0.1 kW\n2026-01-31T12:00:01Z,100 W\n2026-01-31T12:00:02Z,1e5 mW\n": "ISO",
    "epoch,Active Power [W]\n1700000000.0,100\n1700000001.0,100\n1700000002.0,100\n": "since 1970",
    "\ufefftime_s,power_w\n0,100\n1,100\n1,100\n2,100\n2.5\n": "a byte order mark, a time twice, a line half written",
}


@pytest.mark.parametrize("text", SAME, ids=SAME.values())
def test_wall_meters(tmp_path: Path, text: str) -> None:
    trace = read_log(written(tmp_path, text), boundary="system")
    assert trace.energy_j() == pytest.approx(200)
    assert trace.boundary == "system"


def test_pcat(tmp_path: Path) -> None:
    text = (
        "Elapsed Time (ms),12V1 Power (W),GPU Board Power (W)\n0,50,100\n100,60,120\n200,50,100\n"
    )
    trace = read_log(written(tmp_path, text))
    assert trace.boundary == "board"
    assert trace.energy_j() == pytest.approx(22)


BAD = [
    ("time_s,power_w\n0,1\n1,1\n", "give the boundary"),
    ("time_s,volts\n0,1\n1,1\n", "no column of power among time_s, volts"),
    ("row,power_w\n0,1\n1,1\n", "no column of time"),
    ("time_s,power_w\n0,much\n1,1\n", "row 2: 'much' is no power"),
    ("time_s,power_w\n0,5 hp\n1,1\n", "row 2: '5 hp' is no power"),
    ("time_s,power_w\nnoonish,5\n1,1\n", "row 2: 'noonish' is no time"),
    ("time (fortnights),power_w\n0,1\n1,1\n", "unit 'fortnights'"),
    ("time_s,power_w\n0,N/A\n1,1\n", "1 rows with a time and a power"),
    ("time_s,power_w\n", "1 lines"),
    ("", "0 lines"),
    ("time_s,power_w\n1,1\n0,1\n", "not later"),
]


@pytest.mark.parametrize(("text", "says"), BAD)
def test_logs_that_make_no_sense(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(MeterError, match=says):
        read_log(written(tmp_path, text), boundary=None if "boundary" in says else "system")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MeterError, match="cannot be read"):
        read_log(tmp_path / "none.csv")
    (tmp_path / "noise.csv").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(MeterError):
        read_log(tmp_path / "noise.csv", boundary="system")


def test_a_log_that_counts_from_its_own_start_is_dated_by_the_user(tmp_path: Path) -> None:
    path = written(tmp_path, "time_s,power_w\n5,100\n6,100\n7,100\n")
    trace = read_log(path, boundary="system", start_s=1000.0)
    assert (trace.start_s, trace.end_s, trace.dated) == (1000, 1002, True)
    with pytest.raises(MeterError, match="dated itself"):
        read_log(written(tmp_path, SMI), gpu=0, start_s=5.0)


class Logger:
    """A wall meter whose clock is ahead and that writes a row every 0.5 s: 40 W, and 140 W from 10 s to 20 s."""

    def __init__(self, path: Path, ahead_s: float = 0.0) -> None:
        self.clock, self.path, self.ahead_s = VirtualClock(epoch_s=1.7e9), path, ahead_s
        self.path.write_text("epoch,power_w\n")
        self.row()
        self.clock.repeat(0.5, self.row)
        self.clock.sleep(2)

    def row(self) -> None:
        power_w = 140 if 10 <= self.clock.now() < 20 else 40
        with self.path.open("a") as file:
            file.write(f"{self.clock.epoch() + self.ahead_s:.3f},{power_w}\n")


@pytest.mark.parametrize("ahead_s", [0.0, 3.25])
def test_a_log_as_a_meter(tmp_path: Path, ahead_s: float) -> None:
    logger = Logger(tmp_path / "wall.csv", ahead_s)
    meter = LogMeter(logger.path, boundary="system", offset_s=ahead_s, clock=logger.clock)
    logger.clock.sleep(10.2)
    with meter.window() as window:
        logger.clock.sleep(5)
    assert window.energy_j == pytest.approx(700, rel=0.01)
    assert window.boundary == "system"


def test_clocks_that_disagree_are_noticed_in_the_energy(tmp_path: Path) -> None:
    """The sabotage: an offset that is ignored."""
    logger = Logger(tmp_path / "wall.csv", ahead_s=8.0)
    meter = LogMeter(logger.path, boundary="system", clock=logger.clock)
    logger.clock.sleep(10.2)
    with meter.window() as window:
        logger.clock.sleep(5)
    assert window.energy_j != pytest.approx(700, rel=0.1)


def test_a_logger_that_stopped_is_not_filled_in(tmp_path: Path) -> None:
    path = written(tmp_path, "epoch,power_w\n1700000000,40\n1700000001,40\n1700000002,40\n")
    clock = VirtualClock(epoch_s=1.7e9)
    with (
        pytest.raises(MeterError, match="the log covers"),
        LogMeter(path, boundary="system", clock=clock).window(),
    ):
        clock.sleep(30)


def test_an_undated_log_cannot_be_a_meter(tmp_path: Path) -> None:
    path = written(tmp_path, "time_s,power_w\n0,1\n1,1\n")
    with pytest.raises(MeterError, match="start_s"):
        LogMeter(path, boundary="system")
