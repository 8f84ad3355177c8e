"""Control flow in exported programs: bodies, trips, and what is one operator or none."""

from __future__ import annotations

from typing import Any

import torch

from energy_opt.ir.dims import symbol
from tests.frontend.pytorch.exported import Module, exported, names

BATCH = symbol("batch")


# -- control flow ------------------------------------------------------------


def test_both_branches_of_cond_read_what_is_outside() -> None:
    recording = exported(
        lambda self, x: torch.cond(x.sum() > 0, lambda x: self.linear(x), lambda x: x + 1, (x,))
    )
    call = recording.calls[-1]
    assert (call.target.domain, call.target.name) == ("higher_order", "cond")
    bodies = dict(call.bodies)
    assert {name: names(body) for name, body in bodies.items()} == {
        "then_branch": ["linear"],
        "else_branch": ["add"],
    }
    (_, x) = recording.inputs[0]
    linear = bodies["then_branch"].calls[0]
    assert linear.inputs[0] == x
    assert [recording.weights[number].name for number in linear.inputs[1:]] == [
        "linear.weight",
        "linear.bias",
    ]
    assert bodies["then_branch"].inputs == []
    assert bodies["then_branch"].outputs == list(linear.outputs)


def test_while_loop_has_a_free_number_of_trips() -> None:
    from torch._higher_order_ops import while_loop

    recording = exported(
        lambda self, x: while_loop(
            lambda i, x: i < x.sum(),
            lambda i, x: (i + 1, self.linear(x)),
            (torch.zeros((), dtype=torch.long), x),
        )
    )
    call = recording.calls[-1]
    assert call.target.attributes["trips"] == symbol("trips_0")
    assert recording.dims["trips_0"].origin == "trip"
    assert {name: names(body) for name, body in call.bodies} == {
        "cond": ["sum", "lt"],
        "body": ["add", "linear"],
    }
    assert [len(body.inputs) for _, body in call.bodies] == [2, 2]
    assert [recording.types[number][0] for number in call.outputs] == [(), (BATCH, 4)]


def test_map_and_scan_run_once_for_every_element() -> None:
    from torch._higher_order_ops import map as map_
    from torch._higher_order_ops import scan

    mapped = exported(lambda self, x: map_(lambda row: self.linear(row), x)).calls[-1]
    assert (mapped.target.name, mapped.target.attributes) == ("map_impl", {"trips": BATCH})
    scanned = exported(
        lambda self, x: scan(lambda c, row: (self.linear(c) + row, c.clone()), torch.zeros(4), x)
    )
    call = scanned.calls[-1]
    assert call.target.attributes == {"trips": BATCH}
    (_, body) = call.bodies[0]
    # a carried row and a slice of x come in, and keep their types: x is [batch, 4]
    assert [body.types[number][0] for _, number in body.inputs] == [(4,), (4,)]
    assert names(body) == ["linear", "add", "clone"]
    assert [scanned.types[number][0] for number in call.outputs] == [(4,), (BATCH, 4)]


def test_numbers_of_tensors_are_unique_across_bodies() -> None:
    recording = exported(
        lambda self, x: torch.cond(x.sum() > 0, lambda x: x + 2, lambda x: x + 1, (x,)) * 3
    )
    made = [number for call in recording.calls for number in call.outputs]
    made += [
        number
        for call in recording.calls
        for _, body in call.bodies
        for inner in body.calls
        for number in inner.outputs
    ]
    assert len(made) == len(set(made)) == 6  # sum, gt, cond, mul, and one in each branch


def test_flex_attention_is_one_operator() -> None:
    from torch.nn.attention.flex_attention import flex_attention

    def attend(self: Module, x: Any) -> Any:
        heads = x.unsqueeze(1)
        return flex_attention(heads, heads, heads, score_mod=lambda score, b, h, i, j: score + i)

    recording = exported(attend, 2, 128, 16)
    call = next(call for call in recording.calls if call.target.domain == "higher_order")
    assert call.target.name == "flex_attention"
    assert call.target.attributes == {"scale": 0.25}  # 1 / sqrt(16)
    assert call.bodies == ()
    assert [recording.types[number][0] for number in call.inputs[:3]] == [(BATCH, 1, 128, 16)] * 3
    assert recording.types[call.outputs[0]][0] == (BATCH, 1, 128, 16)


def test_wrappers_are_read_in_line() -> None:
    def mixed(self: Module, x: Any) -> Any:
        with torch.no_grad():
            y = self.linear(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.linear(y) + 1

    recording = exported(mixed)
    assert [(call.target.name, call.path) for call in recording.calls] == [
        ("linear", "linear"),
        ("linear", "linear"),
        ("add", ""),
    ]
    assert recording.types[recording.outputs[0]][1] == "bfloat16"
    first, second, _ = recording.calls
    assert second.inputs[0] == first.outputs[0]


def test_a_vmap_is_read_as_its_operators_on_whole_tensors() -> None:
    recording = exported(lambda self, x: torch.vmap(lambda row: row * 2 + 1)(x))
    assert names(recording) == ["mul", "add"]
    assert recording.types[recording.outputs[0]][0] == (BATCH, 4)
