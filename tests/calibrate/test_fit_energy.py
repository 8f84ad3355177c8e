"""Energy fits: known coefficients in, the same out, through caps, lags, priors and missing terms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from energy_opt.calibrate.energy_solver import NAMES
from energy_opt.calibrate.fit_energy import energy_at, fit_energy, joules
from energy_opt.calibrate.power_model import modelled_energy, pool
from energy_opt.calibrate.samples import Samples
from energy_opt.errors import UsageError
from energy_opt.estimators.device import Device
from energy_opt.estimators.work import RowWork

A100 = Device.load("a100-sxm4-80gb")
B200 = Device.load("b200-sxm")

# On an A100 of 400 W: 0.6 pJ/FLOP at 250 TFLOP/s is 150 W, 80 pJ/byte at 1.5 TB/s 120 W, over a base of 85 W.
TRUE = {
    "base_w": 85.0,
    "flop_j": 0.6e-12,
    "vector_flop_j": 0.0,
    "byte_j": 80e-12,
    "start_j": 0.0,
    "cap_w": 400.0,
}


def measured(
    at: dict[str, float] = TRUE, points: int = 120, noise: float = 0.0, seed: int = 0
) -> Samples:
    """Products that take between a hundredth and all of the device's FLOP/s and bytes/s."""
    random = np.random.default_rng(seed)
    seconds = 10 ** random.uniform(-5, -2, points)
    flops = seconds * 10 ** random.uniform(12.3, 14.4, points)
    moved = seconds * 10 ** random.uniform(10.2, 12.2, points)
    work = RowWork(flops, 0 * flops, moved / 2, moved / 2, 0.0, 1.0, {}, ())
    spent = joules(at, work, seconds) * np.exp(random.normal(0, noise, points))
    groups = np.arange(points) // 4
    return Samples("matmul", "", "float16", "", work, seconds, spent, spent / seconds, groups)


def close(found: dict[str, float], wanted: dict[str, float], within: float) -> None:
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=within, abs=1e-30), name


def test_known_coefficients_come_back() -> None:
    wanted = {name: TRUE[name] for name in ("base_w", "flop_j", "byte_j", "cap_w")}
    close(energy_at(measured(), device=A100), wanted, 0.01)


def test_noise_is_reported_as_the_error_it_is() -> None:
    fitted = fit_energy(measured(points=400, noise=0.1), device=A100, source="test", basis="fitted")
    # The mean size of a normal error of 10 % is 0.8 of it, its 90 % quantile 16.4 %.
    assert 0.07 < fitted.errors.mape < 0.09
    assert 0.14 < fitted.errors.p90 < 0.19
    assert 0.085 < fitted.errors.log_sd < 0.115
    assert (fitted.errors.points, fitted.errors.groups) == (400, 100)


def test_draws_are_joint_and_hold_the_truth() -> None:
    fitted = fit_energy(
        measured(points=200, noise=0.05), device=A100, source="test", basis="fitted", draws=64
    )
    assert set(fitted.draws) == {*NAMES, "cap_w"}
    for name in ("base_w", "flop_j", "byte_j"):
        low, high = np.quantile(fitted.draws[name], [0.01, 0.99])
        assert low * 0.97 < TRUE[name] < high * 1.03, name
    # What one draw gives to the base it takes from the rest: their sum is known better than they are.
    base, flop = (np.array(fitted.draws[name]) for name in ("base_w", "flop_j"))
    assert np.corrcoef(base, flop)[0, 1] < 0


def test_readings_at_the_cap_say_only_that_it_was_reached() -> None:
    # Work of three times the power: a third of the executions are cut off at 400 W.
    hungry = TRUE | {"flop_j": 4.0e-12, "byte_j": 300e-12}
    samples = measured(hungry, points=300)
    assert 0.2 < np.mean(samples.power_w > 399) < 0.8
    close(
        energy_at(samples, device=A100),
        {n: hungry[n] for n in ("base_w", "flop_j", "byte_j")},
        0.03,
    )


def test_a_cap_below_the_datasheet_s_is_seen() -> None:
    samples = measured(TRUE | {"flop_j": 2.0e-12, "cap_w": 388.0}, points=300)
    assert energy_at(samples, device=A100)["cap_w"] == pytest.approx(388.0, rel=1e-3)


def test_the_idle_part_of_a_reading_is_not_the_work_s() -> None:
    samples = measured()
    idle_w = 0.21 * A100.tdp_w if A100.idle_context_w is None else A100.idle_context_w
    share = np.where(np.arange(len(samples)) % 2 == 0, 0.5, 0.0)
    seen_w = (1 - share) * samples.power_w + share * idle_w
    lagging = replace(samples, power_w=seen_w, energy_j=seen_w * samples.latency_s)
    wanted = {name: TRUE[name] for name in ("base_w", "flop_j", "byte_j")}
    close(energy_at(lagging, device=A100, idle_share=share), wanted, 0.02)
    assert energy_at(lagging, device=A100)["flop_j"] < 0.95 * TRUE["flop_j"]


def test_odd_readings_do_not_bend_the_rest() -> None:
    samples = measured(points=200)
    spent = samples.energy_j.copy()
    spent[::20] /= 3
    odd = replace(samples, energy_j=spent, power_w=spent / samples.latency_s)
    close(energy_at(odd, device=A100), {n: TRUE[n] for n in ("base_w", "flop_j", "byte_j")}, 0.06)


def test_a_prior_holds_where_there_are_few_points() -> None:
    few = measured(points=4, noise=0.1, seed=3)
    prior = {name: (TRUE[name], 0.1) for name in ("base_w", "flop_j", "byte_j")}
    close(energy_at(few, device=A100, prior=prior), {n: TRUE[n] for n in prior}, 0.25)


def test_predicted_seconds_bring_their_error_along() -> None:
    samples = measured(points=200)
    slow = 1.3 * samples.latency_s
    known = fit_energy(samples, device=A100, source="test", basis="fitted", draws=2)
    static = fit_energy(samples, device=A100, seconds=slow, source="test", basis="fitted", draws=2)
    assert known.errors.mape < 0.01
    # 30 % too slow at the power that was measured is 30 % too much energy.
    assert static.errors.bias == pytest.approx(0.3, abs=0.03)


def test_the_summary_names_what_was_not_settled() -> None:
    text = fit_energy(
        measured(noise=0.05), device=A100, source="test", basis="fitted", draws=2
    ).summary
    assert "J/FLOP" in text
    assert "condition number" in text
    assert "vector_flop_j" in text.splitlines()[-1]


def test_terms_that_cannot_be_told_apart_have_no_intervals() -> None:
    samples = measured(noise=0.05)
    work = samples.work
    doubled = replace(work, other_flops=work.bytes_read * 2)
    text = fit_energy(
        replace(samples, work=doubled), device=A100, source="test", basis="fitted", draws=2
    ).summary
    if "vector_flop_j" in text.splitlines()[-1]:
        assert "condition number" in text
    else:
        assert "cannot tell the coefficients apart" in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"energy_j": np.full(120, np.nan)}, "not metered"),
        ({"group": np.zeros(120)}, "at least two shapes"),
    ],
)
def test_samples_that_say_nothing_are_refused(change: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        fit_energy(replace(measured(), **change), device=A100, source="test", basis="fitted")


def test_an_idle_share_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="idle_share"):
        energy_at(measured(), device=A100, idle_share=np.full(120, 1.0))


def scaled(device: Device, factor: float, seed: int) -> tuple[Samples, Device]:
    """A device that spends the A100's shares of its own TDP on its own peaks, times a factor."""
    random = np.random.default_rng(seed)
    points = 150
    seconds = 10 ** random.uniform(-5, -2, points)
    use = 10 ** random.uniform(-1.5, 0, (points, 2))
    flops = seconds * use[:, 0] * device.peak("float16")
    moved = seconds * use[:, 1] * device.mem_bw_bytes_per_s
    power_w = np.minimum(factor * (0.2 + 0.3 * use[:, 0] + 0.3 * use[:, 1]), 1.0) * device.tdp_w
    work = RowWork(flops, 0 * flops, moved, 0 * moved, 0.0, 1.0, {}, ())
    return (
        Samples(
            "matmul",
            "",
            "float16",
            "",
            work,
            seconds,
            power_w * seconds,
            power_w,
            np.arange(points) // 5,
        ),
        device,
    )


def test_a_pooled_model_serves_a_device_that_nobody_metered() -> None:
    model = pool([scaled(A100, 1.0, 0), scaled(B200, 1.0, 1)])
    assert model.devices == ("a100-sxm4-80gb", "b200-sxm")
    assert model.errors.mape < 0.02
    h100 = Device.load("h100-sxm")
    found = modelled_energy(model, h100, source="test")
    assert found.basis == "modelled"
    assert found.at["base_w"] == pytest.approx(0.2 * h100.tdp_w, rel=0.03)
    assert found.at["flop_j"] * h100.peak("float16") == pytest.approx(0.3 * h100.tdp_w, rel=0.05)
    # Only the sum is known: every draw scales all terms alike, as far as the base is below the cap.
    base, flop = (np.array(found.draws[name]) for name in ("base_w", "flop_j"))
    assert np.allclose(base / base[0], flop / flop[0])
    assert 0.15 < np.std(np.log(flop)) < 0.25


def test_the_error_of_a_pooled_model_is_that_on_devices_left_out() -> None:
    model = pool([scaled(A100, 1.0, 0), scaled(B200, 1.2, 1)])
    # Each is predicted by the other: one a fifth too high, one a sixth too low.
    assert 0.12 < model.errors.mape < 0.22


def test_pooling_needs_one_kind() -> None:
    samples, device = scaled(A100, 1.0, 0)
    with pytest.raises(UsageError, match="one kind and type"):
        pool([(samples, device), (replace(samples, kind="conv"), device)])
    with pytest.raises(UsageError, match="there must be one"):
        pool([])


def test_work_that_is_always_near_the_cap_settles_no_base() -> None:
    # All between 380 and 400 W of 400: without a bound the base would take nearly all of it.
    random = np.random.default_rng(0)
    seconds = np.full(80, 1e-3)
    flops = seconds * random.uniform(0.7, 0.9, 80) * A100.peak("float16")
    power_w = random.uniform(380, 400, 80)
    work = RowWork(flops, 0 * flops, 0 * flops, 0 * flops, 0.0, 1.0, {}, ())
    groups = np.arange(80) // 4
    busy = Samples(
        "matmul", "", "float16", "", work, seconds, power_w * seconds, power_w, groups
    )  # fmt: skip
    found = energy_at(busy, device=A100)
    assert found["base_w"] <= 0.5 * A100.tdp_w
    assert joules(found, work, seconds) == pytest.approx(busy.energy_j, rel=0.15)


def test_long_executions_tell_nothing_of_a_start() -> None:
    samples = measured(noise=0.05)
    long = replace(
        samples,
        work=replace(samples.work, matmul_flops=1e3 * np.asarray(samples.work.matmul_flops)),
        latency_s=1e3 * samples.latency_s,
        energy_j=1e3 * samples.energy_j + 5.0,
    )
    assert energy_at(long, device=A100)["start_j"] == 0
