"""Sizes and arguments of a recording as formulas; derivations by hand, beside the formulas of torch's documentation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from energy_opt.frontend.pytorch.fit import Unresolved
from energy_opt.frontend.pytorch.inputs import Inputs
from energy_opt.frontend.pytorch.probing import Recorded, record
from energy_opt.frontend.pytorch.recording import Recording
from energy_opt.ir.dims import evaluate


class Does(nn.Module):
    def __init__(self, does: Any) -> None:
        super().__init__()
        self.does = does

    def forward(self, x: torch.Tensor) -> Any:
        return self.does(x)


def free(does: Any, shape: tuple[int, ...], axes: dict[int, str]) -> Recorded:
    module = does if isinstance(does, nn.Module) else Does(does)
    name = "x" if isinstance(module, Does) else "input"
    return record(module, Inputs(module, torch.empty(shape), {name: axes}))


def last(recording: Recording, **sizes: int) -> tuple[int, ...]:
    shape, _ = recording.types[recording.outputs[0]]
    return tuple(int(evaluate(dim, sizes)) for dim in shape)


@pytest.mark.parametrize(
    ("module", "sizes"),
    [
        # (x + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded down
        (nn.Conv1d(4, 4, 3, 2, 1), {2: 1, 3: 2, 4: 2, 7: 4, 8: 4, 9: 5, 1000: 500}),
        (nn.Conv1d(4, 4, 10, 5), {10: 1, 14: 1, 15: 2, 16000: 3199}),
        (nn.Conv1d(4, 4, 3, 1, 2, 2), {5: 5, 77: 77}),
        (nn.Conv1d(4, 4, 3, padding="same"), {5: 5, 76: 76}),
        (nn.Conv1d(4, 4, 3, padding="valid"), {5: 3, 76: 74}),
        (nn.MaxPool1d(2), {4: 2, 5: 2, 99: 49}),
        # rounded up; the last window of the second starts behind the input where x is a multiple of 3
        (nn.MaxPool1d(2, ceil_mode=True), {4: 2, 5: 3, 99: 50}),
        # (x - 1) stride - 2 padding + kernel
        (nn.ConvTranspose1d(4, 4, 3, 2), {5: 11, 6: 13, 40: 81}),
        (nn.ConvTranspose1d(4, 4, 4, 2, 1), {5: 10, 6: 12, 40: 80}),
        (nn.Upsample(scale_factor=3), {5: 15, 41: 123}),
        (nn.AdaptiveAvgPool1d(7), {5: 7, 41: 7}),
        (nn.Sequential(nn.Conv1d(4, 4, 3, 2, 1), nn.ConvTranspose1d(4, 4, 2, 2)), {7: 8, 8: 8, 9: 10}),
        # ((x - 10) // 5 + 1 - 3) // 2 + 1, as in wav2vec
        (nn.Sequential(nn.Conv1d(4, 4, 10, 5), nn.Conv1d(4, 4, 3, 2)), {400: 39, 404: 39, 405: 39, 410: 40}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("example", [40, 64, 77])
def test_windows(module: nn.Module, sizes: dict[int, int], example: int) -> None:
    found = free(module, (2, 4, example), {0: "batch", 2: "samples"})
    for samples, size in sizes.items():
        assert last(found.recording, batch=3, samples=samples) == (3, 4, size), samples


@pytest.mark.parametrize(
    ("does", "sizes"),
    [
        (lambda x: x[:, ::3] * 1, {6: 2, 7: 3, 8: 3, 9: 3, 500: 167}),
        (lambda x: x.unfold(1, 4, 3) * 1, {4: 1, 6: 1, 7: 2, 500: 166}),
        (lambda x: x[:, : x.shape[1] // 2] * 1, {6: 3, 7: 3, 500: 250}),
        (lambda x: torch.fft.rfft(x, dim=1), {6: 4, 7: 4, 500: 251}),
        (lambda x: x[:, 1:] * 1, {6: 5, 500: 499}),
        (lambda x: torch.cat([x, x, x[:, :1]], 1), {6: 13, 500: 1001}),
        (lambda x: x.flatten(0, 1) * 1, {6: 18, 500: 1500}),  # the batch is 3
        (lambda x: x.new_zeros(x.shape[1] ** 2, 2), {6: 36, 500: 250000}),
    ],
)
def test_sizes_that_are_calculated(does: Any, sizes: dict[int, int]) -> None:
    recording = free(does, (2, 41), {0: "batch", 1: "seq"}).recording
    for seq, size in sizes.items():
        assert size in last(recording, batch=3, seq=seq), seq


@pytest.mark.parametrize(
    "does",
    [
        lambda x: x[:, -4:] * 1,  # fewer where there are fewer
        lambda x: x.new_zeros(x.shape[1] // 16 * 16),
        lambda x: torch.nn.functional.pad(x, (0, -x.shape[1] % 8)),
        lambda x: x.new_zeros(x.shape[1] // x.shape[0]),
    ],
)
def test_sizes_without_a_formula(does: Any) -> None:
    with pytest.raises(Unresolved, match=r"aten\.\w+\.\w+ in the root: a size is"):
        free(does, (2, 41), {0: "batch", 1: "seq"})


def test_a_size_that_is_constant_only_where_it_was_tried() -> None:
    """Nine halvings leave 1 of any sequence that is tried, but not of any."""
    shrinks = nn.Sequential(*(nn.MaxPool1d(2, ceil_mode=True) for _ in range(9)))
    with pytest.raises(Unresolved, match="a size is 1 at the sizes tried, but not at larger ones"):
        free(shrinks, (2, 4, 40), {2: "seq"})


def test_arguments() -> None:
    def does(x: torch.Tensor) -> torch.Tensor:
        return x.view(x.shape[0] * x.shape[1], 4) * (1 / x.shape[1])

    recording = free(does, (2, 6, 4), {0: "batch", 1: "seq"}).recording
    view, scale = recording.calls
    product, four = view.target.attributes["size"]
    assert (evaluate(product, {"batch": 3, "seq": 50}), four) == (150, 4)
    assert (
        "other" not in scale.target.attributes
    )  # a factor that depends on a size costs the same at any


@pytest.mark.parametrize(
    ("does", "structural"),
    [
        (lambda x: x * 1, {}),
        (lambda x: x * 1 if x.shape[1] > 1 else x + 1, {"seq": {1}}),
        (lambda x: x * 1 if x.shape[0] > 1 else x + 1, {"batch": {1}}),
        (lambda x: x * 1 if x.shape[1] % 2 else x + 1, {"seq": None}),
        (lambda x: x * 1 if x.shape[1] > 50 else x + 1, {"seq": None}),
        (lambda x: x * 1 if x.shape[0] > 50 else x + 1, {"batch": None}),
        (lambda x: x * 1 if x.shape[0] < x.shape[1] else x + 1, {"batch": None, "seq": None}),
    ],
)
def test_which_dim_decides_what_runs(does: Any, structural: dict[str, Any]) -> None:
    found = free(does, (2, 6), {0: "batch", 1: "seq"})
    assert {name: found.structural.get(name) for name in found.structural} == structural
    assert set(found.recording.dims) == {"batch", "seq"}


def test_two_dims_at_1_together() -> None:
    found = free(lambda x: x * 1 if x.numel() > 1 else x + 1, (2, 6), {0: "batch", 1: "seq"})
    assert (found.structural, found.together) == ({}, ("batch", "seq"))


def test_modules_that_take_multiples_only() -> None:
    def does(x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] % 48:
            raise ValueError("no")
        return torch.cat([x, x], 1)

    found = free(does, (2, 48), {0: "batch", 1: "seq"})
    assert last(found.recording, batch=5, seq=96) == (5, 192)
    assert found.recording.notes == ["followed at multiples only: batch of 2, seq of 48"]
