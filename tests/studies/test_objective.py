"""Objective: a module in, joules and seconds out, limits beside them."""

from __future__ import annotations

import copy
import math
import pickle

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import energy_opt as eo  # noqa: E402
from energy_opt.errors import DeviceError, DimError, ModelError, UsageError  # noqa: E402


def mlp(width: int = 256) -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 8))


class Reads(nn.Module):
    """Its course depends on a value."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1 if x.sum() > 0 else x - 1


INPUTS = torch.zeros(16, 64)


def test_it_says_what_analyze_says() -> None:
    cost = eo.Objective(device="t4", inputs=INPUTS, runtime="graph")(mlp())
    whole = eo.analyze(mlp(), INPUTS, device="t4", runtime="graph")
    energy_j, latency_s = cost
    assert energy_j == cost.energy_j == pytest.approx(whole.energy_j, rel=1e-12)
    assert latency_s == cost.latency_s == pytest.approx(whole.latency_s, rel=1e-12)
    assert cost.excess == {}
    assert cost.feasible


def test_inputs_of_the_call_go_before_those_of_the_objective() -> None:
    objective = eo.Objective(device="t4", inputs=INPUTS)
    assert objective.estimate(mlp(), torch.zeros(3, 64)).macs == 3 * (64 * 256 + 256 * 8)
    assert objective.estimate(mlp()).macs == 16 * (64 * 256 + 256 * 8)


def test_dims_are_other_sizes_than_those_of_the_inputs() -> None:
    objective = eo.Objective(device="t4", inputs=INPUTS, dims={"batch": 128})
    assert objective.estimate(mlp()).macs == 128 * (64 * 256 + 256 * 8)
    with pytest.raises(DimError, match="batch"):
        eo.Objective(device="t4", inputs=INPUTS, dims={"sequence": 128})(mlp())


def test_the_module_stays_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout()).train()
    before = copy.deepcopy(module.state_dict())
    eo.Objective(inputs=INPUTS)(module)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("share", [0.5, 2.0])
@pytest.mark.parametrize("limit", ["latency_s", "energy_j"])
def test_a_limit_is_exceeded_by_a_share_of_it(limit: str, share: float) -> None:
    free = eo.Objective(device="t4", inputs=INPUTS)(mlp())
    cost = eo.Objective(
        device="t4", inputs=INPUTS, **{f"max_{limit}": share * getattr(free, limit)}
    )(mlp())
    assert cost == free  # limits do not change what a module costs
    # Twice the limit is an excess of 1, half of it one of -0.5.
    assert cost.excess == {limit: pytest.approx(1 / share - 1)}
    assert cost.feasible == (share > 1)


def test_memory_is_a_limit_of_the_device() -> None:
    # 64 x 256 + 256 + 256 x 8 + 8 weights of 4 bytes: 74,784 bytes, and at least one activation.
    small = eo.Device.load("t4").model_copy(update={"memory_bytes": 70_000})
    cost = eo.Objective(device=small, inputs=INPUTS, must_fit=True)(mlp())
    assert 74_784 / 70_000 - 1 < cost.excess["memory_bytes"] < 1
    assert not cost.feasible
    assert eo.Objective(device="t4", inputs=INPUTS, must_fit=True)(mlp()).feasible


def test_a_module_that_cannot_be_followed_raises_or_costs_infinity() -> None:
    with pytest.raises(ModelError):
        eo.Objective(inputs=INPUTS)(Reads())
    cost = eo.Objective(inputs=INPUTS, on_error="inf", max_latency_s=1.0, must_fit=True)(Reads())
    assert cost == (math.inf, math.inf)
    assert cost.excess == {"latency_s": math.inf, "memory_bytes": math.inf}
    assert not cost.feasible
    assert not eo.Objective(inputs=INPUTS, on_error="inf")(Reads()).feasible


def test_a_cost_survives_copying_and_pickling() -> None:
    cost = eo.Cost(2.0, 0.5, {"latency_s": -0.5})
    for other in (copy.deepcopy(cost), pickle.loads(pickle.dumps(cost))):
        assert other == cost
        assert other.excess == cost.excess


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"device": "t5"}, DeviceError, "t4"),
        ({"runtime": "fast"}, UsageError, "eager"),
        ({"precision": "fp7"}, UsageError, "fp16"),
        ({"on_error": "ignore"}, UsageError, "'raise' or 'inf'"),
        ({"dims": [8]}, DimError, "sizes by name"),
        ({"device": 3}, DeviceError, "device is an int"),
        ({"max_latency_s": 0}, UsageError, "max_latency_s must be a positive number, not 0"),
        ({"max_energy_j": "1 J"}, UsageError, "max_energy_j must be a positive number, not '1 J'"),
    ],
)
def test_what_makes_no_sense_is_said_before_the_search(
    options: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        eo.Objective(**options)  # type: ignore[arg-type]


def test_without_inputs_it_asks_for_them() -> None:
    with pytest.raises(UsageError, match=r"objective\(module, inputs\)"):
        eo.Objective()(mlp())
