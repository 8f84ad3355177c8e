"""A module is as it was after it was recorded, whatever happened; and what is recorded is what it calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from energy_opt.frontend.pytorch.inputs import Inputs
from energy_opt.frontend.pytorch.mode import Unrecordable
from energy_opt.frontend.pytorch.probing import record
from energy_opt.frontend.pytorch.recorder import Recorder
from energy_opt.frontend.pytorch.recording import Recording

META = torch.empty(2, 5, 8, device="meta")


class Everything(nn.Module):
    """A module that holds all kinds of tensors, and changes much of what it holds."""

    def __init__(self, fails: BaseException | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(3))
        self.norm = nn.BatchNorm1d(8).eval()
        self.register_buffer("seen", torch.zeros(8))
        self.plain = torch.ones(8)
        self.cache: list[Any] = []
        self.states: dict[str, Any] = {}
        self.calls = 0
        self.last: Any = None
        self.fails = fails
        self.layers[0].register_forward_hook(lambda module, args, result: result * 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        for layer in self.layers:
            x = layer(x) + self.plain
            self.cache.append(x)
        self.seen = self.seen + 1
        self.seen.add_(1)
        self.states["x"] = self.last = x
        torch.rand(3)
        if self.fails is not None:
            raise self.fails
        return self.norm(x.transpose(1, 2))


def held(module: nn.Module) -> list[Any]:
    """Everything a module holds, by identity, tensors with their data."""
    found: list[Any] = []
    for child in module.modules():
        for name, value in child.__dict__.items():
            found.append((name, id(value)))
            if isinstance(value, dict):
                found += [(name, key, id(item)) for key, item in value.items()]
            if isinstance(value, list):
                found.append((name, [id(item) for item in value]))
        tensors = [*child._parameters.values(), *child._buffers.values()]
        found += [(id(t), t.data_ptr(), str(t.device)) for t in tensors if t is not None]
    return found


def flags() -> list[Any]:
    return [
        torch.compiler.is_exporting(),
        torch.compiler.is_compiling(),
        torch.is_grad_enabled(),
        len(torch.nn.modules.module._global_forward_hooks),
        len(torch.nn.modules.module._global_forward_pre_hooks),
        torch.random.get_rng_state().tolist(),
    ]


@pytest.mark.parametrize("fails", [None, ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_module_and_torch_are_as_they_were(fails: BaseException | None) -> None:
    module = Everything(fails).train()
    module.norm.eval()
    before, flags_before = held(module), flags()
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    if fails is None:
        record(module, Inputs(module, torch.empty(2, 5, 8)))
    else:
        with pytest.raises(type(fails)):
            record(module, Inputs(module, torch.empty(2, 5, 8)))
    assert held(module) == before
    assert flags() == flags_before
    assert (module.training, module.norm.training, module.layers[1].training) == (True, False, True)
    assert (module.calls, module.cache, module.states, module.last) == (0, [], {}, None)
    for name, value in module.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_a_weight_that_is_no_plain_tensor_is_refused_and_nothing_is_changed() -> None:
    class Own(torch.Tensor):
        pass

    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    module[1].extra = torch.ones(3).as_subclass(Own)
    before = held(module)
    with pytest.raises(Unrecordable, match="Own"), Recorder(module):
        pass
    assert held(module) == before


def test_every_run_starts_from_the_same_state() -> None:
    module = Everything()
    with Recorder(module) as recorder:
        first, second = (recorder.run((META,), {}) for _ in range(2))
    assert first.steps == second.steps


class Does(nn.Module):
    """A linear layer in a function."""

    def __init__(self, does: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.lin = nn.Linear(8, 8)
        self.does = does

    def forward(self, x: torch.Tensor) -> Any:
        return self.does(self.lin, x)


def recorded(module: nn.Module, x: Any = None, **named: Any) -> Recording:
    return record(
        module, Inputs(module, torch.empty(2, 5, 8) if x is None else x, **named)
    ).recording


def names(recording: Recording) -> list[str]:
    return [call.target.name for call in recording.calls]


@torch.library.custom_op("energy_opt_tests::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x + x


@twice.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


def in_record_function(lin: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.profiler.record_function("a name"):
        return lin(x)


@pytest.mark.parametrize(
    ("does", "called"),
    [
        (lambda lin, x: lin(x) + torch.ones(8), ["linear", "ones", "add"]),
        (lambda lin, x: lin(x) + torch.arange(8, device=x.device), ["linear", "arange", "add"]),
        (lambda lin, x: lin(x).add_(1), ["linear", "add_"]),
        (lambda lin, x: torch.utils.checkpoint.checkpoint(lin, x, use_reentrant=False), ["linear"]),
        (lambda lin, x: twice(lin(x)), ["linear", "twice"]),
        (in_record_function, ["linear"]),
        (lambda lin, x: torch.func.functional_call(lin, {"bias": x[0, 0]}, (x,)), ["select", "select", "linear"]),
        (lambda lin, x: {"a": [lin(x), None], "b": 3}, ["linear"]),
        (lambda lin, x: None, []),
        (lambda lin, x: nn.functional.dropout(lin(x), 0.5), ["linear", "dropout"]),
        (lambda lin, x: torch.complex(lin(x), x).abs(), ["linear", "complex", "abs"]),
    ],
)  # fmt: skip
def test_calls(does: Any, called: list[str]) -> None:
    assert names(recorded(Does(does), dynamic=False)) == called


@pytest.mark.parametrize(
    ("module", "x", "called"),
    [
        (nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), None, ["_weight_norm", "linear"]),
        (nn.LSTM(8, 4, batch_first=True), None, ["zeros", "zeros", "lstm"]),
        (nn.GRU(8, 4, batch_first=True), None, ["zeros", "gru"]),
        (nn.EmbeddingBag(10, 8), torch.zeros(3, 4, dtype=torch.int64), ["arange", "reshape", "embedding_bag"]),
        (nn.BatchNorm1d(5), None, ["batch_norm"]),
        (nn.Linear(8, 8, dtype=torch.complex64), torch.empty(2, 8, dtype=torch.complex64), ["linear"]),
        (nn.Linear(8, 8, device="meta"), None, ["linear"]),
        (nn.ReLU(), torch.tensor(1.0), ["relu"]),
    ],
)  # fmt: skip
def test_modules_of_torch(module: nn.Module, x: Any, called: list[str]) -> None:
    assert names(recorded(module, x, dynamic=False)) == called


def test_a_transformer_encoder_takes_no_fast_path() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    found = names(recorded(nn.TransformerEncoder(layer, 3), dynamic=False))
    assert found.count("scaled_dot_product_attention") == 3
    assert found.count("linear") == 3 * 4  # in, out, and two of the feed-forward net


def test_training_does_not_matter() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.BatchNorm1d(5))
    taken = [recorded(module.train(mode), dynamic=False) for mode in (True, False)]
    assert [call.target.attributes for call in taken[0].calls] == [
        call.target.attributes for call in taken[1].calls
    ]
    assert taken[0].calls[1].target.attributes["train"] is False


def test_compiled_functions_run_as_written() -> None:
    compiled = torch.compile(lambda x: torch.relu(x) + 1, backend="eager")
    assert names(recorded(Does(lambda lin, x: compiled(lin(x))), dynamic=False)) == [
        "linear",
        "relu",
        "add",
    ]


def test_tensors_in_lists_are_constants() -> None:
    module = Does(lambda lin, x: lin(x) * held_outside[0])
    held_outside = [torch.ones(8)]
    found = recorded(module, dynamic=False)
    assert [weight.parameter for weight in found.weights.values()] == [True, True, False]
    assert found.calls[1].inputs[1] == max(found.weights)


def test_a_module_that_is_shared_works_for_its_caller() -> None:
    act = nn.ReLU()
    module = nn.Sequential(nn.Sequential(nn.Linear(8, 8), act), nn.Sequential(nn.Linear(8, 8), act))
    assert [call.path for call in recorded(module).calls] == ["0.0", "0.1", "1.0", "1.1"]
