"""Attention: the two products of the scores, and the projections that some fused ops contain.

Every query meets every key of the graph's shapes: causal masks and padding reduce nothing, since the shapes do not know
them; a local window is an attribute and does. With a cache, the keys are those of the present.
"""

from __future__ import annotations

from dataclasses import replace

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given, integer, integers, number, positive, shape
from energy_opt.ir.rules.cache import Dims, by_head, cached, key_length
from energy_opt.ir.rules.formulas import (
    QUANTIZE,
    ROTARY,
    attention,
    divide,
    elements,
    known,
    least,
    matmul,
    plus,
)
from energy_opt.ir.rules.registry import rule

SOFTCAP = 3
"""FLOPs per score of cap * tanh(score / cap)."""


@rule("attention", "Attention", "ai.onnx.preview::FlexAttention")
def standard(op: Op) -> Work:
    """4-D operands, or 3-D ones with the head counts as attributes; a mask is one more sum per score."""
    q = by_head(shape(op, 0, 3), integer(op, "q_num_heads", 1))
    k, v = (by_head(shape(op, i, 3), integer(op, "kv_num_heads", 1)) for i in (1, 2))
    extra = given(op, 3) + SOFTCAP * (number(op, "softcap", 0.0) != 0.0)
    met = _windowed(op, key_length(op, k[2], 4, 1))
    causal = integer(op, "is_causal", 0)
    return attention(q[0], q[1], k[1], q[2], met, known(q[3], k[3]), v[3], extra, causal)


def _windowed(op: Op, length: Dim) -> Dim:
    """Keys that a query meets where a window bounds them on both sides; causality is a bound on the right."""
    left, right = integer(op, "left_window_size", -1), integer(op, "right_window_size", -1)
    right = 0 if integer(op, "is_causal", 0) else right
    return least(length, left + 1 + right) if left >= 0 and right >= 0 else length


def projected(core: Work, rows: Dim, width: Dim, k: Dim) -> Work:
    """Attention that first projects [rows, k] to [rows, width]; its m, n, k stand beside the scores' sizes."""
    product_of_weights = matmul(1, rows, width, k)
    flops = total((core.matmul_flops, product_of_weights.matmul_flops))
    return replace(core, matmul_flops=flops, sizes=(*core.sizes, *product_of_weights.sizes[1:]))


@rule("attention", "com.microsoft::Attention", "com.microsoft::DecoderMaskedSelfAttention")
def merged(op: Op) -> Work:
    """input[b, s, i] by weights[i, q + k + v] and the bias, then attention; keys and values of the past at input 4."""
    return _merged(op, past=4, masks=given(op, 3) + given(op, 5), scaled=0)


@rule("attention", "com.microsoft::QAttention")
def merged_quantised(op: Op) -> Work:
    """The same with 8-bit input and weights, whose product is scaled; the past is input 8."""
    return _merged(op, past=8, masks=given(op, 5), scaled=1)


def _merged(op: Op, past: int, masks: int, scaled: int) -> Work:
    x, w, heads = shape(op, 0, 3), shape(op, 1, 2), positive(op, "num_heads")
    widths = integers(op, "qkv_hidden_sizes")
    q, _, v = widths if len(widths) == 3 else (divide(w[-1], 3),) * 3
    length = key_length(op, x[1], past, 1, rank=5)
    widths_by_head = divide(q, heads), divide(v, heads)
    causal = integer(op, "unidirectional", 0)
    core = attention(x[0], heads, heads, x[1], length, *widths_by_head, masks, causal)
    rows = product(x[:2])
    added = product((given(op, 2) + scaled, rows, w[-1]))
    rotated = product((2 * ROTARY * (integer(op, "do_rotary", 0) != 0), rows, q))
    work = plus(projected(core, rows, w[-1], x[2]), total((added, rotated)))
    return cached(op, work, x[1], {past: 1})


@rule("attention", "com.microsoft::QOrderedAttention")
def merged_ordered(op: Op) -> Work:
    """8-bit input by three weights (inputs 5, 6, 7) and biases, requantised after every product."""
    x, heads = shape(op, 0, 3), positive(op, "num_heads")
    q, k, v = (shape(op, i, 2)[-1] for i in (5, 6, 7))
    work = attention(x[0], heads, heads, x[1], x[1], divide(q, heads), divide(v, heads), QUANTIZE)
    rows, width = product(x[:2]), total((q, k, v))
    after = total((product((QUANTIZE + 1, rows, width)), product((QUANTIZE, rows, v))))
    return plus(projected(work, rows, width, x[2]), after)


@rule("attention", "com.microsoft::MultiHeadAttention")
@rule("attention", "com.microsoft::DecoderMaskedMultiHeadAttention")
def multi_head(op: Op) -> Work:
    """Projected operands: q, k, v of rank 3; packed qkv or kv of rank 5; 4-D keys of a cross attention."""
    heads, decoder = positive(op, "num_heads"), op.op_type == "DecoderMaskedMultiHeadAttention"
    b, s, d, new, d_v = _multi_head_sizes(op, heads)
    past, bias, masks = (5, 10, (3, 4)) if decoder else (6, 3, (4, 5))
    length = key_length(op, new, past, 1)
    extra, causal = sum(given(op, i) for i in masks), integer(op, "unidirectional", 0)
    work = attention(b, heads, heads, s, length, d, d_v, extra, causal)
    projections = total((product((s, d)), product((new, total((d, d_v))))))
    work = plus(work, product((given(op, bias), b, heads, projections)))
    return cached(op, work, new, {past: 1, past + 1: 2})


def _multi_head_sizes(op: Op, heads: int) -> tuple[Dim, Dim, Dim, Dim, Dim]:
    """batch, query length, head width, new keys, head width of values."""
    q, key, value = shape(op, 0, 3), op.input(1), op.input(2)
    if len(q) == 5:  # [b, s, heads, 3, d]
        return q[0], q[1], q[4], q[1], q[4]
    if key is None:  # [b, s, 3 * hidden]
        d = divide(q[2], 3 * heads)
        return q[0], q[1], d, q[1], d
    k, d = shape(op, 1, 3), divide(q[2], heads)
    if len(k) == 5 or value is None:  # [b, kv, heads, 2, d]
        return q[0], q[1], d, k[1], d
    v = by_head(shape(op, 2, 3), heads)
    return q[0], q[1], d, v[2], v[3]


def grouped_sizes(q: Dims, key: Dims | None, heads: int, kv_heads: int) -> tuple[Dim, Dim]:
    """Head width of queries and of values, where a query without a key holds q, k and v side by side."""
    d = divide(q[-1], heads + 2 * kv_heads) if key is None else divide(q[-1], heads)
    return d, d


def position_flops(op: Op, rows: Dim, d: Dim, q_heads: int, kv_heads: int, norms: int) -> Dim:
    """Rotary embedding and per-head RMS norms of queries and keys, where the op does them."""
    per_element = ROTARY * (integer(op, "do_rotary", 0) != 0) + 4 * given(op, norms)
    return product((per_element, rows, q_heads + kv_heads, d))


@rule("attention", "com.microsoft::GroupQueryAttention")
def grouped(op: Op) -> Work:
    """query[b, s, q (+ k + v)]; as many keys as the total says, else the present; a local window limits them."""
    heads, kv_heads = positive(op, "num_heads"), positive(op, "kv_num_heads")
    q, key = shape(op, 0, 3), op.input(1)
    d, d_v = grouped_sizes(q, None if key is None else shape(op, 1, 3), heads, kv_heads)
    told, window = op.input(6), integer(op, "local_window_size", -1)
    length = told.values[0] if told is not None and told.values else key_length(op, q[1], 3, 1)
    met, touched = (
        (least(length, window), least(length, total((q[1], window))))
        if window > 0
        else (length, length)
    )
    extra = given(op, 10) + SOFTCAP * (number(op, "softcap", 0.0) != 0.0)
    work = attention(q[0], heads, kv_heads, q[1], met, d, d_v, extra, causal=True)
    work = plus(work, position_flops(op, product(q[:2]), d, heads, kv_heads, 14))
    return cached(op, work, q[1], {3: 1, 4: 2}, touched, angles=(7, 8))


@rule("attention", "com.microsoft::DecoderAttention")
def decoder(op: Op) -> Work:
    """query[s, b, h] and key[t, b, h], projected by [h, h] and [h, 2h], the biases, then attention."""
    q, k, heads = shape(op, 0, 3), shape(op, 1, 3), positive(op, "num_heads")
    d = divide(q[2], heads)
    work = attention(q[1], heads, heads, q[0], key_length(op, k[0], 6, 1), d, d, given(op, 5))
    rows = total((product(q[:2]), product((2, *k[:2]))))
    return plus(projected(work, rows, q[2], q[2]), product((given(op, 4), rows, q[2])))


@rule("attention", "com.microsoft::LongformerAttention")
def longformer(op: Op) -> Work:
    """Local and global projections of input[b, s, h] by [h, 3h]; a query meets 2 * window keys, never more than s."""
    return _longformer(op, 1, given(op, 4), 0)


@rule("attention", "com.microsoft::QOrderedLongformerAttention")
def longformer_ordered(op: Op) -> Work:
    """The same in 8 bits, requantised after the projections and at the end."""
    return _longformer(op, 2, given(op, 8), QUANTIZE)


def _longformer(op: Op, weight: int, has_global: int, quantised: int) -> Work:
    x, w, heads = shape(op, 0, 3), shape(op, weight, 2), positive(op, "num_heads")
    d, rows, width = divide(x[2], heads), product(x[:2]), product((1 + has_global, w[-1]))
    keys = least(x[1], 2 * positive(op, "window", 1))
    work = projected(attention(x[0], heads, heads, x[1], keys, d, d, 1), rows, width, x[2])
    after = total((product((1 + quantised, rows, width)), quantised * elements(op.y)))
    return plus(work, after)
