"""The order of visits: any prefix is a calibration, kinds are interleaved, anchors stand in between."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from energy_opt.calibrate.backend import Setting
from energy_opt.calibrate.schedule import Point, schedule
from tests.calibrate.points import ANCHOR, gelu, linear


def test_every_point_is_visited_once_per_pass() -> None:
    points = [linear(2**i) for i in range(8)] + [gelu(2**i) for i in range(5)]
    plan = schedule(points, passes=3, seed=1)
    visits = Counter((visit.point.key, visit.round) for visit in plan.visits)
    assert set(visits.values()) == {1}
    assert {key for key, _ in visits} == {point.key for point in points}
    assert [visit.index for visit in plan.visits] == list(range(3 * 13))


def test_a_pass_ends_before_the_next_begins() -> None:
    plan = schedule([linear(2**i) for i in range(8)], passes=2)
    assert [visit.round for visit in plan.visits] == [0] * 8 + [1] * 8


def test_the_same_seed_gives_the_same_order_and_another_another() -> None:
    points = [linear(2**i) for i in range(10)]
    first, again, other = (schedule(points, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.digest != other.digest
    assert first.digest != schedule(points[:-1], seed=0).digest


def test_anchors_stand_at_the_start_between_and_at_the_end() -> None:
    plan = schedule([linear(i) for i in range(1, 61)], anchors=[ANCHOR], every=25)
    places = [visit.index for visit in plan.visits if visit.role == "anchor"]
    # 60 points: an anchor before the 1st, the 26th and the 51st, and one after the last.
    assert places == [0, 26, 52, 63]


def test_a_small_kind_is_done_early_and_a_large_one_has_begun() -> None:
    points = [linear(i) for i in range(1, 101)] + [gelu(i) for i in range(1, 5)]
    order = [visit.point.primitive.row.op for visit in schedule(points).visits]
    # The 4 activations are due at 0, 1/2, 1, 3/2 and the i-th of 100 products at i/10: among the first 40.
    assert order[:40].count("gelu") == 4
    assert order[:40].count("linear") > 10


def test_early_points_of_a_kind_span_its_range() -> None:
    points = [linear(2**i) for i in range(12)]
    early = [
        visit.point.primitive.work.matmul_flops for visit in schedule(points, seed=3).visits[:3]
    ]
    # 12 sizes from 1 to 2048: what comes first is far apart, not three neighbours.
    assert max(early) / min(early) >= 2**6


def test_a_point_given_twice_is_visited_once() -> None:
    assert len(schedule([linear(4), linear(4)])) == 1


def test_how_a_point_is_run_makes_it_another_point() -> None:
    plain = linear(4)
    kinds = [
        plain,
        Point(plain.primitive, Setting(math="tf32")),
        Point(plain.primitive, Setting(data="zeros")),
        Point(plain.primitive, energy=True),
    ]
    assert len({point.key for point in kinds}) == 4
    assert [point.dtype for point in kinds] == ["float32", "tf32", "float32", "float32"]


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40, unique=True), st.integers(0, 9))
def test_nothing_is_lost_whatever_the_sizes(sizes: list[int], seed: int) -> None:
    plan = schedule([linear(m) for m in sizes], passes=2, anchors=[ANCHOR], seed=seed)
    visits = Counter(visit.point.key for visit in plan.visits if visit.role == "point")
    assert visits == Counter({linear(m).key: 2 for m in sizes})
