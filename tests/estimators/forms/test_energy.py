"""Joules of work whose seconds are known, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from energy_opt.estimators.forms.energy import PARAMETERS, dynamic, joules
from energy_opt.estimators.work import RowWork

AT = {
    "base_w": 100.0,
    "cap_w": 400.0,
    "flop_j": 1e-12,
    "vector_flop_j": 1e-11,
    "byte_j": 1e-10,
    "start_j": 1e-3,
}


def work(flops: float, other: float, moved: float) -> RowWork:
    return RowWork(flops, other, moved, 0.0, 0.0, 1.0, {}, ())


@pytest.mark.parametrize(
    ("flops", "other", "moved", "seconds", "wanted"),
    [
        (0.0, 0.0, 0.0, 1.0, 100.001),  # base and one start
        (1e14, 0.0, 0.0, 1.0, 200.001),  # + 100 J of products
        (0.0, 1e12, 0.0, 1.0, 110.001),  # + 10 J of other arithmetic
        (0.0, 0.0, 1e12, 1.0, 200.001),  # + 100 J of traffic
        (1e15, 0.0, 0.0, 1.0, 400.0),  # 1100 W wanted, 400 W allowed
        (1e14, 0.0, 0.0, 0.1, 40.0),  # 1100 W wanted for a tenth of a second
    ],
)
def test_joules(flops: float, other: float, moved: float, seconds: float, wanted: float) -> None:
    assert joules(work(flops, other, moved), seconds, AT) == pytest.approx(wanted)


def test_draws_and_points_broadcast() -> None:
    drawn = {name: np.full((3, 1), value) for name, value in AT.items()}
    points = work(0.0, 0.0, 0.0)
    assert joules(points, np.array([1.0, 2.0]), drawn).shape == (3, 2)


def test_the_base_is_no_part_of_the_dynamic_energy() -> None:
    assert dynamic(work(1e12, 0.0, 0.0), AT) == pytest.approx(1.001)


def test_every_coefficient_has_a_physical_unit() -> None:
    units = {p.name: p.unit for p in PARAMETERS}
    assert units == {
        "base_w": "W", "cap_w": "W", "flop_j": "J/FLOP", "vector_flop_j": "J/FLOP", "byte_j": "J/byte", "start_j": "J",
    }  # fmt: skip
