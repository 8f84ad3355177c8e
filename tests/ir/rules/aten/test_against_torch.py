"""PyTorch as the oracle: its own count of FLOPs where it has one, and its list of operators."""

from __future__ import annotations

from typing import Any

import pytest

from energy_opt.ir.rules import RULES
from tests.ir.rules.table import work_of

torch = pytest.importorskip("torch")

from tests.ir.rules.aten.real import Called, meta  # noqa: E402

aten = torch.ops.aten
Q, KV = (2, 8, 5, 16), (2, 8, 7, 16)
BATCHED = [meta(4, 5, 7), meta(4, 7, 3)]
THREE = [meta(5, 7), meta(7, 3), meta(3, 2)]


def lstm(layers: int, directions: int, projected: int = 0) -> list[Any]:
    """Weights of an LSTM of width 6 over inputs of 5."""
    weights, width = [], 5
    for _ in range(layers):
        for _ in range(directions):
            weights += [meta(24, width), meta(24, projected or 6), meta(24), meta(24)]
            weights += [meta(projected, 6)] if projected else []
        width = directions * (projected or 6)
    return weights


def lstm_like(gates: int, width: int) -> list[Any]:
    """Weights of one layer over inputs of 5."""
    n = gates * width
    return [meta(n, 5), meta(n, width), meta(n), meta(n)]


CALLS: dict[str, tuple[Any, ...]] = {
    "mm": (aten.mm.default, meta(5, 7), meta(7, 3)),
    "addmm": (aten.addmm.default, meta(3), meta(5, 7), meta(7, 3)),
    "bmm": (aten.bmm.default, *BATCHED),
    "baddbmm": (aten.baddbmm.default, meta(4, 5, 3), *BATCHED),
    "linear": (aten.linear.default, meta(2, 5, 7), meta(3, 7), meta(3)),
    "matmul": (aten.matmul.default, meta(2, 4, 5, 7), meta(2, 4, 7, 3)),
    "matmul, broadcast": (aten.matmul.default, meta(2, 1, 5, 7), meta(4, 7, 3)),
    "matmul, folded": (aten.matmul.default, meta(2, 4, 5, 7), meta(7, 3)),
    "inner": (aten.inner.default, meta(2, 5, 7), meta(3, 7)),
    "tensordot": (aten.tensordot.default, meta(2, 5, 7), meta(7, 5, 3), [1, 2], [1, 0]),
    "einsum": (aten.einsum.default, "bij,bjk->bik", BATCHED),
    "einsum, three": (aten.einsum.default, "ij,jk,kl->il", THREE),
    "chain_matmul": (aten.chain_matmul.default, [meta(5, 70), meta(70, 3), meta(3, 20)]),
    "multi_dot": (aten.linalg_multi_dot.default, [meta(2, 9), meta(9, 30), meta(30, 5)]),
    "multi_dot, four": (
        aten.linalg_multi_dot.default, [meta(30, 4), meta(4, 20), meta(20, 6), meta(6, 11)],
    ),
    "matrix_power": (aten.linalg_matrix_power.default, meta(4, 4), 11),
    "conv1d": (aten.conv1d.default, meta(2, 6, 20), meta(8, 6, 3), meta(8), [2], [1]),
    "conv1d, unbatched": (aten.conv1d.default, meta(6, 20), meta(8, 6, 3)),
    "conv1d, same": (aten.conv1d.padding, meta(2, 6, 20), meta(8, 6, 4), None, [1], "same"),
    "conv2d, depthwise": (
        aten.conv2d.default, meta(2, 6, 9, 9), meta(12, 1, 3, 3), None, [1, 1], [0, 0], [1, 1], 6,
    ),
    "conv3d": (aten.conv3d.default, meta(2, 6, 5, 9, 9), meta(4, 6, 2, 3, 3)),
    "conv_transpose2d": (
        aten.conv_transpose2d.input, meta(2, 6, 9, 9), meta(6, 4, 3, 3), None, [2, 2], [1, 1],
    ),
    "conv_transpose2d, groups": (
        aten.conv_transpose2d.input,
        meta(2, 6, 9, 9), meta(6, 2, 3, 3), None, [2, 2], [1, 1], [1, 1], 3,
    ),
    "convolution": (
        aten.convolution.default,
        meta(2, 6, 9, 9), meta(4, 3, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 2,
    ),
    "convolution, transposed": (
        aten.convolution.default,
        meta(2, 6, 9, 9), meta(6, 4, 3, 3), None, [1, 1], [0, 0], [1, 1], True, [0, 0], 1,
    ),
    "convolution_backward": (
        aten.convolution_backward.default,
        meta(2, 4, 7, 7), meta(2, 6, 9, 9), meta(4, 6, 3, 3), [4],
        [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, True, True],
    ),
    "convolution_backward, weight alone": (
        aten.convolution_backward.default,
        meta(2, 4, 7, 7), meta(2, 6, 9, 9), meta(4, 6, 3, 3), [4],
        [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [False, True, False],
    ),
    "flash": (aten._scaled_dot_product_flash_attention.default, meta(*Q), meta(*KV), meta(*KV)),
    "efficient": (
        aten._scaled_dot_product_efficient_attention.default,
        meta(*Q), meta(*KV), meta(*KV), None, False,
    ),
    "flash, causal": (
        aten._scaled_dot_product_flash_attention.default,
        meta(*Q), meta(*Q), meta(*Q), 0.0, True,
    ),
    "flash, backward": (
        aten._scaled_dot_product_flash_attention_backward.default,
        meta(*Q), meta(*Q), meta(*KV), meta(*KV), meta(*Q), meta(2, 8, 5), meta(3), meta(3),
        5, 7, 0.0, False, meta(2), meta(2),
    ),
    "matmul, vector": (aten.matmul.default, meta(7), meta(7, 3)),
    "lstm": (
        aten.lstm.input,
        meta(3, 2, 5), [meta(4, 2, 6), meta(4, 2, 6)], lstm(2, 2), True, 2, 0.0, False, True, False,
    ),
    "lstm, batch first": (
        aten.lstm.input,
        meta(3, 2, 5), [meta(1, 3, 6), meta(1, 3, 6)], lstm(1, 1), True, 1, 0.0, False, False, True,
    ),
    "gru": (
        aten.gru.input,
        meta(3, 2, 5), meta(1, 2, 8), lstm_like(3, 8), True, 1, 0.0, False, False, False,
    ),
    "rnn_tanh": (
        aten.rnn_tanh.input,
        meta(3, 2, 5), meta(1, 2, 8), lstm_like(1, 8), True, 1, 0.0, False, False, False,
    ),
    "lstm_cell": (
        aten.lstm_cell.default,
        meta(2, 5), [meta(2, 8), meta(2, 8)], *lstm_like(4, 8),
    ),
    "gru_cell": (aten.gru_cell.default, meta(2, 5), meta(2, 8), *lstm_like(3, 8)),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_products_are_what_torch_counts(name: str) -> None:
    function, *args = CALLS[name]
    call = Called(function, *args)
    assert work_of(call.op).matmul_flops == call.flops > 0


MISSED: dict[str, tuple[int, tuple[Any, ...]]] = {
    # FlopCounterMode counts 0 for what is no matrix by a matrix
    "addbmm": (2 * 4 * 5 * 7 * 3, (aten.addbmm.default, meta(5, 3), *BATCHED)),
    "vdot": (2 * 5, (aten.vdot.default, meta(5), meta(5))),
    "grouped_mm": (
        2 * 32 * 16 * 8,
        (
            aten._grouped_mm.default,
            meta(32, 16, dtype=torch.bfloat16), meta(4, 16, 8, dtype=torch.bfloat16),
            meta(4, dtype=torch.int32),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISSED)
def test_what_torch_misses_is_counted(name: str) -> None:
    expected, (function, *args) = MISSED[name]
    call = Called(function, *args)
    assert (call.flops, work_of(call.op).matmul_flops) == (0, expected)


def test_every_rule_is_for_an_operator_that_torch_has() -> None:
    """A misspelt name would never be met, and its operator be priced as traffic."""
    known = {name.partition(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    known |= {schema.name for schema in torch._C._jit_get_all_schemas()}
    domains = {"aten", "quantized", "mkldnn", "mkl"}
    names = {f"{domain}::{name}" for domain, name in RULES if domain in domains}
    assert len(names) > 200
    assert sorted(names - known) == []
