from __future__ import annotations

import math

import pytest

from energy_opt import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1, "1.00"),
        (12.345, "12.3"),
        (0.012345, "0.0123"),
        (999.4, "999"),
        (999.6, "1,000"),
        (1234.5, "1,230"),
        (-12.345, "-12.3"),
        (9.996, "10.0"),
        (3e15, "3.00e+15"),
        (math.inf, "inf"),
    ],
)
def test_number_has_three_significant_digits(value: float, text: str) -> None:
    assert units.number(value) == text


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (units.energy(0.0123), "12.3 mJ"),
        (units.energy(8.1e-6), "8.10 µJ"),
        (units.energy(0), "0 J"),
        (units.energy(0.9996), "1.00 J"),
        (units.energy(None), "unknown"),
        (units.energy(-0.002), "-2.00 mJ"),
        (units.time(0.00123), "1.23 ms"),
        (units.time(3600 * 5), "5.00 h"),
        (units.time(86400 * 3), "3.00 days"),
        (units.time(119), "119 s"),
        (units.power(66.12), "66.1 W"),
        (units.nbytes(437.9e6), "438 MB"),
        (units.nbytes(999_999), "1.00 MB"),
        (units.nbytes(0), "0 B"),
        (units.flop(44.7e9), "44.7 GFLOP"),
        (units.flop_rate(8.1e12), "8.10 TFLOP/s"),
        (units.byte_rate(320e9), "320 GB/s"),
        (units.macs(22.35e9), "22.4 GMACs"),
        (units.count(109.5e6), "110 M"),
        (units.kwh(12.3), "12.3 kWh"),
        (units.kwh(0.0123), "12.3 Wh"),
        (units.co2e(120), "120 g CO2e"),
        (units.co2e(1200), "1.20 kg CO2e"),
        (units.co2e(3.4e6), "3.40 t CO2e"),
        (units.usd(1234.5), "1,234.50 USD"),
        (units.usd(0.00123), "0.0012 USD"),
        (units.share(0.413), "41 %"),
        (units.share(0.00321), "0.3 %"),
        (units.share(1e-9), "<0.1 %"),
        (units.share(0), "0.0 %"),
    ],
)
def test_quantities(shown: str, text: str) -> None:
    assert shown == text


def test_an_interval_uses_the_unit_of_its_value() -> None:
    assert units.bounds(0.0123, (0.0081, 0.018), "J") == "8.1 to 18 mJ"
    assert units.bounds(0.95, (0.45, 1.9), "J") == "450 to 1,900 mJ"


@pytest.mark.parametrize("interval", [None, (None, 1.0), ()])
def test_without_an_interval_nothing_is_said(interval: tuple[float, ...] | None) -> None:
    assert units.bounds(1.5, interval, "J") == ""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_shown_and_not_hidden(value: float) -> None:
    assert units.energy(value) == f"{value} J"


def test_a_difference_has_its_sign_and_an_unknown_one_is_blank() -> None:
    shown = [units.signed(0.123), units.signed(-0.0321, 1), units.signed(0.0), units.signed(None)]
    assert shown == ["+12 %", "-3.2 %", "+0 %", ""]
