"""Formulas that several vocabularies share: products, attention, elements, bytes. All counts are exact Dims.

A vocabulary's rules (ONNX, com.microsoft, aten) read problem sizes from operands and hand them to these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import sympy

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Tensor, Work

SOFTMAX = 5
"""FLOPs per element of a softmax: max, subtract, exp, sum, divide."""

QUANTIZE = 4
"""FLOPs per element of a quantisation: divide, round, add the zero point, saturate."""

DEQUANTIZE = 2
"""FLOPs per element of a dequantisation: subtract the zero point, multiply."""

ROTARY = 3
"""FLOPs per rotated element: two products and their sum or difference."""

ACTIVATION = {
    "relu": 1, "tanh": 1, "identity": 0, "affine": 2, "scaledtanh": 3, "leakyrelu": 2,
    "thresholdedrelu": 1, "clip": 2, "softplus": 3, "softsign": 3, "elu": 4, "sigmoid": 4,
    "hardsigmoid": 4, "hardswish": 5, "silu": 5, "swish": 5, "gelu": 5, "quickgelu": 6, "swiglu": 6,
    "fastgelu": 8, "softmax": 5, "none": 0, "": 0,
}  # fmt: skip
"""FLOPs per element of the activations that fused ops name, in lower case."""


def activation_flops(name: object) -> int:
    """FLOPs per element of a fused activation; 1 for a name that is not known."""
    return ACTIVATION.get(str(name or "").lower(), 1)


def elements(tensor: Tensor | None) -> Dim:
    """Number of elements; 0 for an omitted operand. Raises ValueError where the shape is unknown."""
    return 0 if tensor is None else product(tensor.dims)


def nbytes(*tensors: Tensor | None) -> Dim:
    """Bytes of all the tensors together. Raises ValueError where a shape is unknown."""
    for tensor in tensors:
        if tensor is not None and tensor.shape is None:
            raise ValueError("shape unknown")
    return total(tensor.nbytes for tensor in tensors if tensor is not None)


def divide(dim: Dim, by: Dim) -> Dim:
    """`dim / by` where it is known to divide, such as channels by groups.

    Raises:
        ValueError: the divisor is not positive, or integers do not divide.
    """
    if isinstance(by, int) and by < 1:
        raise ValueError(f"cannot divide {dim} into {by} parts")
    if isinstance(dim, int) and isinstance(by, int):
        if dim % by:
            raise ValueError(f"{dim} is not a multiple of {by}")
        return dim // by
    return sympy.sympify(dim) / by


def least(a: Dim, b: Dim) -> Dim:
    """The smaller of the two."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a if a == b else sympy.Min(a, b)


def log2(dim: Dim) -> Dim:
    """Base-2 logarithm rounded up, at least 1: the depth of a balanced sort or transform of that length."""
    if isinstance(dim, int):
        return max(1, (dim - 1).bit_length())
    # The margin keeps powers of two from being rounded up by float error; exact below 2**29.
    exact = sympy.log(dim) / sympy.log(2) - sympy.Rational(1, 10**9)
    return sympy.Max(1, sympy.ceiling(exact))


def part(dim: Dim, of: int) -> Dim:
    """One `of`-th of a count, rounded down where it is an integer."""
    return dim // of if isinstance(dim, int) else dim / of


def interpolation(mode: str, rank: int) -> int:
    """FLOPs of one interpolated sample: a product per tap and the sums; 2 taps a dim when linear, 4 when cubic."""
    if mode.startswith("nearest") or rank < 1:
        return 0
    taps = int((4 if "cubic" in mode else 2) ** min(rank, 8))
    return 2 * taps - 1


def known(a: Dim, b: Dim) -> Dim:
    """The integer one of two names for the same dimension, or the first."""
    return b if isinstance(b, int) and not isinstance(a, int) else a


def plus(work: Work, other_flops: Dim) -> Work:
    """The work with more arithmetic outside its products: biases, activations, scales."""
    if isinstance(other_flops, int) and other_flops == 0:
        return work
    return replace(work, other_flops=total((work.other_flops, other_flops)))


def matmul(b: Dim, m: Dim, n: Dim, k: Dim) -> Work:
    """`b` products of [m, k] by [k, n]: 2*b*m*n*k FLOPs; bytes are the operands' own."""
    sizes = (("b", b), ("m", m), ("n", n), ("k", k))
    return Work(matmul_flops=product((2, b, m, n, k)), sizes=sizes)


_CAUSAL = (("causal", 1),)


def attention(
    b: Dim,
    heads_q: Dim,
    heads_kv: Dim,
    q_len: Dim,
    kv_len: Dim,
    d_qk: Dim,
    d_v: Dim,
    extra: int = 0,
    causal: bool | int = False,
) -> Work:
    """Scaled dot-product attention: 2*b*heads_q*q*kv*(d_qk + d_v) FLOPs, and scale, softmax and `extra` per score.

    Every query meets every key of the shapes: a causal mask halves nothing here, though kernels skip what it hides, so
    `causal` is among the sizes. `heads_kv` shares keys and values among query heads, which changes bytes and not FLOPs.
    """
    heads = product((b, heads_q))
    scores = product((heads, q_len, kv_len))
    sizes = (("b", heads), ("q", q_len), ("kv", kv_len), ("d", d_qk), ("dv", d_v))
    return Work(
        matmul_flops=product((2, scores, total((d_qk, d_v)))),
        other_flops=product((1 + SOFTMAX + extra, scores)),
        sizes=(*sizes, ("b_kv", product((b, heads_kv))), ("batch", b), *_CAUSAL[: bool(causal)]),
    )


def per_output(flops: int) -> Callable[[Op], Work]:
    """A rule that counts so many FLOPs per element of the first output; bytes are the operands' own."""

    def elementwise(op: Op) -> Work:
        return Work(other_flops=flops * elements(op.y))

    return elementwise


def per_input(flops: int, per_result: int = 0) -> Callable[[Op], Work]:
    """A rule that counts so many FLOPs per element of the first input, and more per element of the first output."""

    def reduction(op: Op) -> Work:
        work = Work(other_flops=flops * elements(op.x))
        return plus(work, per_result * elements(op.y)) if per_result else work

    return reduction


def moved(read: Dim, written: Dim, kind: str | None = None) -> Work:
    """Work that only moves bytes."""
    return Work(bytes_read=read, bytes_written=written, kind=kind)


VIEW = Work(bytes_read=0, bytes_written=0, kind="view")
"""Work of an op that renames memory."""
