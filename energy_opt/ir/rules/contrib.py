"""Ops of com.microsoft that fit nowhere else: gates, biases by position, hashes and decoding aids."""

from __future__ import annotations

from dataclasses import replace

from energy_opt.ir.dims import product, total
from energy_opt.ir.op import Op, Work, bytes_of
from energy_opt.ir.rules.arguments import given, integer, result, shape
from energy_opt.ir.rules.formulas import ROTARY, divide, elements, matmul, nbytes, per_output, plus
from energy_opt.ir.rules.registry import rule

rule("elementwise", "com.microsoft::GatedAdd")(per_output(2))  # gate, add
rule("elementwise", "com.microsoft::MurmurHash3")(
    per_output(11)
)  # 2 rounds of the key, 3 shifts and 2 products after
rule("elementwise", "DisentangledAttention_TRT")(per_output(3))  # two gathered terms added, a scale


@rule("elementwise", "RotaryEmbedding")
def rotary(op: Op) -> Work:
    """3 FLOPs per rotated element; with positions (input 3) only their rows of the tables are read."""
    return _rotary(op, cos=1, positions=3)


@rule("elementwise", "com.microsoft::RotaryEmbedding", "com.microsoft::MRotaryEmbedding")
def rotary_contrib(op: Op) -> Work:
    """The same with the positions before the tables."""
    return _rotary(op, cos=2, positions=1)


def _rotary(op: Op, cos: int, positions: int) -> Work:
    x, table, where = shape(op, 0, 2), op.need(cos), op.input(positions)
    heads, width = integer(op, "num_heads", 0), integer(op, "rotary_embedding_dim", 0)
    head = x[-1] if len(x) == 4 else divide(x[-1], heads) if heads else None
    rotated = elements(op.x)
    if width and head is not None and width != head:  # the rest is copied
        rotated = product((divide(rotated, head), width))
    work = Work(other_flops=ROTARY * rotated)
    if where is None or len(table.dims) != 2:
        return work
    length = x[0] if len(x) == 2 else x[-2]
    rows = length if product(where.dims) == 1 else elements(where)
    angles = bytes_of(product((2, rows, table.dims[-1])), table.dtype)
    return replace(work, bytes_read=total((nbytes(op.x, where), angles)))


@rule("elementwise", "com.microsoft::GemmaRotaryEmbedding")
def rotary_gemma(op: Op) -> Work:
    """Sine and cosine of every angle, then 3 FLOPs per element of both outputs."""
    return Work(
        other_flops=total((2 * elements(op.x), *(ROTARY * elements(y) for y in op.outputs)))
    )


@rule("elementwise", "com.microsoft::LinearAttentionGate")
def linear_attention_gate(op: Op) -> Work:
    """bias, softplus and scale of the decay; a sigmoid of the rate."""
    return Work(other_flops=(5 + 4 * given(op, 3)) * elements(op.y))


@rule("matmul", "com.microsoft::HyperConnectionPostMix")
def postmix(op: Op) -> Work:
    """streams[.., c, h] mixed by stream_mix[.., c, c] where it is given, and a gated branch added."""
    if not given(op, 3):
        return Work(other_flops=2 * elements(op.y), kind="elementwise")
    mix = shape(op, 3, 2)
    work = matmul(product(mix[:-2]), mix[-1], shape(op, 1, 1)[-1], mix[-2])
    return plus(work, 2 * elements(op.y))


@rule("matmul", "com.microsoft::GatedRelativePositionBias")
def gated_position_bias(op: Op) -> Work:
    """query[b * s, heads * d] (and its bias) by weight[d, n], two sigmoid gates per row, a product per score."""
    w = shape(op, 3, 2)
    rows = divide(elements(op.x), w[0])
    work = matmul(1, rows, w[1], w[0])
    per_row = product((rows, total((2 * w[1], 2 * 4 + 3))))
    return plus(work, total((elements(op.x), per_row, elements(op.y))))


@rule("gather", "com.microsoft::RelativePositionBias")
def position_bias(op: Op) -> Work:
    """A bucket per pair of positions: difference, comparison, logarithm, 2 scales; then the table's entry."""
    return Work(other_flops=product((5, *result(op, 0, 2)[-2:])), bytes_read=nbytes(op.x))


@rule("elementwise", "com.microsoft::NGramHashMapping", "com.microsoft::VarlenNGramHashMapping")
def ngram_hash(op: Op) -> Work:
    """Per token a product and an exclusive-or for each position of the longest n-gram, and a modulo per hash."""
    window = max(integer(op, "max_ngram_size", 1), 1)
    return Work(other_flops=total((product((2 * window, elements(op.x))), elements(op.y))))


@rule("elementwise", "com.microsoft::NGramRepeatBlock")
def ngram_block(op: Op) -> Work:
    """Each position compared with the last n-gram; the scores copied."""
    return Work(other_flops=product((max(integer(op, "ngram_size", 1), 1), elements(op.x))))


@rule("elementwise", "com.microsoft::BifurcationDetector")
def bifurcation(op: Op) -> Work:
    """Each source token compared with the last n-grams."""
    return Work(other_flops=product((max(integer(op, "max_ngram_size", 3), 1), elements(op.x))))
