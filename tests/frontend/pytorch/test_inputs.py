"""Example inputs: their names, their free axes, and what is said where they do not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from energy_opt.errors import UsageError
from energy_opt.frontend.pytorch.inputs import Inputs

X = torch.empty(2, 5, 8)
IDS = torch.zeros(2, 5, dtype=torch.int64)


class Takes(nn.Module):
    """A module whose forward has all kinds of parameters."""

    def forward(self, x: Any, mask: Any = None, *rest: Any, scale: Any = 1.0, **named: Any) -> None:
        """Nothing is run here."""


def axes(inputs: Any, dynamic: Any = None) -> dict[str, dict[int, str]]:
    return {leaf.name: leaf.axes for leaf in Inputs(Takes(), inputs, dynamic).leaves}


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (X, ["x"]),
        ((X, IDS), ["x", "mask"]),
        ([X, None, IDS], ["x", "rest_0"]),
        ({"x": X, "scale": IDS, "other": IDS}, ["x", "scale", "other"]),
        ({"x": {"a": X, "b": [IDS, (IDS,)]}}, ["x.a", "x.b.0", "x.b.1.0"]),
        ((3, X, 2.5), ["mask"]),
    ],
)
def test_names(inputs: Any, names: list[str]) -> None:
    assert list(axes(inputs)) == names


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (X, {"x": {0: "batch"}}),
        (IDS, {"x": {0: "batch", 1: "seq"}}),
        ((IDS, torch.zeros(2, 9, dtype=torch.bool)), {"x": {0: "batch", 1: "seq"}, "mask": {0: "batch"}}),
        ((IDS, torch.zeros(3, 5)), {"x": {0: "batch", 1: "seq"}, "mask": {}}),
        ({"x": X, "decoder_ids": IDS}, {"x": {0: "batch"}, "decoder_ids": {0: "batch", 1: "decoder_seq"}}),
        (torch.tensor(1.0), {"x": {}}),
    ],
)  # fmt: skip
def test_guesses(inputs: Any, found: dict[str, dict[int, str]]) -> None:
    assert axes(inputs) == found


@pytest.mark.parametrize(
    "dynamic",
    [
        {"x": {0: "rows", 1: "seq"}},
        {"x": {0: torch.export.Dim("rows"), 1: torch.export.Dim("seq", min=2, max=99)}},
        {"x": ("rows", "seq", None)},
        {"x": {-3: "rows", 1: "seq", 2: None}},
        ({0: "rows", 1: "seq"},),
        [("rows", "seq")],
    ],
)
def test_ways_to_name_free_axes(dynamic: Any) -> None:
    assert axes(X, dynamic) == {"x": {0: "rows", 1: "seq"}}


def test_unnamed_axes_are_named_by_their_place() -> None:
    free = torch.export.Dim.DYNAMIC
    assert axes({"x": {"a": X}}, {"x": {0: free, 1: free}}) == {"x.a": {0: "batch", 1: "x_a_dim_1"}}


def test_nested_inputs_are_named_at_once_or_one_by_one() -> None:
    nested = {"x": {"a": X, "b": [IDS]}}
    assert axes(nested, {"x": {0: "batch"}}) == {"x.a": {0: "batch"}, "x.b.0": {0: "batch"}}
    assert axes(nested, {"x.b": {1: "seq"}}) == {"x.a": {}, "x.b.0": {1: "seq"}}


@pytest.mark.parametrize("dynamic", [False, {}, {"x": None}, {"x": {}}])
def test_nothing_free(dynamic: Any) -> None:
    assert axes(X, dynamic) == {"x": {}}


@pytest.mark.parametrize(
    ("inputs", "dynamic", "says"),
    [
        (
            (X, X, X, X),
            {"y": {0: "batch"}},
            "names the input 'y'; the module's tensor inputs are mask, rest_0",
        ),
        (X, {"x": {3: "batch"}}, "x has 3 axes, so no axis 3"),
        (X, {"x": {0: "two words"}}, "'two words' is no name for a dim"),
        (X, {"x": {0: "batch", 1: "batch"}}, "the dim 'batch' is 2 at x axis 0 and 5 at x axis 1"),
        (X, {"x": "batch"}, "dynamic['x'] is 'batch'"),
        (X, 3, "dynamic is a int"),
        (torch.empty(0, 5), None, "x axis 0 is empty"),
        ((3, "a"), None, "hold int, str and no torch.Tensor"),
        ({"mask": X}, None, "missing a required argument: 'x'"),
    ],
)
def test_refused(inputs: Any, dynamic: Any, says: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Inputs(Takes(), inputs, dynamic)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_dims_default_to_the_example() -> None:
    dims = Inputs(Takes(), (X, IDS), {"x": {0: "batch"}, "mask": {0: "batch", 1: "seq"}}).dims
    assert {name: (info.default, info.where) for name, info in dims.items()} == {
        "batch": (2, "x axis 0"),
        "seq": (5, "mask axis 1"),
    }


def test_likenesses_at_other_sizes() -> None:
    inputs = Inputs(Takes(), (X, [IDS, 3], "text"), {"x": {1: "seq"}, "mask": {0: "batch"}})
    (x, (ids, three), text), named = inputs.at({"batch": 7, "seq": 9})
    assert (x.shape, x.dtype, x.device.type) == ((2, 9, 8), torch.float32, "meta")
    assert (ids.shape, ids.dtype) == ((7, 5), torch.int64)
    assert (three, text, named) == (3, "text", {})
    assert inputs.at({"batch": 2, "seq": 5}, real=True)[0][0] is X


def test_fixed_dims_are_no_longer_free() -> None:
    inputs = Inputs(Takes(), IDS).fixed({"seq": 11})
    assert list(inputs.dims) == ["batch"]
    assert inputs.at({"batch": 3})[0][0].shape == (3, 11)
