"""Fits: what was put in comes out, robustly, within bounds, pulled by a prior; errors and draws on left-out groups."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from energy_opt.calibrate.crossval import conformal_sd, group_bootstrap, held_out
from energy_opt.calibrate.fit import chip_of, fit_at, fit_time, seconds
from energy_opt.calibrate.fitting import resampled
from energy_opt.calibrate.samples import Samples
from energy_opt.calibrate.solver import Problem, solve
from energy_opt.errors import UsageError
from energy_opt.estimators.device import Device
from energy_opt.estimators.fitted import Fitted
from energy_opt.estimators.forms import FORMS
from energy_opt.estimators.work import RowWork

V100 = Device.load("v100-sxm2-32gb")
CHIP = chip_of(V100, "float32")
TRUE = {"start_s": 5e-6, "compute": 0.8, "vector": 0.3, "memory": 0.6, "norm": 3.0}


def samples(
    count: int = 120, noise: float = 0.0, groups: int = 30, seed: int = 0, form: str = "roofline"
) -> Samples:
    """Products whose times are the form's own, at the true parameters, but for noise."""
    random = np.random.default_rng(seed)
    m, n, k = (np.round(np.exp(random.uniform(np.log(16), np.log(4096), count))) for _ in range(3))
    sizes = {"b": np.ones(count), "m": m, "n": n, "k": k}
    moved = 4 * (m * k + n * k), 4 * m * n
    work = RowWork(2 * m * n * k, 0.0 * m, *moved, 0.0, 1.0, sizes, ())
    truth = {**{p.name: p.start for p in FORMS[form].parameters}, **TRUE}
    truth = {p.name: truth[p.name] for p in FORMS[form].parameters}
    latency = seconds((FORMS[form], truth), work, CHIP) * np.exp(noise * random.normal(size=count))
    unknown = np.full(count, np.nan)
    names = random.integers(0, groups, count)
    return Samples("matmul", "", "float32", "", work, latency, unknown, unknown, names)


def errors(form: str, at: dict[str, float], of: Samples) -> np.ndarray:
    return np.abs(seconds((FORMS[form], at), of.work, CHIP) / of.latency_s - 1)


def test_parameters_come_back_from_times_without_noise() -> None:
    at = fit_at(FORMS["roofline"], samples(), CHIP)
    assert at == pytest.approx({**TRUE, "vector": at["vector"]}, rel=0.02)


def test_a_few_absurd_times_change_little() -> None:
    some = samples(noise=0.03)
    some.latency_s[::15] *= 20
    at = fit_at(FORMS["roofline"], some, CHIP)
    assert np.median(errors("roofline", at, samples())) < 0.05


def test_the_linear_form_is_non_negative_least_squares_of_the_relative_error() -> None:
    some = samples(noise=0.2)
    at = fit_at(FORMS["linear"], some, CHIP)
    assert at["vector_flop_s"] == 0.0  # no sample has any
    design = np.stack([np.ones(len(some)), some.work.matmul_flops, some.work.bytes], axis=1)
    scale = np.array([1e-6, 1e-12, 1e-12])
    found = least_squares(
        lambda x: design * scale / some.latency_s[:, None] @ x - 1, np.ones(3), bounds=(0, np.inf), x_scale="jac"
    )  # fmt: skip
    mine = [at["start_s"], at["flop_s"], at["byte_s"]]
    assert mine == pytest.approx(list(found.x * scale), rel=1e-3, abs=1e-16)


def test_a_prior_decides_where_few_points_do_not() -> None:
    few = samples(3, noise=0.02)
    prior = {name: (value, 0.05) for name, value in TRUE.items()}
    pulled = fit_at(FORMS["roofline"], few, CHIP, prior=prior)
    assert pulled == pytest.approx(TRUE, rel=0.25)
    wrong = {**prior, "compute": (0.2, 0.5)}
    many = fit_at(FORMS["roofline"], samples(300, noise=0.02), CHIP, prior=wrong)
    assert many["compute"] == pytest.approx(TRUE["compute"], rel=0.05)


def test_what_measuring_took_is_no_part_of_the_fit() -> None:
    some = samples()
    late = Samples(
        some.kind, some.op, some.dtype, some.runtime, some.work, some.latency_s + 4e-5, some.energy_j, some.power_w,
        some.group,
    )  # fmt: skip
    at = fit_at(FORMS["roofline"], late, CHIP, harness_s=4e-5)
    assert at["start_s"] == pytest.approx(TRUE["start_s"], rel=0.1)
    with pytest.raises(UsageError, match="must take longer than 4e-05 s"):
        fit_at(FORMS["roofline"], some, CHIP, harness_s=4e-5)


def test_the_form_that_made_the_times_is_chosen_and_the_record_is_valid() -> None:
    some = samples(150, noise=0.03, form="tile-128x128")
    time = fit_time(some, CHIP, source="a test", basis="fitted", draws=16)
    assert time.form == "tile-128x128"
    assert time.errors.mape < 0.06
    assert {len(values) for values in time.draws.values()} == {16}
    assert "R2 of log time 0.99" in time.summary
    assert Fitted(kind="matmul", dtype="float32", time=time).time == time
    again = fit_time(some, CHIP, source="a test", basis="fitted", draws=16)
    assert again == time


def test_few_points_settle_no_more_than_a_line() -> None:
    time = fit_time(samples(30), CHIP, source="a test", basis="fitted", draws=4)
    assert time.form == "linear"


def test_one_shape_says_nothing_of_another() -> None:
    with pytest.raises(UsageError, match="30 samples of 1 shape"):
        fit_time(samples(30, groups=1), CHIP, source="a test", basis="fitted")


def test_errors_are_those_of_groups_that_were_left_out() -> None:
    some = samples(200, groups=10)
    some.latency_s[some.group == 3] *= (
        2  # a group unlike all others, which its own fit could follow
    )
    left_out = held_out(FORMS["roofline"], some, CHIP)
    assert np.median(left_out[some.group == 3]) == pytest.approx(-np.log(2), abs=0.1)
    assert np.median(np.abs(left_out[some.group != 3])) < 0.05


def test_conformal_spread_covers_what_it_claims() -> None:
    random = np.random.default_rng(0)
    calibration, unseen = random.normal(0, 0.1, 4000), random.normal(0, 0.1, 4000)
    half_width = 1.645 * conformal_sd(calibration, np.arange(4000))
    assert 0.87 < np.mean(np.abs(unseen) <= half_width) < 0.93
    # Two groups say that a third lies no further out than the furthest seen.
    assert conformal_sd(np.array([0.1, -0.3]), np.array([0, 1])) == pytest.approx(0.3 / 1.645)


def test_bootstrap_draws_groups_as_a_whole() -> None:
    some = samples(60, groups=6)
    weights = group_bootstrap(some, 50, seed=1)
    for name in np.unique(some.group):
        assert np.all(np.ptp(weights[:, some.group == name], axis=1) == 0)
    counts = np.array([weights[:, some.group == name][:, 0] for name in np.unique(some.group)])
    assert np.all(counts.sum(axis=0) == len(counts))


def test_resampled_parameters_scatter_as_refits_do() -> None:
    some = samples(200, noise=0.1, groups=200)
    form = FORMS["roofline"]
    at = fit_at(form, some, CHIP)
    drawn = resampled(form, some, CHIP, group_bootstrap(some, 200), at)
    refits = [
        fit_at(form, samples(200, noise=0.1, groups=200, seed=seed), CHIP)["compute"] for seed in range(25)
    ]  # fmt: skip
    assert np.std(np.log(drawn["compute"])) == pytest.approx(np.std(np.log(refits)), rel=0.6)


def test_the_solver_finds_what_scipy_finds_at_a_bound() -> None:
    x = np.linspace(0, 1, 20)
    measured = np.stack([np.exp(-x) + 0.3, 2 * np.exp(-3 * x)])

    def residuals(at: np.ndarray) -> np.ndarray:
        rows = measured[np.arange(len(at)) % 2]
        return at[:, :1] * np.exp(-at[:, 1:] * x) - rows

    low, high = np.array([0.0, 0.0]), np.array([1.5, 5.0])
    problem = Problem(residuals, low, high, np.ones((2, 20)), np.full(20, 0.1))
    found, _ = solve(problem, np.ones((2, 2)))
    for row in range(2):
        scipy = least_squares(
            lambda at, row=row: at[0] * np.exp(-at[1] * x) - measured[row], [1, 1], bounds=(low, high),
            loss="soft_l1", f_scale=0.1,
        )  # fmt: skip
        assert found[row] == pytest.approx(scipy.x, rel=1e-2, abs=1e-3)
    assert found[1, 0] == high[0]


def test_a_power_cap_shows_in_the_facts_of_a_chip() -> None:
    # T4 cannot feed its float32 peak at 70 W; V100 SXM2 can feed its own at 300 W.
    assert chip_of(Device.load("t4"), "float32").sustained < 0.7
    assert CHIP.sustained == 1.0
