"""Attention over packed tokens, paged caches and selected keys, and the indexers that select them."""

from __future__ import annotations

from dataclasses import replace

from energy_opt.ir.dims import Dim, ceil_div, product, total
from energy_opt.ir.op import Op, Work, bytes_of
from energy_opt.ir.rules.arguments import (
    given,
    integer,
    integers,
    number,
    positive,
    result,
    shape,
    text,
)
from energy_opt.ir.rules.attention import SOFTCAP, grouped_sizes, position_flops, projected
from energy_opt.ir.rules.cache import cached, key_length
from energy_opt.ir.rules.formulas import attention, divide, elements, least, matmul, nbytes, plus
from energy_opt.ir.rules.registry import rule


@rule("attention", "com.microsoft::PackedAttention")
def packed(op: Op) -> Work:
    """input[tokens, i] by weights[i, q + k + v]; each token meets a whole sequence of token_offset[b, s]."""
    x, w, heads = shape(op, 0, 2), shape(op, 1, 2), positive(op, "num_heads")
    widths = integers(op, "qkv_hidden_sizes")
    q, _, v = widths if len(widths) == 3 else (divide(w[-1], 3),) * 3
    keys = shape(op, 3, 2)[1]
    core = attention(1, heads, heads, x[0], keys, divide(q, heads), divide(v, heads), given(op, 5))
    return plus(projected(core, x[0], w[-1], x[1]), product((given(op, 2), x[0], w[-1])))


@rule("attention", "com.microsoft::PackedMultiHeadAttention")
def packed_multi_head(op: Op) -> Work:
    """query[tokens, h], or packed [tokens, heads, 3, d]; each token meets a sequence of token_offset[b, s]."""
    q, heads, keys = shape(op, 0, 2), positive(op, "num_heads"), shape(op, 4, 2)[1]
    d = q[3] if len(q) == 4 else divide(q[1], heads)
    d_v = d if op.input(2) is None else divide(shape(op, 2, 2)[1], heads)
    work = attention(1, heads, heads, q[0], keys, d, d_v, given(op, 6))
    return plus(work, product((given(op, 3), q[0], heads, total((d, d, d_v)))))


@rule("attention", "com.microsoft::SparseAttention")
def block_sparse(op: Op) -> Work:
    """A query meets the average row of the block mask: non-zero blocks / rows of blocks * block size keys."""
    heads, kv_heads = positive(op, "num_heads"), positive(op, "kv_num_heads")
    q, key = shape(op, 0, 3), op.input(1)
    d, d_v = grouped_sizes(q, None if key is None else shape(op, 1, 3), heads, kv_heads)
    length = key_length(op, q[1], 3, 1)
    rows, blocks = shape(op, 5, 1)[-1], shape(op, 6, 1)[-1]
    if isinstance(rows, int) and rows > 1:
        per_row = product((blocks, positive(op, "sparse_block_size", 64)))
        length = least(length, ceil_div(per_row, rows - 1))
    work = attention(q[0], heads, kv_heads, q[1], length, d, d_v)
    work = plus(work, position_flops(op, product(q[:2]), d, heads, kv_heads, len(op.inputs)))
    return cached(op, work, q[1], {3: 1, 4: 2}, angles=(9, 10))


@rule("attention", "com.microsoft::PagedAttention")
def paged(op: Op) -> Work:
    """query[tokens, q (+ k + v)] over the pages of block_table[b, pages]: all of them are taken to be full."""
    page = shape(op, 3, 4)[1]
    return _paged(op, product((shape(op, 7, 2)[1], page)), norms=12)


@rule("attention", "com.microsoft::SparsePagedAttention")
def paged_sparse(op: Op) -> Work:
    """The selected keys, selected_indices[tokens, n], and the local window where the mode adds it."""
    selected = shape(op, 9, 2)[1]
    return _paged(op, total((selected, _window(op))), norms=17)


def _window(op: Op) -> int:
    local = text(op, "attention_mode", "selected_only") == "local_plus_selected"
    return max(integer(op, "local_window_size", 0), 0) if local else 0


def _paged(op: Op, keys: Dim, norms: int) -> Work:
    q, heads, kv_heads = shape(op, 0, 2), positive(op, "num_heads"), positive(op, "kv_num_heads")
    latent = text(op, "kv_cache_layout", "SEPARATE") == "LATENT"
    key = None if op.input(1) is None else shape(op, 1, 2)
    d, d_v = grouped_sizes(q, key, heads, kv_heads)
    d_v = positive(op, "v_head_size") if op.attr("v_head_size") else d_v
    work = attention(
        1, heads, kv_heads, q[0], keys, d, d_v, SOFTCAP * (number(op, "softcap", 0) != 0)
    )
    work = plus(work, position_flops(op, q[0], d, heads, kv_heads, norms))
    # The pages that are met, once per sequence, and the new tokens' rows, written in place.
    cache = op.need(3)
    row = bytes_of(product(cache.dims[2:]), cache.dtype)
    both = 1 if latent else 2
    sequences = shape(op, 7, 1)[0]
    read = total((nbytes(*op.inputs[:3]), product((both, sequences, keys, row))))
    return replace(
        work, bytes_read=read, bytes_written=total((nbytes(op.y), product((both, q[0], row))))
    )


@rule("attention", "com.microsoft::DynamicSparseAttention")
def selected(op: Op) -> Work:
    """query[b, s, q (+ k + v)] over selected_indices[b * s, n] keys, and the local window where the mode adds it."""
    heads, kv_heads = positive(op, "num_heads"), positive(op, "kv_num_heads")
    q, key = shape(op, 0, 3), op.input(1)
    d, d_v = grouped_sizes(q, None if key is None else shape(op, 1, 3), heads, kv_heads)
    keys = total((shape(op, 7, 2)[1], _window(op)))
    work = attention(q[0], heads, kv_heads, q[1], keys, d, d_v)
    work = plus(work, position_flops(op, product(q[:2]), d, heads, kv_heads, 14))
    return cached(op, work, q[1], {3: 1, 4: 2}, keys, angles=(11, 12))


@rule("attention", "com.microsoft::SparseAttentionIndexer")
@rule("attention", "com.microsoft::PackedSparseAttentionIndexer")
def indexer(op: Op) -> Work:
    """Scores of every query head with every (pooled) cached key, a ReLU and a sum per score, norms of the queries."""
    d, ratio = shape(op, 2, 1)[-1], max(integer(op, "compress_ratio", 1), 1)
    cache = result(op, 1 if op.op_type == "SparseAttentionIndexer" else 2, 2)
    pooled = text(op, "policy_mode", "qsa") == "csa" or "Packed" in op.op_type
    keys = cache[-2] if pooled else ceil_div(cache[-2], ratio)
    rows = divide(elements(op.x), d)
    work = matmul(1, rows, keys, d)
    return plus(work, total((product((2, rows, keys)), product((4 + 3, rows, d)))))
