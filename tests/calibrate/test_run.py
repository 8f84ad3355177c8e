"""Calibrations of a replayed machine: budgets, interruptions, resuming, and profiles that say how they were made."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from energy_opt.calibrate.backend import Timing, Unrunnable
from energy_opt.calibrate.run import calibrate_device, log_path, refit
from energy_opt.calibrate.schedule import Point
from energy_opt.calibrate.visits import Progress
from energy_opt.errors import CalibrationError, UsageError
from energy_opt.estimators.device import Device
from tests.calibrate.points import ANCHOR, gelu, linear, machine, seconds_of

POINTS = [linear(3 * m, 16 * (m % 5 + 1)) for m in range(1, 25)] + [
    gelu(2**m) for m in range(4, 16)
]


def _calibrate(output: Path, points: list[Point] = POINTS, **more: object) -> Device:
    backend = more.pop("backend", None) or machine(points)
    return calibrate_device(
        "cpu", output=output, backend=backend, points=points, anchors=[ANCHOR], **more
    )  # type: ignore[arg-type]


def _visits(output: Path) -> list[int]:
    lines = [json.loads(line) for line in log_path(output).read_text().splitlines()]
    return [line["visit"] for line in lines if "visit" in line]


def test_a_machine_is_found_again(tmp_path: Path) -> None:
    output = tmp_path / "here.json"
    device = _calibrate(output)
    made = device.calibration
    assert made is not None
    assert (made.points, made.partial, made.thin) == (len(POINTS), False, ())
    assert made.libraries == {"torch": "1"}
    assert made.samples == "here.samples.jsonl"
    assert device.host["eager"].launch_s == 2e-6
    assert Device.load(output) == device
    gelus = next(f for f in device.fits if (f.kind, f.op) == ("elementwise", ""))
    # The machine's start and its 10 GB/s.
    assert gelus.time is not None
    assert gelus.time.at["start_s"] == pytest.approx(5e-6, rel=0.05)
    assert gelus.time.errors.mape < 0.02
    assert gelus.time.basis == "measured"
    assert gelus.box["bytes"] == pytest.approx((2 * 16 * 64 * 4, 2 * 2**15 * 64 * 4), rel=1e-4)


def test_the_profile_of_a_log_is_the_profile_of_the_run(tmp_path: Path) -> None:
    device = _calibrate(tmp_path / "here.json")
    assert refit(log_path(tmp_path / "here.json")) == device


def test_a_recording_replays_to_the_same_fits(tmp_path: Path) -> None:
    first = _calibrate(tmp_path / "here.json", backend=machine(POINTS, passes=2))
    again = calibrate_device(
        "replay", output=tmp_path / "there.json", samples=log_path(tmp_path / "here.json")
    )
    times = [[f.time.at for f in device.fits if f.time is not None] for device in (first, again)]
    assert times[0] == times[1]


def test_progress_tells_what_is_timed_and_how_long_it_takes(tmp_path: Path) -> None:
    seen: list[Progress] = []
    _calibrate(tmp_path / "here.json", progress=seen.append)
    timing = [p for p in seen if p.phase == "timing" and p.left_s is not None]
    assert [p.done for p in timing] == sorted(p.done for p in timing)
    # 10 ms per visit, by the virtual clock
    assert timing[-1].left_s == pytest.approx(0.01 * (timing[-1].total - timing[-1].done), rel=0.01)
    assert {p.phase for p in seen} == {"preparing", "timing", "fitting"}
    assert any("gelu float32" in p.what for p in timing)


def test_a_budget_ends_the_timing_and_covers_every_kind(tmp_path: Path) -> None:
    output = tmp_path / "here.json"
    # 38 visits of 10 ms would take 0.38 s; of 0.28 s a seventh is kept for the fits.
    device = _calibrate(output, budget_s=0.28)
    assert device.calibration is not None
    assert 20 <= len(_visits(output)) <= 24
    assert not device.calibration.partial
    assert {f.kind for f in device.fits} >= {"matmul", "elementwise"}
    assert any(text.startswith("matmul float32: ") for text in device.calibration.thin)


def test_a_run_goes_on_where_the_budget_ended(tmp_path: Path) -> None:
    output = tmp_path / "here.json"
    _calibrate(output, budget_s=0.2)
    had = _visits(output)
    whole = _calibrate(output)
    assert _visits(output)[: len(had)] == had
    assert _visits(output) == list(range(len(_visits(output))))
    alone = _calibrate(tmp_path / "alone.json")
    assert [f.time for f in whole.fits] == [f.time for f in alone.fits]


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt: Python leaves the signal ignored where a shell in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _interrupting(after: int, points: list[Point]) -> object:
    count = 0

    def answer(key: str, number: int) -> Timing:
        nonlocal count
        count += 1
        if count > after:
            signal.raise_signal(signal.SIGINT)
        return Timing(known[key])

    known = {point.key: seconds_of(point) for point in [*points, ANCHOR]}
    return machine(points, answer=answer)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_leaves_a_partial_profile_that_says_so(tmp_path: Path) -> None:
    output = tmp_path / "here.json"
    device = _calibrate(output, backend=_interrupting(20, POINTS))
    assert device.calibration is not None
    assert device.calibration.partial
    assert any("interrupted" in note for note in device.notes)
    assert Device.load(output).calibration == device.calibration
    resumed = _calibrate(output)
    assert resumed.calibration is not None
    assert not resumed.calibration.partial
    assert not any("interrupted" in note for note in resumed.notes)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_before_the_first_point_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="nothing was timed"):
        _calibrate(tmp_path / "here.json", backend=_interrupting(0, POINTS))
    assert not (tmp_path / "here.json").exists()


def test_what_cannot_be_run_is_named_and_left_out(tmp_path: Path) -> None:
    def answer(key: str, number: int) -> Timing:
        if "gelu" in key:
            raise Unrunnable("this machine has no gelu")
        return Timing(1e-5)

    device = _calibrate(tmp_path / "here.json", backend=machine(POINTS, answer=answer))
    assert device.calibration is not None
    assert not device.calibration.partial
    assert any("this machine has no gelu" in note for note in device.notes)
    assert {f.kind for f in device.fits} == {"matmul"}


def test_nothing_that_runs_is_an_error_with_the_reason(tmp_path: Path) -> None:
    def answer(key: str, number: int) -> Timing:
        raise Unrunnable("there is no device")

    with pytest.raises(CalibrationError, match="there is no device"):
        _calibrate(tmp_path / "here.json", backend=machine(POINTS, answer=answer))


def test_a_file_that_no_calibration_made_is_not_replaced(tmp_path: Path) -> None:
    output = tmp_path / "here.json"
    output.write_text("precious")
    with pytest.raises(UsageError, match="--fresh"):
        _calibrate(output)
    assert output.read_text() == "precious"
    assert _calibrate(output, resume=False).calibration is not None


def test_another_seed_is_refused_unless_fresh(tmp_path: Path) -> None:
    output = tmp_path / "here.json"
    _calibrate(output)
    with pytest.raises(CalibrationError, match="another seed"):
        _calibrate(output, seed=1)
    assert _calibrate(output, seed=1, resume=False).calibration is not None


@pytest.mark.parametrize("target", ["gpu", "cuda:x", "tpu:0", ""])
def test_unknown_targets_are_named(tmp_path: Path, target: str) -> None:
    with pytest.raises(UsageError, match="there are cpu, cuda:N and replay"):
        calibrate_device(target, output=tmp_path / "here.json")


def test_replay_needs_a_recording(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="samples"):
        calibrate_device("replay", output=tmp_path / "here.json")
