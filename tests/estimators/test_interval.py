from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_opt.estimators.interval import difference, interval, lognormal, normals


def test_a_name_has_the_same_draws_every_time() -> None:
    assert np.array_equal(normals("time"), normals("time"))
    assert not np.array_equal(normals("time"), normals("energy"))


@pytest.mark.parametrize("draws", [2, 7, 63, 64])
def test_draws_are_balanced_and_of_unit_size(draws: int) -> None:
    sample = normals("x", draws)
    assert len(sample) == draws
    assert sample.sum() == pytest.approx(0)
    if draws >= 63:
        assert sample.std() == pytest.approx(1, abs=0.05)


def test_ninety_percent_of_a_lognormal_is_within_1_64_deviations() -> None:
    low, high = interval(1.0, lognormal("x", 0.2))
    assert np.log(high) == pytest.approx(1.645 * 0.2, rel=0.06)
    assert np.log(low) == pytest.approx(-1.645 * 0.2, rel=0.06)


def test_widening_acts_on_the_logarithm() -> None:
    drawn = lognormal("x", 0.2)
    low, high = interval(1.0, drawn)
    wide_low, wide_high = interval(1.0, drawn, widen=2.0)
    assert wide_high == pytest.approx(high**2)
    assert wide_low == pytest.approx(low**2)


@given(
    value=st.floats(0, 1e6),
    drawn=st.lists(st.floats(0, 1e6), min_size=2, max_size=20),
    widen=st.floats(0.5, 3),
    share=st.floats(0, 1),
)
def test_an_interval_contains_its_value_and_respects_the_bound(
    value: float, drawn: list[float], widen: float, share: float
) -> None:
    least = value * share
    low, high = interval(value, np.array(drawn), widen=widen, least=least)
    assert least <= low <= value <= high


def test_what_two_estimates_share_cancels_in_their_difference() -> None:
    common = lognormal("common", 0.3)
    low, high = difference(2 * common, 1 * common, 1.0)
    alone = lognormal("other", 0.3)
    wide_low, wide_high = difference(2 * common, 1 * alone, 1.0)
    assert high - low < 0.6 * (wide_high - wide_low)
