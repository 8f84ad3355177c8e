"""Forms for CPUs: what each term is, by numbers worked out by hand; which forms are tried for what."""

from __future__ import annotations

import numpy as np
import pytest

from energy_opt.calibrate.cpu_menu import forms_of
from energy_opt.calibrate.samples import Samples
from energy_opt.estimators.device import Device
from energy_opt.estimators.forms import FORMS, Chip
from energy_opt.estimators.work import RowWork

CHIP = Chip(1e12, 1e11, 1e11, 2, 0.0, False)

OPERANDS = {
    "start_s": 1e-6, "flop_s": 1e-9, "narrow": 1e-3, "shallow": 1e-3, "right_s": 1e-14, "few": 1e-2, "norm": 1.0,
    "read_s": 1e-15, "write_s": 1e-15,
}  # fmt: skip
"""Only arithmetic counts: everything else is as small as it may be."""


def product(m: float, n: float, k: float) -> RowWork:
    sizes = {"b": 1.0, "m": m, "n": n, "k": k}
    read = 4 * (m * k + k * n)
    return RowWork(2 * m * n * k, 0.0, read, 4 * m * n, 4 * k * n, 1.0, sizes, ())


def seconds(form: str, work: RowWork, **at: float) -> float:
    return float(FORMS[form].parts(work, CHIP, at).total_s)


def test_a_large_product_takes_its_flops() -> None:
    # 2 * 10 * 20 * 30 = 12000 FLOPs at 1 ns each, and a start of 1 us
    assert seconds("operands", product(10, 20, 30), **OPERANDS) == pytest.approx(13e-6, rel=1e-3)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"narrow": 20.0}, 25e-6),  # half the rate at 20 columns: 24 us
        ({"shallow": 30.0}, 25e-6),  # half the rate at a depth of 30
        ({"right_s": 1e-8}, 19e-6),  # 600 elements of the weight at 10 ns are 6 us
        ({"right_s": 1e-8, "few": 10.0}, 16e-6),  # half of that at 10 rows
        (
            {"read_s": 1e-8},
            25e-6,
        ),  # 300 activations of 4 bytes at 10 ns a byte; the weight is not among them
        ({"write_s": 1e-8}, 21e-6),  # 200 results of 4 bytes
        (
            {"right_s": 2e-8, "norm": 2.0},
            1e-6 + 12e-6 * 2**0.5,
        ),  # 12 us hidden as far as a circle lets them
    ],
)
def test_terms_of_a_product(changed: dict[str, float], expected: float) -> None:
    found = seconds("operands", product(10, 20, 30), **{**OPERANDS, **changed})
    assert found == pytest.approx(expected, rel=2e-3)


def test_a_product_without_sizes_is_a_sum() -> None:
    work = RowWork(1000.0, 0.0, 100.0, 50.0, 0.0, 1.0, {}, ())
    at = {**OPERANDS, "read_s": 1e-9, "write_s": 1e-9}
    assert seconds("operands", work, **at) == pytest.approx(1e-6 + 1e-6 + 150e-9)


STREAM = {
    "start_s": 1e-6, "fork_s": 2e-6, "speedup": 2.0, "vector_flop_s": 1e-9, "byte_s": 0.0, "far_byte_s": 0.0,
    "near_bytes": 1e6,
}  # fmt: skip


def elementwise(elements: float, flops: float = 1.0) -> RowWork:
    return RowWork(0.0, flops * elements, 4 * elements, 4 * elements, 0.0, 1.0, {}, ())


@pytest.mark.parametrize(
    ("elements", "changed", "expected"),
    [
        (32768, {}, 1e-6 + 32768e-9),  # one thread up to 32768 elements
        (65536, {}, 3e-6 + 32768e-9),  # two threads, and the fork
        (1000, {"byte_s": 1e-9}, 1e-6 + 1e-6 + 8e-6),  # 8 bytes an element
        (
            125000,
            {"vector_flop_s": 0.0, "far_byte_s": 1e-9},
            3e-6 + 0.5e-3,
        ),  # 1 MB, half of it beyond 1 MB of cache
    ],
)
def test_terms_of_a_stream(elements: float, changed: dict[str, float], expected: float) -> None:
    found = seconds("stream", elementwise(elements), **{**STREAM, **changed})
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("name", ["operands", "stream"])
def test_parts_broadcast_over_points_and_draws(name: str) -> None:
    form = FORMS[name]
    work = product(np.array([1.0, 10.0, 100.0]), 20.0, 30.0)
    at = {p.name: np.array([[p.start], [2 * p.start]]) for p in form.parameters}
    parts = form.parts(work, CHIP, at)
    assert np.shape(parts.total_s) == (2, 3)
    assert np.all(np.diff(parts.total_s, axis=1) > 0)


def samples(kind: str, points: int) -> Samples:
    ones = np.ones(points)
    work = RowWork(ones, ones, ones, ones, ones, ones, {}, ())
    return Samples(kind, "", "float32", "eager", work, ones, ones, ones, np.arange(points))


@pytest.mark.parametrize(
    ("device", "kind", "points", "forms"),
    [
        ("t4", "matmul", 100, None),
        ("xeon-sapphire-rapids", "matmul", 100, ("linear", "operands")),
        ("xeon-sapphire-rapids", "conv", 100, ("linear", "operands")),
        ("xeon-sapphire-rapids", "norm", 100, ("linear", "stream")),
        ("xeon-sapphire-rapids", "conv", 8, ("linear",)),
    ],
)
def test_menu(device: str, kind: str, points: int, forms: tuple[str, ...] | None) -> None:
    assert forms_of(Device.load(device), samples(kind, points)) == forms
