"""The recorder against torch.export on every architecture: operators, arguments, shapes, scopes, views and dataflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from energy_opt.frontend.pytorch.export import export_module
from energy_opt.frontend.pytorch.inputs import Inputs
from energy_opt.frontend.pytorch.modules import record
from energy_opt.frontend.pytorch.recording import Recording
from tests import zoo
from tests.frontend.pytorch.compare import differences

SIZES = {"batch": 2, "seq": 12, "decoder_seq": 9}
# (batch, seq): away from the sizes at which anything was run
BINDINGS = ({"batch": 5, "seq": 23, "decoder_seq": 17}, {"batch": 1, "seq": 8, "decoder_seq": 31})


# In small, llama-70b is llama-1b with untied embeddings.
@pytest.fixture(scope="module", params=[name for name in zoo.NAMES if name != "llama-70b"])
def model(request: pytest.FixtureRequest) -> Any:
    torch.set_num_threads(1)
    return zoo.prepare(request.param)


def inputs_of(model: Any, sizes: Mapping[str, int], dynamic: Any) -> Inputs:
    free = Inputs(model.module, model.inputs, model.dynamic)
    _, kwargs = free.at({name: sizes[name] for name in free.dims})
    return Inputs(model.module, kwargs, dynamic)


def both(model: Any, sizes: Mapping[str, int], dynamic: Any) -> tuple[Recording, Recording]:
    recorded = record(model.module, inputs_of(model, sizes, dynamic)).recording
    return recorded, export_module(model.module, inputs_of(model, sizes, dynamic))


def tied(model: Any) -> dict[str, str]:
    """Every name of a parameter -> the first of its names."""
    first: dict[int, str] = {}
    named = model.module.named_parameters(remove_duplicate=False)
    return {name: first.setdefault(id(parameter), name) for name, parameter in named}


def test_fixed_sizes(model: Any) -> None:
    """At sizes that are no special case, and with each dim at 1, where torch takes other ways."""
    dims = Inputs(model.module, model.inputs, model.dynamic).dims
    for sizes in (SIZES, *({**SIZES, name: 1} for name in dims)):
        recorded, exported = both(model, sizes, False)
        assert len(exported.calls) > 30
        assert differences(recorded, exported, tied=tied(model)) == [], sizes


def test_free_sizes(model: Any) -> None:
    recorded, exported = both(model, SIZES, model.dynamic)
    assert "batch" in exported.dims
    if differences(recorded, exported, tied=tied(model)):
        for binding in BINDINGS:  # equal formulas may be written in two ways
            assert differences(recorded, exported, binding, tied(model)) == []


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("operators", lambda call: call._replace(target=_other(call.target, name="exp"))),
        (
            "arguments",
            lambda call: call._replace(target=_other(call.target, attributes={"dim": 3})),
        ),
        ("memory", lambda call: call._replace(target=_other(call.target, reuses=0))),
        ("scope", lambda call: call._replace(path="elsewhere")),
        ("reads", lambda call: call._replace(inputs=(0, *call.inputs[1:]))),
        ("result", lambda call: call._replace(outputs=(0,))),
    ],
)
def test_the_comparison_sees(what: str, change: Callable[[Any], Any]) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.GELU(), torch.nn.Linear(4, 4))
    inputs = torch.empty(2, 4)
    ours, theirs = (record(module, Inputs(module, inputs)).recording for _ in range(2))
    assert differences(ours, theirs) == []
    place = next(i for i, call in enumerate(ours.calls) if call.target.name == "gelu")
    ours.calls[place] = change(ours.calls[place])
    found = differences(ours, theirs)
    assert found
    assert what in found[0]


def _other(target: Any, **changed: Any) -> Any:
    import dataclasses

    return dataclasses.replace(target, **changed)
