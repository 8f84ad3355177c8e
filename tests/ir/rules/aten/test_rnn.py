from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case, op_of, work_of

A = "aten::"

# 3 steps of 2 samples of 5 inputs, hidden 4. LSTM: 4 gates of 4 by 5 + 4 inputs; per unit 18 and 4 * (1 + 2 biases)
CASES = [
    case(
        A + "lstm",
        "3,2,5 1,2,4 1,2,4 16,5 16,4 16 16 -> 3,2,4 1,2,4 1,2,4",
        2 * 6 * 16 * 9,
        6 * 4 * (18 + 12),
        4 * (30 + 16 + 80 + 64 + 32),
        4 * (24 + 16),
        hx=2,
        params=4,
        has_biases=1,
        num_layers=1,
    ),
    # formulas over steps and batch, batch first, no biases: 18 + 4 per unit
    case(
        A + "lstm",
        "b,s,5 1,b,4 1,b,4 16,5 16,4 -> b,s,4 1,b,4 1,b,4",
        "288*b*s",
        "88*b*s",
        "20*b*s + 32*b + 576",
        "16*b*s + 32*b",
        hx=2,
        params=2,
        has_biases=0,
        num_layers=1,
        batch_first=1,
    ),
    # two layers of two directions: the second has 8 inputs; dropout (2) after the first layer of 6 tokens of 8
    case(
        A + "lstm",
        "3,2,5 4,2,4 4,2,4 16,5 16,4 16,5 16,4 16,8 16,4 16,8 16,4 -> 3,2,8 4,2,4 4,2,4",
        2 * 6 * 2 * (16 * 9 + 16 * 12),
        6 * 4 * 4 * (18 + 4) + 2 * 6 * 8,
        4 * (30 + 64 + 2 * 16 * 9 + 2 * 16 * 12),
        4 * (48 + 64),
        hx=2,
        params=8,
        has_biases=0,
        num_layers=2,
        bidirectional=1,
        dropout=0.1,
        train=1,
    ),
    # the state is projected to 3: gates see 5 + 3, and a product of 3 by 4
    case(
        A + "lstm",
        "3,2,5 1,2,3 1,2,4 16,5 16,3 3,4 -> 3,2,3 1,2,3 1,2,4",
        2 * 6 * (16 * 8 + 12),
        6 * 4 * 22,
        4 * (30 + 14 + 80 + 48 + 12),
        4 * (18 + 14),
        hx=2,
        params=3,
        has_biases=0,
        num_layers=1,
    ),
    # packed: 7 tokens in all, sizes of the batch at 3 steps
    case(
        A + "gru",
        "7,5 i64:3 1,3,4 12,5 12,4 12 12 -> 7,4 1,3,4",
        2 * 7 * 12 * 9,
        7 * 4 * (14 + 9),
        4 * (35 + 12 + 60 + 48 + 24) + 24,
        4 * (28 + 12),
        params=4,
        has_biases=1,
        num_layers=1,
    ),
    case(
        A + "rnn_tanh",
        "3,2,5 1,2,4 4,5 4,4 -> 3,2,4 1,2,4",
        2 * 6 * 36,
        6 * 4 * 2,
        4 * (30 + 8 + 36),
        4 * (24 + 8),
        params=2,
        has_biases=0,
        num_layers=1,
    ),
    # the weights once, not in the buffer as well
    case(
        A + "_cudnn_rnn",
        "3,2,5 16,5 16,4 16 16 176 1,2,4 1,2,4 -> 3,2,4 1,2,4 1,2,4",
        2 * 6 * 16 * 9,
        6 * 4 * 30,
        4 * (30 + 176 + 16),
        4 * (24 + 16),
        weight=4,
        mode=2,
        num_layers=1,
    ),
    case(
        A + "mkldnn_rnn_layer",
        "3,2,5 16,5 16,4 16 16 1,2,4 1,2,4 -> 3,2,4 1,2,4 1,2,4",
        2 * 6 * 16 * 9,
        6 * 4 * 30,
        4 * (30 + 176 + 16),
        4 * (24 + 16),
        mode=2,
        has_biases=1,
        num_layers=1,
    ),
    case(
        A + "lstm_cell",
        "2,5 2,4 2,4 16,5 16,4 16 16 -> 2,4 2,4",
        2 * 2 * 16 * 9,
        8 * 30,
        4 * (10 + 16 + 80 + 64 + 32),
        64,
        hx=2,
    ),
    # without a batch
    case(A + "gru_cell", "5 4 12,5 12,4 -> 4", 2 * 12 * 9, 4 * 17, 4 * (9 + 108), 16),
    case(
        A + "rnn_relu_cell", "2,5 2,4 4,5 4,4 4 4 -> 2,4", 2 * 2 * 36, 8 * 4, 4 * (18 + 36 + 8), 32
    ),
    # 8 units: 18 and 4 sums of gates, biases 8
    case(
        A + "_thnn_fused_lstm_cell",
        "2,16 2,16 2,4 16 16 -> 2,4 2,4 2,16",
        0,
        8 * 30,
        4 * (64 + 8 + 32),
        4 * (16 + 32),
    ),
    case(A + "_thnn_fused_gru_cell", "2,12 2,12 2,4 -> 2,4 2,20", 0, 8 * 17, 4 * 56, 4 * 48),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()


def test_sizes_are_those_of_the_onnx_rule() -> None:
    ours = op_of(
        A + "lstm", "3,2,5 1,2,4 1,2,4 16,5 16,4 -> 3,2,4", params=2, num_layers=1, has_biases=0
    )
    onnx = op_of("LSTM", "3,2,5 1,16,5 1,16,4 -> 3,1,2,4")
    assert work_of(ours).sizes == work_of(onnx).sizes
    assert work_of(ours).matmul_flops == work_of(onnx).matmul_flops


@pytest.mark.parametrize("attributes", [{}, {"params": 9}, {"params": 2, "num_layers": 3}])
def test_weights_that_fit_no_layers_are_refused(attributes: dict[str, int]) -> None:
    op = op_of(A + "lstm", "3,2,5 1,2,4 1,2,4 16,5 16,4 -> 3,2,4", **attributes)
    with pytest.raises(ValueError, match=r"weight|params"):
        work_of(op)
