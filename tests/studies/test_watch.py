"""watch: what a script really calls, priced; and nothing of the script changed by it."""

from __future__ import annotations

import copy
import gc
import io
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import energy_opt as eo  # noqa: E402
from energy_opt.errors import ModelError, UsageError  # noqa: E402


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)

    def forward(self, x: Any, *, scale: float = 1.0, mask: Any = None) -> Any:
        y = self.linear(x) * scale
        return y if mask is None else y.masked_fill(mask, 0.0)


def hooks(module: nn.Module) -> int:
    return len(module._forward_pre_hooks)


def test_it_prices_the_first_call() -> None:
    net = Net()
    with eo.watch(net, device="t4") as w:
        net(torch.zeros(8, 64))
    assert w.calls == 1
    assert w.estimate.macs == 8 * 64 * 64
    assert w.estimate.device.name == "t4"
    assert w.estimate.runtime.name == "eager"


def test_calls_are_counted_by_the_shapes_of_their_inputs() -> None:
    net = Net()
    with eo.watch(net, device="t4") as w:
        for batch in (8, 8, 3, 8):
            net(x=torch.zeros(batch, 64), mask=torch.zeros(batch, 64, dtype=torch.bool))
    assert [(entry.calls, entry.estimate.macs) for entry in w.estimates] == [
        (3, 8 * 64 * 64), (1, 3 * 64 * 64),
    ]  # fmt: skip
    first, second = (entry.estimate.energy_j for entry in w.estimates)
    assert w.energy_j == pytest.approx(3 * first + second)
    assert "bool[8, 64]" in str(w.estimates[0].shapes)


def test_pricing_inside_the_block_is_not_counted() -> None:
    net = Net()
    with eo.watch(net) as w:
        net(torch.zeros(8, 64))
        assert w.estimate.macs == 8 * 64 * 64
        net(torch.zeros(8, 64))
    assert w.calls == 2


def test_results_and_gradients_are_those_without_it() -> None:
    net, other = Net(), Net()
    other.load_state_dict(net.state_dict())
    x = torch.randn(8, 64)
    with eo.watch(net):
        watched = net(x, scale=2.0)
    plain = other(x, scale=2.0)
    assert torch.equal(watched, plain)
    watched.sum().backward()
    plain.sum().backward()
    assert torch.equal(net.linear.weight.grad, other.linear.weight.grad)


def test_the_hook_goes_also_when_the_script_fails() -> None:
    net, w = Net(), None

    def script() -> None:
        nonlocal w
        with eo.watch(net) as w:
            assert hooks(net) == 1
            net(torch.zeros(8, 63))

    with pytest.raises(RuntimeError):
        script()
    assert hooks(net) == 0
    net(torch.zeros(8, 64))
    assert w.calls == 1


def test_it_decorates_a_function_that_is_given_the_model() -> None:
    @eo.watch(device="t4")
    def step(model: nn.Module, batch: Any) -> Any:
        return model(batch)

    net = Net()
    for _ in range(2):
        assert step(net, torch.zeros(8, 64)).shape == (8, 64)
    assert step.__name__ == "step"
    assert step.watch.calls == 2
    assert step.watch.estimate.macs == 8 * 64 * 64
    assert hooks(net) == 0


def test_it_decorates_a_function_that_uses_the_model() -> None:
    net, other = Net(), Net()

    @eo.watch(net)
    def step() -> None:
        net(torch.zeros(8, 64))
        other(torch.zeros(8, 64))

    step()
    assert step.watch.calls == 1


def test_it_decorates_a_class_whose_instances_stay_as_they_were() -> None:
    @eo.watch(device="t4")
    class Watched(Net):
        pass

    one, two = Watched(), Watched()
    two = copy.deepcopy(two)
    torch.save(one.state_dict(), io.BytesIO())
    one(torch.zeros(8, 64))
    two(torch.zeros(4, 64), scale=2.0)
    w = Watched.watch
    assert [entry.estimate.macs for entry in w.estimates] == [8 * 64 * 64, 4 * 64 * 64]
    assert hooks(one) == 0
    w.stop()
    one(torch.zeros(8, 64))
    assert w.calls == 2
    assert Watched.__call__ is nn.Module.__call__


def test_a_model_is_not_kept_alive() -> None:
    net = Net()
    with eo.watch(net) as w:
        net(torch.zeros(8, 64))
    w.model = None
    del net
    gc.collect()
    with pytest.raises(UsageError, match="gone"):
        _ = w.estimate


def test_what_cannot_be_priced_does_not_disturb_the_call() -> None:
    class Cached(nn.Module):
        def forward(self, x: Any, cache: Any) -> Any:
            return x + cache.value

    class Cache:
        value = 1.0

    net = Cached()
    with eo.watch(net) as w:
        assert net(torch.zeros(2), Cache()).sum() == 2
    with pytest.raises(ModelError, match=r"called with a Cache"):
        _ = w.estimate


def test_a_compiled_model_is_watched() -> None:
    net = torch.compile(Net(), backend="eager")
    with eo.watch(net) as w:
        for _ in range(3):
            net(torch.zeros(8, 64))
    assert w.calls == 3
    assert w.estimate.macs == 8 * 64 * 64


@pytest.mark.parametrize("model", [42, "t4", Net])
def test_what_is_no_module_is_refused(model: Any) -> None:
    with pytest.raises(UsageError, match=r"torch\.nn\.Module"):
        eo.watch(model)


def test_a_context_needs_a_model() -> None:
    with pytest.raises(UsageError, match=r"eo\.watch\(model\)"), eo.watch():
        pass


def test_a_model_that_was_not_called_is_said() -> None:
    with eo.watch(Net()) as w:
        pass
    with pytest.raises(UsageError, match="not called"):
        _ = w.estimate


def test_what_makes_no_sense_is_said_before_the_run() -> None:
    for options in ({"precision": "fp7"}, {"runtime": 3}, {"device": 3}):
        with pytest.raises(UsageError):
            eo.watch(Net(), **options)  # type: ignore[arg-type]


def test_one_call_is_one_call() -> None:
    with eo.watch(Net(), device="t4") as w:
        assert repr(w) == "<Watch on t4: 0 calls of 0 kinds>"
        w.model(torch.zeros(8, 64))
    assert repr(w) == "<Watch on t4: 1 call of 1 kind>"
    assert repr(w.estimates[0]) == "<Net(float32[8, 64]), 1 call>"
