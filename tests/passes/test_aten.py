"""Passes on PyTorch graphs: what torch.compile makes one kernel of, and what it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'energy-opt[torch]'")

import energy_opt as eo  # noqa: E402
from energy_opt import passes  # noqa: E402
from energy_opt.frontend.pytorch.modules import load_module  # noqa: E402
from energy_opt.ir.dims import evaluate  # noqa: E402

nn, functional = torch.nn, torch.nn.functional


class Of(nn.Module):
    """A function of a float32[2, 8, 16] and two linear layers of that width."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)
        self.scale = nn.Parameter(torch.ones(8, 16))

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def graph_of(function: Callable[..., Any], x: Any = None) -> eo.Graph:
    example = torch.zeros(2, 8, 16) if x is None else x
    return load_module(Of(function), (example,), dynamic={})


def kernels(graph: eo.Graph) -> int:
    return sum(row.kernels * len(row.uses) for row in eo.workload(graph))


def root_mean_square(m: Of, x: Any) -> Any:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * m.scale


def rotary(m: Of, x: Any) -> Any:
    halves = torch.cat((-x[..., 8:], x[..., :8]), dim=-1)
    return x * m.scale + halves * m.scale


def residual(m: Of, x: Any) -> Any:
    kept = torch.relu(x)
    return kept + m.a(kept)


@pytest.mark.parametrize(
    ("function", "before", "after"),
    [
        # linear | add, layer_norm: the dropout drops nothing
        (
            lambda m, x: functional.layer_norm(x + functional.dropout(m.a(x), 0.1, False), (16,)),
            3,
            2,
        ),
        # pow, mean, add, rsqrt, mul, mul: the mean is over the elements of one kernel
        (root_mean_square, 6, 1),
        # linear | linear | silu, mul
        (lambda m, x: functional.silu(m.a(x)) * m.b(x), 4, 3),
        # mul, neg, cat, mul, add: slices are views
        (rotary, 5, 1),
        # add, relu_
        (lambda m, x: (x + 1).relu_(), 2, 1),
        # through the shapes of heads: exp, tanh
        (lambda m, x: x.exp().view(2, 8, 4, 4).transpose(1, 2).tanh(), 2, 1),
        # relu | linear | add: what the linear layer reads must be there before it
        (residual, 3, 3),
        # linear | gelu: a library's product ends where it ends
        (lambda m, x: functional.gelu(m.a(x)), 2, 2),
        # a scan is no elementwise kernel: exp | cumsum | exp
        (lambda m, x: x.exp().cumsum(-1).exp(), 3, 3),
        # means of rows are written for the softmax over rows, which runs over other elements: exp, mean | softmax
        (lambda m, x: x.exp().mean(-1).softmax(-1), 3, 2),
    ],
)
def test_groups(function: Callable[..., Any], before: int, after: int) -> None:
    graph = graph_of(function)
    assert kernels(graph) == before
    assert kernels(passes.fuse_elementwise(graph)) == after


@pytest.mark.parametrize(
    ("function", "read", "written"),
    [
        # x once, though three read it or a half of it (2 x 8 x 16 floats); the scale (8 x 16) for each that reads it
        (rotary, 1024 + 2 * 512, 1024),
        (root_mean_square, 1024 + 512, 1024),
        # what is also returned is written, once: it and its view are the same memory
        (lambda m, x: (y := x.exp(), y.view(16, 16), y.tanh()), 1024, 2 * 1024),
        # the view that is returned keeps its source in memory
        (lambda m, x: ((y := x.exp()).view(16, 16), y.tanh()), 1024, 2 * 1024),
    ],
)
def test_traffic(function: Callable[..., Any], read: int, written: int) -> None:
    (row,) = (
        row for row in eo.workload(passes.fuse_elementwise(graph_of(function))) if row.kernels
    )
    assert (row.bytes_read, row.bytes_written) == (read, written)


@pytest.mark.parametrize("name", ["bert", "gpt2", "mixtral", "t5", "swin", "mamba"])
def test_whole_models_keep_their_work(name: str) -> None:
    zoo = pytest.importorskip("tests.zoo")
    prepared = zoo.prepare(name)
    graph = load_module(prepared.module, prepared.inputs, dynamic=prepared.dynamic)
    plain, fused = eo.workload(graph), eo.workload(passes.fuse_elementwise(graph))
    sizes = plain.bind({})
    for quantity in ("matmul_flops", "other_flops"):
        assert evaluate(fused.formulas[quantity], sizes) == evaluate(
            plain.formulas[quantity], sizes
        )
    for quantity in ("bytes_read", "bytes_written"):
        assert evaluate(fused.formulas[quantity], sizes) < evaluate(plain.formulas[quantity], sizes)
        assert all(evaluate(getattr(row, quantity), sizes) >= 0 for row in fused)
    assert len(fused.unmodelled) == len(plain.unmodelled)
    assert fused.parameters == plain.parameters


def test_half_precision_takes_conversions_away() -> None:
    def norm_in_float32(m: Of, x: Any) -> Any:
        return functional.layer_norm(x.float(), (16,)).to(x.dtype)

    half = graph_of(norm_in_float32, torch.zeros(2, 8, 16, dtype=torch.float16))
    assert kernels(half) == 3
    all_half = passes.cast_fp16(half)
    assert kernels(all_half) == 1
    (row,) = (row for row in eo.workload(all_half) if row.kernels)
    assert (row.dtype, row.bytes_read, row.bytes_written) == ("float16", 512, 512)
