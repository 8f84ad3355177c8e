"""Dimensions: evaluation over numbers and arrays."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from energy_opt.errors import DimError
from energy_opt.ir.dims import Evaluator, ceil_div, evaluate, maximum, product, symbol, total

B, S = symbol("batch"), symbol("seq")


@pytest.mark.parametrize(
    ("expression", "expected"),  # at batch = 3, seq = 7
    [
        (5, 5.0),
        (B * S, 21.0),
        (4 * B * S**2 - 2 * S + 1, 575.0),  # 4*3*49 - 14 + 1
        (sympy.Min(512, S) * B, 21.0),
        (sympy.Max(B, S) + 1, 8.0),
        (sympy.floor(S / 2), 3.0),
        (sympy.floor((S - 4) / 3), 1.0),  # 7 / 3 - 4 / 3 in floats is less
        (sympy.ceiling((4 * S - 4) / 3), 8.0),
        (sympy.ceiling(S / 2), 4.0),
        (sympy.Mod(S, 4), 3.0),
        (B / sympy.Integer(2), 1.5),
        (sympy.floor((S - 1) / 2) * sympy.ceiling(B / 2), 6.0),  # 3 * 2
        (sympy.ceiling(sympy.log(4 * B * S) / sympy.log(2)), 7.0),  # 84 is between 2**6 and 2**7
        (sympy.Max(1, sympy.log(B - 3)), 1.0),  # of nothing
    ],
)
def test_values(expression: object, expected: float) -> None:
    assert evaluate(expression, {"batch": 3, "seq": 7}) == expected  # type: ignore[arg-type]


def test_arrays_enter_only_at_evaluation() -> None:
    values = Evaluator([B * S**2, 10, B])({"batch": np.array([1, 2, 3]), "seq": 4})
    np.testing.assert_array_equal(values[0], [16, 32, 48])
    assert values[1] == 10.0
    np.testing.assert_array_equal(values[2], [1, 2, 3])


def test_float64_does_not_wrap_where_int64_would() -> None:
    huge = (
        2 * 70_000_000_000 * 100_000 * B * 10_000
    )  # a 70B model at batch 1e5, seq 1e4: 1.4e20 > 2**63
    assert evaluate(huge, {"batch": np.array([1.0])})[0] == pytest.approx(1.4e20)  # type: ignore[index]


def test_a_function_that_is_not_arithmetic_is_refused() -> None:
    with pytest.raises(DimError, match="sin"):
        Evaluator([sympy.sin(B)])


def test_a_missing_symbol_is_an_error() -> None:
    with pytest.raises(KeyError, match="seq"):
        evaluate(B * S, {"batch": 1})


@given(st.lists(st.integers(0, 10**6), max_size=6))
def test_products_and_sums_of_ints_stay_ints(numbers: list[int]) -> None:
    made = product(numbers)
    assert isinstance(made, int)
    assert made == np.prod(np.array(numbers, dtype=object))
    assert total(numbers) == sum(numbers)


@given(st.integers(1, 10**9), st.integers(1, 1000))
def test_ceil_div_of_symbols_is_that_of_ints(size: int, by: int) -> None:
    assert evaluate(ceil_div(B, by), {"batch": size}) == ceil_div(size, by)


def test_maximum_of_mixed() -> None:
    assert maximum(3, 4) == 4
    assert evaluate(maximum(B, 4), {"batch": 3}) == 4.0
