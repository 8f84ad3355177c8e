"""Forms of experts, pointwise operators and collectives."""

from __future__ import annotations

import numpy as np
import pytest

from energy_opt.estimators.forms import FORMS, Chip
from energy_opt.estimators.work import RowWork

CHIP = Chip(1e14, 1e13, 1e12, 100, 4e7, True)


def at_of(name: str, **changed: float) -> dict[str, float]:
    return {p.name: p.start for p in FORMS[name].parameters} | changed


def layer(tokens: float, held: float = 64.0, routed: float | None = None) -> RowWork:
    """2 of 64 gated experts per token, hidden 1024, inner 2048, 16 bits."""
    rows = 2 * tokens if routed is None else routed
    met, weights = min(rows, held), 3 * 1024 * 2048.0
    sizes = {
        "b": met, "m": tokens, "k": 2.0, "experts": held, "weights": weights, "hidden": 1024.0,
        "inter": 2048.0, "routed": rows,
    }  # fmt: skip
    read = 2 * met * weights + 2 * tokens * 1024
    return RowWork(2 * rows * weights, 0.0, read, 2048 * tokens, 0.0, 1.0, sizes, ())


def seconds(name: str, work: RowWork, **changed: float) -> float:
    return float(FORMS[name].parts(work, CHIP, at_of(name, **changed)).total_s)


def test_few_tokens_cost_the_weights_they_meet() -> None:
    at = {"start_s": 1e-7, "cached": 1e-3, "memory": 1.0}
    one, two = (seconds("experts", layer(tokens), **at) for tokens in (4.0, 8.0))
    assert two / one == pytest.approx(2.0, rel=0.1)


def test_more_rows_of_the_same_experts_are_free_until_arithmetic_binds() -> None:
    few, more, many = (seconds("experts", layer(tokens)) for tokens in (64.0, 128.0, 65536.0))
    assert more < 1.3 * few
    assert many > 20 * few


def test_rows_of_absent_experts_cost_no_product() -> None:
    whole = FORMS["experts"].parts(layer(4096.0), CHIP, at_of("experts"))
    eighth = FORMS["experts"].parts(layer(4096.0, held=8.0, routed=1024.0), CHIP, at_of("experts"))
    assert float(eighth.compute_s) < 0.2 * float(whole.compute_s)
    assert float(eighth.total_s) > float(whole.total_s) / 8


def test_one_grouped_product_is_cheaper_than_a_layer_of_two() -> None:
    sizes = {"b": 64.0, "m": 128.0, "n": 4096.0, "k": 1024.0}
    weights = 64 * 4096 * 1024.0
    product = RowWork(2 * 128 * weights, 0.0, 2 * weights, 2 * 8192 * 4096.0, 0.0, 1.0, sizes, ())
    assert 0.3 < seconds("experts", product) / seconds("experts", layer(4096.0)) < 0.8


def test_experts_of_unknown_sizes_are_a_roofline() -> None:
    work = RowWork(1e12, 0.0, 1e6, 1e6, 0.0, 1.0, {"experts": 8.0}, ())
    assert seconds("experts", work) > 1e12 / CHIP.peak


def passing(moved: float, flops: float = 0.0) -> RowWork:
    return RowWork(0.0, flops, moved / 2, moved / 2, 0.0, 1.0, {}, ())


def test_a_small_tensor_costs_a_start_and_one_block() -> None:
    at = {"start_s": 3e-6, "ramp_s": 2e-6}
    assert seconds("pass", passing(1e3), **at) == pytest.approx(5e-6, rel=0.01)


def test_what_fits_in_l2_moves_faster() -> None:
    at = {"start_s": 1e-7, "ramp_s": 1e-8, "cached": 0.5, "l2": 4.0, "memory": 0.5}
    near, far = (seconds("pass", passing(moved), **at) / moved for moved in (1e7, 1e10))
    assert far / near == pytest.approx(8.0, rel=0.05)  # 0.5 against 4 times the bandwidth


def test_nothing_moved_costs_a_start() -> None:
    assert seconds("pass", passing(0.0), start_s=4e-6) == pytest.approx(4e-6)


def message(size: float) -> RowWork:
    return RowWork(0.0, 0.0, size, size, 0.0, 1.0, {"message": size, "ranks": 8.0}, ())


def test_small_messages_are_latency_and_large_ones_bandwidth() -> None:
    at = {"host_s": 1e-7, "start_s": 5e-6, "near_byte_s": 1e-10, "phase_s": 1e-5, "byte_s": 1e-11}
    assert seconds("alpha-beta", message(100.0), **at) == pytest.approx(5e-6, rel=0.01)
    assert seconds("alpha-beta", message(1e4), **at) == pytest.approx(
        6e-6
    )  # 5 us and 1e4 bytes in one step
    assert seconds("alpha-beta", message(1e9), **at) == pytest.approx(15e-6 + 1e-2)  # in two
    assert seconds("alpha-beta", message(100.0), **at | {"host_s": 2e-5}) == pytest.approx(2e-5)


@pytest.mark.parametrize("name", ["experts", "pass", "alpha-beta"])
def test_more_work_is_never_quicker(name: str) -> None:
    works = {
        "experts": [layer(t) for t in (1.0, 3.0, 10.0, 100.0, 1e3, 1e4)],
        "pass": [passing(m) for m in np.geomspace(1, 1e10, 30)],
        "alpha-beta": [message(m) for m in np.geomspace(1, 1e10, 30)],
    }[name]
    times = [seconds(name, work) for work in works]
    assert times == sorted(times)
