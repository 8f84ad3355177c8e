from __future__ import annotations

import json
from pathlib import Path

import pytest

import energy_opt as eo
from energy_opt.calibrate import profile, table
from energy_opt.calibrate.from_table import MOST, from_table, uncovered
from energy_opt.calibrate.recorded import beside, recorded
from energy_opt.errors import CalibrationError, DeviceError
from energy_opt.estimators.device import Calibration, Device
from energy_opt.report import fits, measured, predicted
from tests.calibrate.made_table import START_S, write


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Device, tuple[str, ...]]:
    """The profile of the made-up table, in its folder."""
    folder = tmp_path_factory.mktemp("made")
    done = from_table(write(folder / "kernels.csv"), "v100-sxm2-32gb", source="made up", draws=8)
    profile.write(done.device, folder / "made.json")
    return folder, done.device, done.remarks


def test_each_kind_and_operator_is_fitted_as_well_as_the_noise_allows(
    made: tuple[Path, Device, tuple[str, ...]],
) -> None:
    device = made[1]
    errors = {(f.kind, f.op): f.time.errors for f in device.fits if f.time is not None}
    assert {
        ("matmul", ""),
        ("elementwise", ""),
        ("elementwise", "add"),
        ("elementwise", "gelu"),
    } <= set(errors)
    # Times are off by 3 % at random: a mean of 2.4 %, and what 48 points leave to learn.
    assert all(error.mape < 0.08 for error in errors.values())
    assert errors["matmul", ""].points == 48
    assert errors["matmul", ""].groups == 48
    assert all(f.time is not None and f.time.basis == "fitted" for f in device.fits)
    assert all(f.time is not None and f.time.source == "made up" for f in device.fits)


def test_coefficients_are_physical_and_shown_in_units(
    made: tuple[Path, Device, tuple[str, ...]],
) -> None:
    shown = {
        row["op"]: row for row in fits.rows(made[1]) if row["quantity"] == "latency" and row["op"]
    }
    start = next(c for c in shown["gelu"]["coefficients"] if c["name"] == "start_s")
    assert start["value"] == pytest.approx(START_S, rel=0.15)
    assert start["unit"] == "s"
    assert start["text"].endswith(" µs")
    low, high = start["interval"]
    assert low <= start["value"] <= high


def test_the_facts_of_the_device_stay_and_the_profile_says_how_it_was_made(
    made: tuple[Path, Device, tuple[str, ...]],
) -> None:
    device, base = made[1], Device.load("v100-sxm2-32gb")
    assert device.name == base.name
    assert device.peaks == base.peaks
    assert device.energy_ground_truth
    assert device.provenance == base.provenance  # of what no fit serves
    told = fits.headline(device)
    assert (told["provenance"], told["energy_provenance"]) == ("fitted", "fitted")
    assert set(base.sources) < set(device.sources)
    assert "made up" in device.sources
    calibration = device.calibration
    assert calibration is not None
    assert calibration.points == 144
    assert calibration.samples == "kernels.csv"
    assert calibration.date is not None
    assert calibration.tool == f"energy-opt {eo.__version__}"


def test_what_the_table_did_not_cover_is_said(made: tuple[Path, Device, tuple[str, ...]]) -> None:
    said = " ".join(made[2])
    for kind in ("conv", "attention", "softmax", "float16"):
        assert kind in said
    assert "energy" not in said  # it was metered


def test_without_readings_the_power_model_stays_and_is_said_to(tmp_path: Path) -> None:
    done = from_table(write(tmp_path / "t.csv", metered=False), "l4", draws=4)
    assert all(fitted.energy is None for fitted in done.device.fits)
    assert done.device.provenance.energy == "modelled"
    assert not done.device.energy_ground_truth
    assert any("energy in float32 was not measured" in line for line in done.remarks)
    assert done.device.coefficients().energy == Device.load("l4").coefficients().energy


def test_few_points_get_a_line_and_it_is_said(tmp_path: Path) -> None:
    done = from_table(write(tmp_path / "t.csv", 12), "v100-sxm2-32gb", draws=4)
    matmul = next(f.time for f in done.device.fits if f.kind == "matmul")
    assert matmul is not None
    assert matmul.form == "linear"
    assert done.device.calibration is not None
    assert "matmul float32" in done.device.calibration.thin
    assert any("non-negative least squares" in line for line in done.remarks)


def test_one_shape_alone_is_left_out_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("kind,dtype,m,n,k,latency_us\n" + "matmul,fp32,64,64,64,9\n" * 5)
    with pytest.raises(CalibrationError, match="two shapes"):
        from_table(path, "l4")


def test_more_rows_than_are_used_are_said(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"elementwise,relu,fp32,{1000 * (i + 1)},{i + 9}\n" for i in range(MOST + 5))
    path.write_text("kind,op,dtype,elements,latency_us\n" + rows)
    done = from_table(path, "l4", draws=2)
    assert done.device.calibration is not None
    assert done.device.calibration.points == MOST
    assert any(f"{MOST} of {MOST + 5}" in line for line in done.remarks)


def test_a_type_that_the_device_has_no_peak_for_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "kind,dtype,m,n,k,latency_us\nmatmul,bf16,64,64,64,9\nmatmul,bf16,64,128,64,9\n"
    )
    with pytest.raises(CalibrationError, match=r"bfloat16.*t4.*float32"):
        from_table(path, "t4")
    with pytest.raises(DeviceError):
        from_table(path, "t44")


def test_a_profile_is_read_back_as_it_was_written(
    made: tuple[Path, Device, tuple[str, ...]],
) -> None:
    path = made[0] / "made.json"
    assert Device.load(path) == made[1]
    lines = path.read_text().splitlines()
    # Readable: a list of draws is a line, and so is a quantity.
    assert sum('"start_s": [' in line and line.rstrip(",").endswith("]") for line in lines) >= 3
    assert all(" " in line[:1] for line in lines[1:-1])
    assert json.loads(path.read_text())["schema"] == "energy-opt/device/1"


def test_new_fits_replace_those_of_the_same_work_and_leave_others(
    made: tuple[Path, Device, tuple[str, ...]],
) -> None:
    device = made[1]
    matmul = next(f for f in device.fits if f.kind == "matmul")
    assert matmul.time is not None
    slower = matmul.model_copy(update={"time": matmul.time.model_copy(update={"source": "later"})})
    again = profile.assemble(device, [slower], calibration=Calibration(points=1), notes=("again",))
    assert len(again.fits) == len(device.fits)
    assert "later" in again.sources
    assert "again" in again.notes
    assert again.calibration == Calibration(points=1)


def test_fits_that_stay_have_as_many_draws_as_the_new_ones(
    made: tuple[Path, Device, tuple[str, ...]], tmp_path: Path
) -> None:
    other = from_table(write(tmp_path / "t.csv", 20), "v100-sxm2-32gb", draws=4).device
    gelu = next(f for f in other.fits if f.op == "gelu")
    assert made[1].draws == 8
    together = profile.assemble(made[1], [gelu])
    assert together.draws == 4
    assert len(together.fits) == len(made[1].fits)


def test_no_peak_is_below_what_was_seen() -> None:
    base = Device.load("xeon-ice-lake@4")
    raised = profile.at_least(
        base, peaks={"float32": 2 * base.peaks["float32"]}, vector_flops_per_s=1.0, bytes_per_s=1e15
    )
    assert raised.peaks["float32"] == 2 * base.peaks["float32"]
    assert raised.vector_flops_per_s == base.vector_flops_per_s
    assert raised.mem_bw_bytes_per_s == 1e15
    assert sum("best rate seen" in line for line in raised.unverified) == 2


def test_uncovered_says_nothing_of_a_profile_that_covers_all() -> None:
    assert uncovered(Device.load("l4")) != []


# -- samples, and measured against predicted ---------------------------------------------------------------------------


def test_the_samples_lie_beside_the_profile(
    made: tuple[Path, Device, tuple[str, ...]], tmp_path: Path
) -> None:
    folder, device, _ = made
    assert beside(device, folder / "made.json") == folder / "kernels.csv"
    assert sum(len(part) for part in recorded(folder / "kernels.csv")) == 144
    profile.write(device, tmp_path / "alone.json")
    with pytest.raises(CalibrationError, match=r"kernels\.csv.*--samples"):
        beside(device, tmp_path / "alone.json")
    with pytest.raises(CalibrationError, match="nothing in this profile was fitted"):
        beside(Device.load("xeon-skylake"), "xeon-skylake")


def test_predictions_are_by_the_fit_that_serves_the_operator(
    made: tuple[Path, Device, tuple[str, ...]],
) -> None:
    folder, device, _ = made
    for part in table.read(folder / "kernels.csv"):
        times, joules = predicted.latencies(device, part), predicted.energies(device, part)
        assert times is not None
        assert joules is not None
        assert abs(times.errors).mean() < 0.06
        # 150 W all the time: energy is off as time is
        assert joules.errors == pytest.approx(times.errors, abs=0.03)
    some = table.read(folder / "kernels.csv")[0].take(slice(0, 3))
    assert predicted.latencies(Device.load("xeon-skylake"), some) is None
    assert predicted.energies(Device.load("xeon-skylake"), some) is None


def test_the_page_holds_every_point_and_nothing_of_the_network(
    made: tuple[Path, Device, tuple[str, ...]],
) -> None:
    folder, device, _ = made
    page = measured.render(device, recorded(folder / "kernels.csv"))
    data = page.split('id="data">')[1].split("</script>")[0]
    figures = json.loads(data)
    points = [len(t["x"]) for f in figures.values() for t in f["data"] if t["mode"] == "markers"]
    assert sorted(points) == [48] * 6
    assert "predicted" in data
    assert "src=" not in page.split("<script>")[0]
    with pytest.raises(CalibrationError, match="no fits"):
        measured.render(Device.load("xeon-skylake"), recorded(folder / "kernels.csv"))
