"""Exported programs read into recordings: views, weights, names of sizes, and refusals."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim

from energy_opt.errors import ModelError
from energy_opt.frontend.pytorch.export import export_module, from_exported
from energy_opt.frontend.pytorch.inputs import Inputs
from energy_opt.frontend.pytorch.recording import Recording
from energy_opt.ir.dims import symbol
from tests.frontend.pytorch.compare import differences
from tests.frontend.pytorch.exported import Module, exported, names

BATCH = symbol("batch")


# -- operators ------------------------------------------------------------


def change(self: Module, x: Any) -> Any:
    y = x.clone()
    y.add_(1)
    y[0] = 2.0
    parts = y.split(2, 1)
    return y.t().reshape(-1), y.reshape(-1, 2), parts[1].contiguous(), y.to(torch.float32)


CHANGED = [
    # (operator, index of the operand whose memory holds the result, whether it is written)
    ("clone", None, False),
    ("add_", 0, True),
    ("select", 0, False),
    ("fill_", 0, True),
    ("split", 0, False),
    ("t", 0, False),
    ("reshape", None, False),  # of a transposed tensor: a copy
    ("reshape", 0, False),
    ("contiguous", None, False),  # of columns: a copy
    ("to", 0, False),  # it has that dtype
]


def memory(recording: Recording) -> list[tuple[str, int | None, bool]]:
    return [
        (call.target.name, call.target.reuses, call.target.writes)
        for call in recording.calls
        if call.target.name != "lift_fresh_copy"
    ]


def test_views_and_operators_in_place() -> None:
    recording = exported(change)
    assert memory(recording) == CHANGED
    added, selected = recording.calls[1], recording.calls[-8]
    assert selected.inputs == added.outputs  # readers of what was changed read its new number


def test_a_saved_program_still_knows_its_views() -> None:
    program = torch.export.export(
        Module(change),
        (torch.zeros(6, 4),),
        dynamic_shapes=({0: Dim("rows", min=3)},),
        strict=False,
    )
    stored = io.BytesIO()
    torch.export.save(program, stored)
    stored.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates what its own loading uses
        loaded = torch.export.load(stored)
    recording = from_exported(loaded)
    assert memory(recording) == CHANGED
    assert list(recording.dims) == ["batch"]  # a saved program has lost the name of the dim
    assert list(from_exported(program).dims) == ["rows"]


def test_attention_is_laid_out_as_kernels_do() -> None:
    """[batch, seq, heads, 4] seen as [batch, heads, seq, 4]: heads come out side by side, which copies nothing.

    On the meta device torch lays the result out otherwise, so that its graph has a copy there.
    """

    def attend(self: Module, x: Any) -> Any:
        heads = x.unflatten(-1, (2, 4)).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(heads, heads, heads)
        return mixed.transpose(1, 2).contiguous().flatten(2)

    module = Module(attend).to("meta")
    recording = export_module(module, Inputs(module, torch.zeros(3, 5, 8)))
    assert memory(recording)[-4:] == [
        ("scaled_dot_product_attention", None, False),
        ("transpose", 0, False),
        ("contiguous", 0, False),
        ("flatten", 0, False),
    ]


def test_decompositions_are_read_as_they_are() -> None:
    module = Module(lambda self, x: self.linear(x))
    program = torch.export.export(module, (torch.zeros(6, 4),), strict=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates what it uses itself
        recording = from_exported(program.run_decompositions())
    assert names(recording) == ["permute", "addmm"]
    assert recording.calls[1].target.attributes == {"beta": 1, "alpha": 1}
    assert recording.calls[0].target.reuses == 0


def test_arguments_are_bound_by_the_schema() -> None:
    def many(self: Module, x: Any) -> Any:
        x = torch.cat([x, x], dim=-1) + 1
        x = nn.functional.dropout(x, 0.5, training=False)
        return x.sum(1).to(torch.float16), x[:, torch.tensor([0, 2])]

    recording = exported(many)
    given = {call.target.name: call.target for call in recording.calls}
    assert given["cat"].attributes == {"tensors": 2, "dim": -1}
    assert given["add"].attributes == {"other": 1, "alpha": 1}  # a number, not a tensor
    assert given["sum"].attributes == {"dim": (1,), "keepdim": False}
    assert given["to"].attributes == {"dtype": "float16", "non_blocking": False, "copy": False}
    assert given["index"].attributes == {"indices": 2}
    assert given["dropout"].reuses == 0  # in evaluation it hands back what it got
    index = next(call for call in recording.calls if call.target.name == "index")
    assert index.inputs[1] is None
    assert index.inputs[2] is not None


# -- sizes, weights, scopes ------------------------------------------------------------


def test_sizes_are_formulas_over_named_dims() -> None:
    def sizes(self: Module, x: Any) -> Any:
        windows = x.unfold(0, 3, 2)
        return torch.cat([windows, windows]), x.reshape(-1), x.nonzero()

    recording = exported(sizes, 9, 4)
    shapes = [recording.types[number][0] for number in recording.outputs]
    # floor((n - 3) / 2) + 1 windows, twice; 4 n elements; as many rows as there are non-zeros
    assert [shapes[0][0].subs(BATCH, n) for n in (9, 12, 101)] == [8, 10, 100]
    assert shapes[1] == (4 * BATCH,)
    assert shapes[2] == (symbol("nonzero_0"), 2)
    assert recording.dims["batch"].default == 9
    assert recording.dims["nonzero_0"].origin == "data"


def test_an_example_of_one_leaves_the_dim_free() -> None:
    recording = exported(lambda self, x: self.linear(x), 1, 4)
    assert recording.dims["batch"].default == 1
    assert recording.types[recording.outputs[0]][0] == (BATCH, 4)


def test_a_dim_that_the_module_fixes_is_said() -> None:
    recording = exported(lambda self, x: self.linear(x) + torch.ones(6, 1))
    assert recording.dims == {}
    assert recording.notes == ["the module runs at one size only: batch = 6"]


def test_tied_weights_are_one_and_unused_ones_none() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.unused = nn.Linear(4, 4), nn.Linear(4, 4, False), nn.Linear(4, 4)
            self.b.weight = self.a.weight
            self.register_buffer("scale", torch.ones(4))

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x)) * self.scale

    module = Tied()
    recording = export_module(module, Inputs(module, torch.zeros(2, 4)))
    weights = {weight.name: weight.parameter for weight in recording.weights.values()}
    assert weights == {"a.weight": True, "a.bias": True, "scale": False}
    first, second, _ = recording.calls
    assert first.inputs[1] == second.inputs[1]
    assert [call.path for call in recording.calls] == ["a", "b", ""]
    assert recording.modules == {"": "Tied", "a": "Linear", "b": "Linear"}


def test_the_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    module[0].eval()
    recording = export_module(module, Inputs(module, torch.zeros(2, 4)))
    assert recording.calls[1].target.attributes["train"] is False
    assert [child.training for child in (module, module[0], module[1])] == [True, False, True]


def test_a_module_on_the_meta_device_with_inputs_elsewhere() -> None:
    with torch.device("meta"):
        module = nn.Linear(4, 4)
    recording = export_module(module, Inputs(module, torch.zeros(2, 4)))
    assert names(recording) == ["linear"]


# -- refusals ------------------------------------------------------------


def branches(self: Module, x: Any) -> Any:
    if x.sum() > 0:  # the line that is quoted
        return x + 1
    return x


def reads(self: Module, x: Any) -> Any:
    return x * float(x.numpy().max())  # the line that is quoted


def loops(self: Module, x: Any) -> Any:
    while x.max() < 10:  # the line that is quoted
        x = x * 2
    return x


def fails(self: Module, x: Any) -> Any:
    return self.linear(x[:, :3])  # the line that is quoted


def counts(self: Module, x: Any) -> Any:
    return [x for _ in range(int(x.max()))]  # the line that is quoted


@pytest.mark.parametrize(
    ("function", "reason", "advice"),
    [
        (branches, "control flow depends on the values", "torch.cond"),
        (loops, "control flow depends on the values", "torch.while_loop"),
        (counts, "control flow depends on the values", "torch.while_loop"),
        (reads, "reads the values of tensors", ".item()"),
        (fails, "fails on these inputs with RuntimeError", "run module(*inputs)"),
    ],
)
def test_a_refusal_names_the_reason_the_line_and_a_way_out(
    function: Callable[..., Any], reason: str, advice: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError) as caught:
        exported(function, free=False)
    text = str(caught.value)
    assert reason in text
    assert advice in text
    assert f"test_export.py:{function.__code__.co_firstlineno + 1}, in {function.__name__}" in text
    assert "# the line that is quoted`" in text
    assert "\n" not in text
    assert capfd.readouterr() == ("", "")  # torch would print its traceback and graph
    assert len(text) < 1000
    assert caught.value.__suppress_context__  # no traceback of torch's behind it


def test_guessed_dims_are_given_up_where_the_module_does_not_take_them() -> None:
    module = torch.export.export(nn.Linear(4, 4), (torch.zeros(2, 4),)).module()
    recording = export_module(module, Inputs(module, torch.zeros(2, 4)))  # it checks its sizes
    assert recording.notes == ["the module runs at one size only: batch = 2"]
    assert names(recording) == ["linear"]
    assert recording.types[recording.outputs[0]][0] == (2, 4)


def test_a_refusal_says_why_the_module_was_not_recorded_either() -> None:
    module = Module(fails)
    with pytest.raises(ModelError, match="when it is recorded: a size is 3, 5, 9"):
        export_module(
            module, Inputs(module, torch.zeros(2, 4)), reason=ValueError("a size is 3, 5, 9")
        )


def test_equal_recordings_have_no_differences_whatever_their_numbers() -> None:
    assert differences(exported(change), exported(change)) == []
