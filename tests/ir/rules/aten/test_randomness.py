from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case

A = "aten::"

CASES = [
    # inference: nothing; training: compare, scale, multiply
    case(A + "dropout", "2,6 -> 2,6", 0, 0, 0, 0, p=0.5, train=0),
    case(A + "dropout", "2,6 -> 2,6", 0, 36, 48, 48, p=0.5, train=1),
    case(A + "alpha_dropout", "2,6 -> 2,6", 0, 0, 0, 0, p=0.5, train=0),
    # dropping nothing gives the input back
    case(A + "feature_dropout", "2,6 -> 2,6", 0, 0, 0, 0, p=0.0, train=1, is_view=1),
    # the flag left out means training; the mask is written
    case(A + "native_dropout", "2,6 -> 2,6 bool:2,6", 0, 36, 48, 60, p=0.5),
    case(A + "native_dropout", "2,6 -> 2,6 bool:2,6", 0, 0, 48, 60, p=0.5, train=0),
    # scale, shift; log, root, cosine, product, scale, shift
    case(A + "rand", "-> 2,6", 0, 24, 0, 48),
    case(A + "randn_like", "2,6 -> 2,6", 0, 72, 0, 48),
    case(A + "normal_", "2,6 -> 2,6", 0, 72, 0, 48, mean=0.0, std=1.0),
    case(A + "normal", "2,6 2,6 -> 2,6", 0, 72, 96, 48),
    # probabilities: the input, or one number
    case(A + "bernoulli", "2,6 -> 2,6", 0, 12, 48, 48),
    case(A + "bernoulli", "2,6 -> 2,6", 0, 12, 0, 48, p=0.5),
    case(A + "bernoulli_", "2,6 2,6 -> 2,6", 0, 12, 48, 48, in_place=1),
    # 3 per class, 3 levels per draw
    case(A + "multinomial", "2,8 -> i64:2,5", 0, 48 + 30, 64, 80),
    # draw, 3 levels
    case(A + "randperm", "-> i64:8", 0, 40, 0, 64),
    # scale, shift; a normal and exp; log, divide; log, divide, round up and a bound
    case(A + "_philox_uniform_", "2,6 i64:2 -> 2,6", 0, 24, 0, 48),
    case(A + "log_normal_", "2,6 -> 2,6", 0, 84, 0, 48),
    case(A + "exponential_", "2,6 -> 2,6", 0, 24, 0, 48),
    case(A + "geometric_", "2,6 -> 2,6", 0, 48, 0, 48),
    # one round of rejection
    case(A + "poisson", "2,6 -> 2,6", 0, 72, 48, 48),
    case(A + "_sobol_engine_draw", "i64:2 i64:2,30 -> 5,2 i64:2", 0, 20, 16 + 480, 40 + 16),
    case(A + "_fill_mem_eff_dropout_mask_", "2,6 -> 2,6", 0, 24, 0, 48, in_place=1),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()
