"""Products by tiles, splits, caps and caches, and convolutions by Winograd: limits worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from energy_opt.estimators.forms import FORMS, Chip
from energy_opt.estimators.work import RowWork

CHIP = Chip(1e12, 1e12, 1e15, 10, 1e6, False)
"""1e11 FLOP/s per unit, and so much bandwidth that only arithmetic counts."""

PLAIN = {
    "start_s": 0.0, "compute": 1.0, "memory": 1.0, "norm": 8.0, "weight": 1.0, "edge": 0.0, "depth": 0.0,
    "serial_s": 0.0, "sustained": 1.0, "lag_s": 1.0, "partial": 1000.0, "far": 0.0, "reach": 1e11, "resident": 0.0,
    "l2": 1.0, "row_s": 0.0, "scaling": 1.0, "direct": 1.0, "direct_edge": 0.0, "fused": 1e-2, "transforms_s": 0.0,
    "transform": 1.0, "prepare": 1.0,
}  # fmt: skip


def product(b: float, m: float, n: float, k: float, **more: float) -> RowWork:
    moved = 4.0 * b * (m * k + n * k)
    sizes = {"b": b, "m": m, "n": n, "k": k, **more}
    return RowWork(2.0 * b * m * n * k, 0.0, moved, 4.0 * b * m * n, 0.0, 1.0, sizes, ())


def seconds(name: str, work: RowWork, chip: Chip = CHIP, **changed: float) -> float:
    form = FORMS[name]
    at = {p.name: {**PLAIN, **changed}[p.name] for p in form.parameters}
    return float(form.parts(work, chip, at).total_s)


# One tile of 128x128 over k = 100: 2 * 128 * 128 * 100 = 3.2768e6 FLOPs on one unit of 1e11 FLOP/s.
WAVE_S = 3.2768e-5


@pytest.mark.parametrize(
    ("sizes", "changed", "waves"),
    [
        ((1, 128, 128, 100), {}, 1),  # one tile on ten units: a whole wave
        ((10, 128, 128, 100), {}, 1),  # ten tiles: the same wave, full
        ((11, 128, 128, 100), {}, 2),  # one more: another
        ((11, 128, 128, 100), {"weight": 0.0}, 1.1),  # ... of which only a tenth counts
        ((1, 129, 1, 100), {}, 1),  # two tiles, mostly empty
        ((1, 128, 128, 100), {"depth": 50.0}, 1.5),  # 50 of 100 more steps
        ((1, 128, 128, 100), {"edge": 64.0}, 2),  # 64 * (1/128 + 1/128) = 1 more
        ((1, 128, 128, 100), {"serial_s": 3 * WAVE_S / 100}, 3),  # 100 steps, each thrice as long
    ],
)
def test_waves(sizes: tuple[float, ...], changed: dict[str, float], waves: float) -> None:
    found = seconds("tile-128x128", product(*map(float, sizes)), **changed)
    assert found == pytest.approx(waves * WAVE_S, rel=1e-3)


def test_the_best_tile_is_chosen() -> None:
    # 3 by 10 tiles of 32x32 are 3 full waves; no other tile divides 96 rows so that all units are busy.
    small = seconds("tiles", product(1.0, 96.0, 320.0, 64.0))
    assert small == pytest.approx(2 * 96 * 320 * 64 / 1e12, rel=1e-3)


def test_deep_products_are_split_where_partial_sums_are_cheap() -> None:
    deep = product(1.0, 128.0, 128.0, 1e6)
    # One tile of 128x128 keeps one of ten units busy; split, and in smaller tiles, nearly all.
    ideal = deep.matmul_flops / CHIP.peak
    whole = seconds("tile-128x128", deep)
    split = seconds("tiles", deep, partial=0.1)
    assert ideal <= split < 1.35 * ideal < whole / 2


def test_a_cap_acts_on_what_is_longer_than_its_lag() -> None:
    short, long = product(1.0, 128.0, 128.0, 1e2), product(1.0, 128.0, 128.0, 1e7)
    # Four tiles of 64x64 are one wave of 8.2 us and 0.82 s: of the first 0.08 % is capped, of the second 98.8 %.
    for work, slower in ((short, 1.0008), (long, 1.988)):
        capped = seconds("tiles-small-capped", work, sustained=0.5, lag_s=1e-2)
        assert capped / seconds("tiles-small", work) == pytest.approx(slower, abs=2e-4)


def test_operands_that_fit_come_from_l2() -> None:
    chip = Chip(1e15, 1e15, 1e9, 10, 1e6, True)  # all memory: 1e9 bytes/s, 1 MB of L2
    fits, not_so = product(1.0, 64.0, 64.0, 64.0), product(1.0, 64.0, 1e5, 64.0)
    for work, faster in ((fits, 4.0), (not_so, 1.0)):
        cold = seconds("tiles", work, chip, resident=0.0, l2=4.0)
        warm = seconds("tiles", work, chip, resident=1.0, l2=4.0)
        assert cold / warm == pytest.approx(faster, rel=1e-2)


def test_scaling_activations_reads_two_bytes_and_writes_one_per_element_and_starts_per_row() -> (
    None
):
    chip = Chip(1e15, 1e15, 1e9, 10, 0.0, True)
    work = product(1.0, 1000.0, 64.0, 100.0)
    more = seconds("tiles-scaled", work, chip, row_s=1e-6) - seconds("tiles", work, chip)
    assert more == pytest.approx(1000 * 1e-6 + 3 * 1000 * 100 / 1e9)


def test_operands_beyond_the_reach_slow_down_a_product() -> None:
    work = product(
        1.0, 1280.0, 128.0, 1e6
    )  # (1280 + 128) rows and columns of 4 MB: 5.6 GB in flight
    near, far = (seconds("tiles", work, far=1.0, reach=reach) for reach in (1e11, 1e7))
    assert near == pytest.approx(seconds("tiles", work), rel=5e-3)
    assert far == pytest.approx(2 * near, rel=5e-3)


PLANE = {"images": 64.0, "rows": 8.0, "columns": 8.0, "inputs": 64.0, "side": 3.0}


def test_winograd_does_36_products_for_144() -> None:
    # 64 images of 8 by 8 in tiles of 4 by 4: 256 places, so 36 products of [256, 512] by [512, 512].
    conv = product(1.0, 4096.0, 512.0, 9 * 512.0, **PLANE)
    direct = 2 * 4096 * 512 * 9 * 512 / CHIP.peak
    # 36 * 2 * 4 tiles of 128x128 on ten units: 28.8 waves for 29, and transforms at 1e15 bytes/s are nothing.
    assert seconds("winograd", conv) == pytest.approx(direct / 4, rel=0.02)


@pytest.mark.parametrize(
    "other",
    [{"side": 5.0}, {"side": 1.0}, {"inputs": 256.0}, {"rows": 1.0}, {"b": 2.0}],
    ids=lambda other: str(other),
)
def test_winograd_only_where_it_applies(other: dict[str, float]) -> None:
    conv = product(1.0, 4096.0, 512.0, 9 * 512.0, **PLANE)
    conv.sizes.update(other)  # type: ignore[attr-defined]
    assert seconds("winograd", conv) >= conv.matmul_flops / CHIP.peak * (1 - 1e-9)


@pytest.mark.parametrize("name", [n for n in FORMS if n.startswith(("tile", "winograd"))])
def test_points_and_draws_broadcast_and_sizes_may_be_unknown(name: str) -> None:
    form = FORMS[name]
    at: dict[str, Any] = {p.name: p.start for p in form.parameters}
    one = product(1.0, 4096.0, 512.0, 9 * 512.0, **PLANE)
    alone = form.parts(one, CHIP, at).total_s
    assert np.ndim(alone) == 0
    columns = {n: np.full((3, 1), value) for n, value in at.items()}
    many = product(*(np.full(5, s) for s in (1.0, 4096.0, 512.0, 9 * 512.0)), **PLANE)  # type: ignore[arg-type]
    found = form.parts(many, CHIP, columns).total_s
    assert np.shape(found) == (3, 5)
    assert found == pytest.approx(np.full((3, 5), alone))
    bare = RowWork(1e9, 0.0, 1e6, 1e6, 0.0, 1.0, {}, ())
    assert form.parts(bare, CHIP, at).total_s > 1e9 / CHIP.peak
