"""Recurrent layers of PyTorch: all layers and directions of a call; weights are read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Tensor, Work
from energy_opt.ir.rules.arguments import given, integer, number, positive, shape
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import divide, elements, nbytes, plus
from energy_opt.ir.rules.rnn import recurrent

LSTM, GRU, PLAIN = (4, 18), (3, 14), (1, 1)
"""Gates, and FLOPs per hidden unit and step beside the products: see `rules/rnn.py`."""

_CUDNN_MODES = (PLAIN, PLAIN, LSTM, GRU)
_DROPOUT = 2


def _layers(
    op: Op, cell: tuple[int, int], weights: Sequence[Tensor | None], biases: bool, batch_first: bool
) -> Work:
    """Work over every token of x[steps, batch, inputs] (or of packed tokens[n, inputs]) and every weight matrix.

    The weights of a layer and direction are w_ih[gates * h, inputs], w_hh[gates * h, h], two biases and, of an LSTM
    with a projection, w_hr[h', h]. `sizes` are those of the last layer, with the steps of all.
    """
    x, (gates, per_unit) = shape(op, 0, 2), cell
    directions = 2 if integer(op, "bidirectional", 0) else 1
    matrices = [dims for w in weights if w is not None and len(dims := w.dims) == 2]
    layers = positive(op, "num_layers", 1)
    if not matrices or len(matrices) % (layers * directions):
        raise ValueError(f"{len(matrices)} weight matrices for {layers} layers")
    each = len(matrices) // (layers * directions)
    if each not in (2, 3):
        raise ValueError(f"{each} weight matrices a layer and direction")
    w_ih, w_hh = matrices[-each], matrices[1 - each]
    hidden = divide(w_hh[0], gates)
    tokens, steps, batch = _tokens(x, batch_first)
    last = recurrent(steps, batch, directions, gates, w_ih[1], w_hh[1])
    sizes = tuple((name, product((layers, n)) if name == "steps" else n) for name, n in last.sizes)
    flops = product((2, tokens, total(product(dims) for dims in matrices)))
    units = product((tokens, layers, directions, hidden))
    work = plus(Work(flops, sizes=sizes), product((per_unit + gates * (1 + 2 * biases), units)))
    if number(op, "dropout", 0.0) > 0 and integer(op, "train", 0):
        return plus(work, product((_DROPOUT, tokens, layers - 1, directions, w_hh[1])))
    return work


def _tokens(x: tuple[Dim, ...], batch_first: bool) -> tuple[Dim, Dim, Dim]:
    """Tokens, steps and batch; packed or unbatched ones are steps of one sample, since shapes tell no more."""
    if len(x) == 2:
        return x[0], x[0], 1
    steps, batch = (x[1], x[0]) if batch_first else (x[0], x[1])
    return product(x[:-1]), steps, batch


def _stacked(op: Op, cell: tuple[int, int]) -> Work:
    count = positive(op, "params")
    if count >= len(op.inputs):
        raise ValueError(f"{count} weights among {len(op.inputs)} operands")
    biases = integer(op, "has_biases", 0) != 0
    return _layers(op, cell, op.inputs[-count:], biases, integer(op, "batch_first", 0) != 0)


@aten("rnn", "lstm")
def lstm(op: Op) -> Work:
    """Of padded or packed sequences; the weights come last."""
    return _stacked(op, LSTM)


@aten("rnn", "gru")
def gru(op: Op) -> Work:
    """Of padded or packed sequences; the weights come last."""
    return _stacked(op, GRU)


@aten("rnn", "rnn_tanh rnn_relu")
def rnn(op: Op) -> Work:
    """Of padded or packed sequences; the weights come last."""
    return _stacked(op, PLAIN)


@aten("rnn", "_cudnn_rnn miopen_rnn")
def rnn_cudnn(op: Op) -> Work:
    """The weights after the input; a buffer that holds them once more is not read twice."""
    count, mode = positive(op, "weight"), integer(op, "mode", 0)
    weights = op.inputs[1 : 1 + count]
    if not 0 <= mode < len(_CUDNN_MODES):
        raise ValueError(f"mode {mode}")
    biases = any(w is not None and w.shape is not None and len(w.shape) == 1 for w in weights)
    first = integer(op, "batch_first", 0) != 0
    work = _layers(op, _CUDNN_MODES[mode], weights, biases, first)
    if op.op_type != "_cudnn_rnn":
        return work
    return replace(work, bytes_read=nbytes(op.x, *weights, *op.inputs[2 + count :]))


@aten("rnn", "mkldnn_rnn_layer")
def rnn_onednn(op: Op) -> Work:
    """One layer and direction: two matrices and two biases after the input."""
    mode = integer(op, "mode", 0)
    if not 0 <= mode < len(_CUDNN_MODES):
        raise ValueError(f"mode {mode}")
    one = replace(op, attributes={"batch_first": integer(op, "batch_first", 0)})
    biases = integer(op, "has_biases", 0) != 0
    return _layers(one, _CUDNN_MODES[mode], op.inputs[1:3], biases, False)


def _cell(op: Op, cell: tuple[int, int], weight: int) -> Work:
    """One step with w_ih and w_hh at input `weight` and after it, their biases next."""
    gates, per_unit = cell
    x, w_ih, w_hh = shape(op, 0, 1), shape(op, weight, 2), shape(op, weight + 1, 2)
    rows = product(x[:-1])
    work = recurrent(1, rows, 1, gates, w_ih[1], w_hh[1])
    hidden = divide(w_hh[0], gates)
    flops = product((2, rows, w_ih[0], total((w_ih[1], w_hh[1]))))
    biases = given(op, weight + 2) + given(op, weight + 3)
    return plus(
        replace(work, matmul_flops=flops), product((per_unit + gates * (1 + biases), rows, hidden))
    )


@aten("rnn", "lstm_cell")
def lstm_cell(op: Op) -> Work:
    """x, the two states, the weights."""
    return _cell(op, LSTM, 3)


@aten("rnn", "gru_cell")
def gru_cell(op: Op) -> Work:
    """x, the state, the weights."""
    return _cell(op, GRU, 2)


@aten("rnn", "rnn_tanh_cell rnn_relu_cell")
def rnn_cell(op: Op) -> Work:
    """x, the state, the weights."""
    return _cell(op, PLAIN, 2)


@aten("elementwise", "_thnn_fused_lstm_cell _thnn_fused_gru_cell")
def fused_cell(op: Op) -> Work:
    """What follows the products: their sum, the biases at inputs 3 and 4, the activations and the new state."""
    gates, per_unit = LSTM if "lstm" in op.op_type else GRU
    per_hidden = per_unit + gates * (1 + given(op, 3) + given(op, 4))
    return Work(other_flops=per_hidden * elements(op.y))
