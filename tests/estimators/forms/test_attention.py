"""Forms of attention: what kernels skip, what they pad, and how tiles and splits show in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from energy_opt.estimators.forms import FORMS, Chip
from energy_opt.estimators.forms.attention import attended, padded, performed, regime
from energy_opt.estimators.work import RowWork

CHIP = Chip(1e14, 1e13, 1e12, 100, 0.0, True)
PREFILL, DECODE = FORMS["flash-128"], FORMS["flash-decode"]


def at_of(name: str, **changed: float) -> dict[str, float]:
    return {p.name: p.start for p in FORMS[name].parameters} | changed


def work_of(
    q: float, kv: float, *, heads: float = 8, kv_heads: float = 8, batch: float = 1, **more: float
) -> RowWork:
    """16-bit attention of heads 128 wide, 2 bytes an element."""
    d = 128.0
    sizes: dict[str, Any] = {
        "b": batch * heads, "b_kv": batch * kv_heads, "batch": batch, "q": q, "kv": kv, "d": d, "dv": d, **more,
    }  # fmt: skip
    read = 2 * d * (batch * heads * q + 2 * batch * kv_heads * kv)
    return RowWork(
        4 * batch * heads * q * kv * d, 0.0, read, 2 * d * batch * heads * q, 0.0, 1.0, sizes, ()
    )


@pytest.mark.parametrize(
    ("sizes", "share"),
    [
        ({"q": 4, "kv": 4}, 1.0),
        ({"q": 4, "kv": 4, "causal": 1}, 10 / 16),  # 1 + 2 + 3 + 4 of 16 scores
        ({"q": 1, "kv": 9, "causal": 1}, 1.0),  # the newest query sees all
        ({"q": 2, "kv": 4, "causal": 1}, 7 / 8),  # 3 + 4 of 8
        ({"q": 4, "kv": 4, "causal": 1, "window": 2}, 7 / 16),  # 1 + 2 + 2 + 2
        ({"q": 1, "kv": 8, "causal": 1, "window": 2}, 2 / 8),
        ({"q": 4, "kv": 8, "window": 2}, 2 / 8),
    ],
)
def test_scores_that_a_mask_leaves(sizes: dict[str, float], share: float) -> None:
    assert attended(sizes) == pytest.approx(share)


@pytest.mark.parametrize(
    ("sizes", "name"),
    [
        ({"q": 512, "kv": 512, "causal": 1}, "prefill"),
        ({"q": 512, "kv": 512}, "encoder"),
        ({"q": 1, "kv": 512}, "decode"),
        ({"q": 8, "kv": 512, "causal": 1}, "decode"),  # some tokens are checked at once
        ({"q": 8, "kv": 8, "causal": 1}, "prefill"),
        ({"q": 1, "kv": 512, "narrow": 1}, "decode/narrow"),
    ],
)
def test_regimes(sizes: dict[str, float], name: str) -> None:
    assert str(regime(sizes)) == name


def test_the_regime_of_arrays_is_that_of_each_execution() -> None:
    found = regime({"q": np.array([1.0, 16.0, 64.0]), "kv": np.array([64.0, 9.0, 64.0])})
    assert found.tolist() == ["decode", "encoder", "encoder"]


def test_masked_scores_are_not_performed() -> None:
    sizes = {"b": 8.0, "q": 4.0, "kv": 4.0, "d": 64.0}
    work = RowWork(160.0, 16.0, 8.0, 8.0, 0.0, 1.0, sizes, ())
    assert performed("attention", work) is work
    masked = replace(work, sizes=sizes | {"causal": 1.0})
    # Of 4 x 4 scores 10 are on or under the diagonal.
    assert float(performed("attention", masked).matmul_flops) == 100.0
    assert float(performed("attention", masked).other_flops) == 10.0
    assert performed("matmul", masked) is masked


def test_heads_are_padded_to_widths_that_kernels_have() -> None:
    assert padded(np.array([40.0, 64.0, 72.0, 160.0, 700.0])).tolist() == [64, 64, 96, 192, 700]


def test_a_causal_mask_saves_time_but_not_under_a_wave_of_work() -> None:
    at = at_of("flash-128")
    whole, masked = (
        PREFILL.parts(work_of(8192, 8192, **more), CHIP, at).total_s
        for more in ({}, {"causal": 1.0})
    )
    assert 0.4 * whole < masked < 0.7 * whole


def test_a_window_bounds_the_work_of_long_sequences() -> None:
    at = at_of("flash-128", start_s=1e-7, block_s=1e-9, memory=1.0)
    windowed = [
        PREFILL.parts(work_of(q, q, causal=1.0, window=128.0), CHIP, at).compute_s
        for q in (81920.0, 163840.0)
    ]
    assert windowed[1] / windowed[0] == pytest.approx(2.0, rel=0.02)


def test_a_copy_into_a_cache_costs_and_no_cache_costs_nothing() -> None:
    at = at_of("flash-128")
    plain = work_of(64, 64, batch=64, causal=1.0)
    copying = work_of(64, 64, batch=64, causal=1.0, cache=4.0)
    assert PREFILL.parts(copying, CHIP, at).total_s > PREFILL.parts(plain, CHIP, at).total_s
    other = at_of("flash-128", token_s=1e-4, copy=8.0)
    assert PREFILL.parts(plain, CHIP, other).total_s == PREFILL.parts(plain, CHIP, at).total_s


def test_decode_reads_shared_keys_once() -> None:
    at = at_of("flash-decode", gather_s=1e-8, block_s=1e-9, step_s=1e-9)
    own = DECODE.parts(work_of(1, 65536, heads=64, kv_heads=64), CHIP, at).total_s
    shared = DECODE.parts(work_of(1, 65536, heads=64, kv_heads=8), CHIP, at).total_s
    assert shared == pytest.approx(own / 8, rel=0.1)


def test_decode_of_one_sequence_is_split_unless_heads_stand_alone() -> None:
    split, alone = (at_of("flash-decode", alone=share) for share in (0.01, 1.0))
    work = work_of(1, 131072)  # 8 blocks for 100 units
    assert (
        DECODE.parts(work, CHIP, split).compute_s < 0.1 * DECODE.parts(work, CHIP, alone).compute_s
    )


@pytest.mark.parametrize("name", ["flash-64", "flash-128", "flash-192", "flash-decode"])
def test_parts_broadcast_over_points_and_draws(name: str) -> None:
    q = np.array([1.0, 7.0, 512.0])
    work = work_of(q, q + 3.0, causal=1.0, window=16.0)  # type: ignore[arg-type]
    at = {k: np.full((5, 1), v) for k, v in at_of(name).items()}
    drawn = np.asarray(FORMS[name].parts(work, CHIP, at).total_s)
    central = np.asarray(FORMS[name].parts(work, CHIP, at_of(name)).total_s)
    assert drawn.shape == (5, 3)
    assert np.all(np.isfinite(drawn))
    assert np.all(drawn > 0)
    assert np.allclose(drawn, central)


@pytest.mark.parametrize("name", ["flash-128", "flash-decode"])
def test_work_of_unknown_sizes_is_a_roofline(name: str) -> None:
    work = RowWork(1e12, 0.0, 1e6, 1e6, 0.0, 1.0, {}, ())
    assert float(FORMS[name].parts(work, CHIP, at_of(name)).total_s) > 1e12 / CHIP.peak


def test_widths_that_other_kernels_serve_have_rates_of_their_own() -> None:
    work = work_of(4096, 4096)
    for width, name in (
        (72.0, "uneven"),
        (80.0, "between"),
        (192.0, "between"),
        (256.0, "broad"),
        (512.0, "wide"),
    ):
        sizes = {**work.sizes, "d": width, "dv": width}
        of_width = RowWork(work.matmul_flops, 0.0, 1e6, 1e6, 0.0, 1.0, sizes, ())
        slow, fast = (
            PREFILL.parts(of_width, CHIP, at_of("flash-128", **{name: rate})).compute_s
            for rate in (0.1, 1.0)
        )
        assert slow > 4 * fast
