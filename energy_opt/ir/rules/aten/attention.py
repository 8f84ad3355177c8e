"""Scaled dot-product attention of PyTorch, whichever kernel it names: one fused kernel that reads q, k and v once.

Every query meets every key of the shapes: causal and block masks halve nothing; a window that is an argument does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given, integer, number, positive, shape, size
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.attention import projected
from energy_opt.ir.rules.formulas import attention, divide, known, least, plus
from energy_opt.ir.rules.registry import rule

DROPOUT = 2
"""FLOPs per score that may be dropped: a comparison and a scale."""

BACKWARD = 6
"""FLOPs per score of the gradient: scale, subtract the log-sum, exp; subtract the row's sum, multiply, scale."""


class Sizes(NamedTuple):
    """What `formulas.attention` takes."""

    b: Dim
    heads: Dim
    heads_kv: Dim
    q_len: Dim
    kv_len: Dim
    d_qk: Dim
    d_v: Dim


def heads_first(op: Op, at: int = 0, y: tuple[Dim, ...] | None = None) -> Sizes:
    """Of q[.., heads, q, d], k[.., heads_kv, kv, d] and v from input `at`; y may have broadcast the batch."""
    q, k, v = (shape(op, at + index, 2) for index in range(3))
    whole = q if y is None or len(y) < len(q) else y
    heads, heads_kv = (dims[-3] if len(dims) > 2 else 1 for dims in (whole, k))
    return Sizes(product(whole[:-3]), heads, heads_kv, q[-2], k[-2], known(q[-1], k[-1]), v[-1])


def length_first(op: Op, at: int, packed: int, keys: str, window: Dim | None) -> Sizes:
    """Of q[b, q, heads, d], or of sequences packed into q[tokens, heads, d], whose keys are at most `keys`.

    `packed` is the input of the sequences' ends: where it is given, a token meets a whole sequence of the longest
    length. `window` limits the keys.
    """
    q, k, v = (shape(op, at + index, 3) for index in range(3))
    in_packs = given(op, packed) or len(q) == 3
    longest = size(op, keys)
    if in_packs:
        if longest is None:
            raise ValueError(f"packed sequences of unknown length: no argument {keys}")
        batch, q_len, kv_len = 1, product(q[:-2]), longest
    else:
        batch, q_len, kv_len = product(q[:-3]), q[-3], k[-3]
    met = kv_len if window is None else least(kv_len, window)
    return Sizes(batch, q[-2], k[-2], q_len, met, known(q[-1], k[-1]), v[-1])


def _scores(sizes: Sizes) -> Dim:
    return product(sizes[:2] + sizes[3:5])


def _causal(op: Op) -> bool:
    return integer(op, "is_causal", 0) != 0


def _extra(op: Op, mask: int | None) -> int:
    masked = 0 if mask is None else given(op, mask)
    return masked + DROPOUT * (number(op, "dropout_p", 0.0) > 0)


@aten(
    "attention",
    "scaled_dot_product_attention _scaled_dot_product_attention_math "
    "_scaled_dot_product_attention_math_for_mps "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_flash_attention_for_cpu "
    "_scaled_dot_product_fused_attention_overrideable",
)
def masked(op: Op) -> Work:
    """q, k, v by heads, and a mask at input 3: one more operation per score."""
    return attention(*heads_first(op, 0, op.y.dims), _extra(op, 3), _causal(op))


@aten("attention", "_scaled_dot_product_flash_attention _triton_scaled_dot_attention")
@rule("attention", "higher_order::flex_attention")
def unmasked(op: Op) -> Work:
    """q, k, v by heads; what follows them are scales, or a block mask whose blocks only a run knows."""
    return attention(*heads_first(op, 0, op.y.dims), _extra(op, None), _causal(op))


def _window(op: Op) -> Dim | None:
    """Keys that a query meets where a window bounds them on both sides; causality is a bound on the right."""
    left, right = integer(op, "window_size_left", -1), integer(op, "window_size_right", -1)
    right = 0 if integer(op, "is_causal", 0) else right
    return left + 1 + right if left >= 0 and right >= 0 else None


@aten("attention", "_flash_attention_forward")
def flash(op: Op) -> Work:
    """q, k, v by length, ends of packed sequences at input 3."""
    sizes = length_first(op, 0, 3, "max_k", _window(op))
    return attention(*sizes, _extra(op, None), _causal(op))


@aten("attention", "_flash_attention_forward_no_dropout_inplace")
def flash_into(op: Op) -> Work:
    """The same into a buffer that comes first and is not read."""
    sizes = length_first(op, 1, 4, "max_k", _window(op))
    work = attention(*sizes, _extra(op, None), _causal(op))
    others = op.inputs[1:]
    read = total(tensor.nbytes for tensor in others if tensor is not None)
    return replace(work, bytes_read=read, bytes_written=total((op.x.nbytes, op.y.nbytes)))


def _efficient_window(op: Op) -> Dim | None:
    window = integer(op, "window_size", 0)
    return window if window > 0 else None


@aten("attention", "_efficient_attention_forward")
def efficient(op: Op) -> Work:
    """q, k, v by length, a bias at input 3, ends of packed sequences at 4."""
    sizes = length_first(op, 0, 4, "max_seqlen_k", _efficient_window(op))
    return attention(*sizes, _extra(op, 3), integer(op, "custom_mask_type", 0) > 0)


@aten("attention", "_cudnn_attention_forward")
def cudnn(op: Op) -> Work:
    """q, k, v by heads, or packed by length with the ends at input 4; a bias at 3."""
    packed = given(op, 4)
    sizes = length_first(op, 0, 4, "max_k", None) if packed else heads_first(op, 0, op.y.dims)
    return attention(*sizes, _extra(op, 3), _causal(op))


# -- gradients ---------------------------------------------------------------------------------------------------------


def backward(sizes: Sizes, extra: int) -> Work:
    """The scores once more, and a product for each of dV, dP, dQ and dK; dO * O is summed for every query.

    Source: Dao et al. 2022, FlashAttention, algorithm 4.
    """
    scores = _scores(sizes)
    work = attention(*sizes)
    flops = product((2, scores, total((3 * sizes.d_qk, 2 * sizes.d_v))))
    rows = product((2, sizes.b, sizes.heads, sizes.q_len, sizes.d_v))
    return replace(work, matmul_flops=flops, other_flops=total(((BACKWARD + extra) * scores, rows)))


@aten(
    "attention",
    "_scaled_dot_product_flash_attention_backward _scaled_dot_product_cudnn_attention_backward",
)
def unmasked_backward(op: Op) -> Work:
    """grad, q, k, v by heads."""
    return backward(heads_first(op, 1), _extra(op, None))


@aten(
    "attention",
    "_scaled_dot_product_efficient_attention_backward "
    "_scaled_dot_product_fused_attention_overrideable_backward",
)
def masked_backward(op: Op) -> Work:
    """grad, q, k, v by heads, and a bias at input 4."""
    return backward(heads_first(op, 1), _extra(op, 4))


@aten("attention", "_scaled_dot_product_flash_attention_for_cpu_backward")
def cpu_backward(op: Op) -> Work:
    """grad, q, k, v by heads, and a mask at input 6."""
    return backward(heads_first(op, 1), _extra(op, 6))


@rule("attention", "higher_order::flex_attention_backward")
def flex_backward(op: Op) -> Work:
    """q, k, v by heads, then results and their gradients."""
    return backward(heads_first(op, 0), 0)


@aten("attention", "_flash_attention_backward")
def flash_backward(op: Op) -> Work:
    """grad, q, k, v by length; ends of packed sequences at input 6."""
    return backward(length_first(op, 1, 6, "max_k", _window(op)), _extra(op, None))


@aten("attention", "_efficient_attention_backward")
def efficient_backward(op: Op) -> Work:
    """grad, q, k, v by length; a bias at input 4, ends of packed sequences at 6."""
    sizes = length_first(op, 1, 6, "max_seqlen_k", _efficient_window(op))
    return backward(sizes, _extra(op, 4))


# -- attention with its projections ------------------------------------------------------------------------------------


@aten("attention", "_native_multi_head_attention _triton_multi_head_attention")
def multi_head(op: Op) -> Work:
    """query, key and value[b, s, d] projected by [3d, d], attention, [d, d], the biases; averaged weights if needed."""
    work = _multi_head(op, shape(op, 0, 3), shape(op, 1, 3), positive(op, "num_head"), 7)
    if not integer(op, "need_weights", 0) or not integer(op, "average_attn_weights", 1):
        return work
    q, k = shape(op, 0, 3), shape(op, 1, 3)
    return plus(work, product((positive(op, "num_head"), q[0], q[1], k[1])))


def _multi_head(op: Op, q: tuple[Dim, ...], k: tuple[Dim, ...], heads: int, mask: int) -> Work:
    d = divide(q[2], heads)
    core = attention(q[0], heads, heads, q[1], k[1], d, d, given(op, mask))
    rows = total((product(q[:2]), product(k[:2])))  # queries and results; keys and values
    return plus(projected(core, rows, product((2, q[2])), q[2]), product((2, rows, q[2])))


@aten("attention", "_transformer_encoder_layer_fwd")
def encoder_layer(op: Op) -> Work:
    """Attention, its projections, two layers with an activation, two layer norms (7) and two skips."""
    x, ffn = shape(op, 0, 3), shape(op, 9, 2)
    work = _multi_head(op, x, x, positive(op, "num_heads"), 13)
    rows, activation = product(x[:2]), 5 if integer(op, "use_gelu", 0) else 1
    flops = total((work.matmul_flops, product((4, rows, ffn[0], ffn[1]))))
    around = product((rows, total((product((1 + activation, ffn[0])), product((17, ffn[1]))))))
    return plus(replace(work, matmul_flops=flops), around)


@aten("shape", "_fused_sdp_choice")
def choice(op: Op) -> Work:
    """Which kernel to call: the host's."""
    return Work(bytes_read=0, bytes_written=0)
