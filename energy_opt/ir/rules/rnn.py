"""Recurrent layers: gate products over every step, direction and sample; weights are read once."""

from __future__ import annotations

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given, integer, positive, shape, text
from energy_opt.ir.rules.formulas import divide, elements, plus
from energy_opt.ir.rules.registry import rule


def recurrent(
    steps: Dim, batch: Dim, directions: Dim, gates: int, inputs: Dim, hidden: Dim
) -> Work:
    """A layer whose gates are products of [batch, inputs + hidden] by [inputs + hidden, gates * hidden] per step."""
    n, k = product((gates, hidden)), total((inputs, hidden))
    sizes = (("b", directions), ("m", batch), ("n", n), ("k", k), ("steps", steps))
    return Work(matmul_flops=product((2, steps, directions, batch, n, k)), sizes=sizes)


def _layer(op: Op, gates: int, cell_flops: int) -> Work:
    """`cell_flops` per step and hidden unit; besides, each gate sums its two products and its two biases."""
    x, r = shape(op, 0, 3), shape(op, 2, 3)
    hidden, directions = r[2], r[0]
    steps, batch = (x[1], x[0]) if integer(op, "layout", 0) else (x[0], x[1])
    work = recurrent(steps, batch, directions, gates, x[2], hidden)
    per_unit = cell_flops + gates * (1 + 2 * given(op, 3))
    return plus(work, product((per_unit, steps, batch, directions, hidden)))


@rule("rnn", "LSTM")
def lstm(op: Op) -> Work:
    """3 sigmoids, 2 tanh, f c + i g, o tanh(c): 18; peepholes are a product and a sum for three gates."""
    return _layer(op, 4, 18 + 6 * given(op, 7))


@rule("rnn", "GRU")
def gru(op: Op) -> Work:
    """2 sigmoids, a tanh, r h, (1 - z) n + z h: 14."""
    return _layer(op, 3, 14)


@rule("rnn", "RNN")
def rnn(op: Op) -> Work:
    """A tanh."""
    return _layer(op, 1, 1)


@rule("rnn", "com.microsoft::DynamicQuantizeLSTM")
def lstm_quantised(op: Op) -> Work:
    """An LSTM with weights W[directions, inputs, 4 * hidden], its inputs quantised and its products scaled."""
    x, r = shape(op, 0, 3), shape(op, 2, 3)
    hidden, directions = r[1], r[0]
    work = recurrent(x[0], x[1], directions, 4, x[2], hidden)
    rows = product((x[0], x[1], directions))
    quantised = product((6, rows, total((x[2], hidden))))
    per_unit = 18 + 6 * given(op, 7) + 4 * (3 + 2 * given(op, 3))
    return plus(work, total((quantised, product((per_unit, rows, hidden)))))


@rule("rnn", "com.microsoft::AttnLSTM")
def lstm_attention(op: Op) -> Work:
    """An LSTM that meets memory[b, t, d] at every step: query layer, tanh scores, softmax, context, attention layer."""
    x, memory, query = shape(op, 0, 3), shape(op, 11, 3), shape(op, 8, 3)
    work, rows = lstm(op), product((x[0], x[1], query[0]))
    depth, width = memory[2], query[2]
    layer = [elements(op.need(13))] if op.input(13) is not None else []
    per_row = total(
        (product((query[1], width)), product((memory[1], total((width, depth)))), *layer)
    )
    flops = total(
        (
            work.matmul_flops,
            product((2, rows, per_row)),
            product((2, memory[0], memory[1], depth, width)),
        )
    )
    scores = product((rows, memory[1], total((2 * width, 5))))
    return Work(flops, total((work.other_flops, scores)), sizes=work.sizes)


UPDATE_RULES = {"linear": (1, 0), "gated": (1, 1), "delta": (2, 0), "gated_delta": (2, 1)}
"""Products of the state with a vector besides the read-out, and decays of its elements, by update rule."""


def state_space(op: Op, tokens: Dim, q_heads: Dim, heads: Dim, d_k: Dim, d_v: Dim) -> Work:
    """Linear attention: an outer product (and a correction) into state[heads, d_k, d_v] and a read-out per token."""
    products, decays = UPDATE_RULES.get(text(op, "update_rule", "gated_delta"), (2, 1))
    state = product((tokens, d_k, d_v))
    readouts = (
        q_heads
        if isinstance(q_heads, int) and isinstance(heads, int) and q_heads > heads
        else heads
    )
    flops = product((2, state, total((product((products, heads)), readouts))))
    # The correction v - S k and its rate are 2 per element of v; the read-out's scale is 1.
    per_value = total((product((2 * (products - 1), heads)), readouts))
    other = total((product((decays, state, heads)), product((tokens, d_v, per_value))))
    return Work(flops, other, sizes=(("b", heads), ("m", tokens), ("n", d_v), ("k", d_k)))


@rule("rnn", "LinearAttention", "com.microsoft::LinearAttention")
def linear_attention(op: Op) -> Work:
    """query[b, t, hq * dk], key[b, t, hkv * dk], value[b, t, hkv * dv]."""
    q, v = shape(op, 0, 3), shape(op, 2, 3)
    q_heads, heads = positive(op, "q_num_heads"), positive(op, "kv_num_heads")
    return state_space(
        op, product(q[:2]), q_heads, heads, divide(q[2], q_heads), divide(v[2], heads)
    )


@rule("rnn", "com.microsoft::GatedDeltaNet")
def gated_delta_net(op: Op) -> Work:
    """query[.., hq, dk] and value[.., hv, dv], or packed rows with the sizes in initial_state[b, hv, dv, dk]."""
    q, value = shape(op, 0, 2), op.input(2)
    if value is None:
        heads, d_v, d_k = shape(op, 6, 4)[1:]
        return state_space(op, product(q[:-1]), heads, heads, d_k, d_v)
    v = shape(op, 2, 2)
    return state_space(op, product(q[:-2]), q[-2], v[-2], q[-1], v[-1])
