"""Fourier transforms: 5 n log2 n FLOPs of a complex transform of length n, half that of a real one."""

from __future__ import annotations

from energy_opt.ir.dims import Dim, product
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given, integer, shape
from energy_opt.ir.rules.formulas import log2, part, per_output, plus
from energy_opt.ir.rules.registry import rule

rule("elementwise", "HannWindow", "HammingWindow")(
    per_output(4)
)  # multiply, cos, multiply, subtract
rule("elementwise", "BlackmanWindow")(per_output(7))  # two cosines
rule("elementwise", "MelWeightMatrix")(per_output(4))  # rising and falling slope of a triangle
# The convention of FFT benchmarks: https://www.fftw.org/speed/method.html


def fft(count: Dim, n: Dim, real: bool) -> Work:
    """`count` transforms of length n."""
    flops = product((5, count, n, log2(n)))
    return Work(other_flops=part(flops, 2) if real else flops)


def _axis(op: Op, rank: int) -> int:
    """DFT's axis: an attribute with default 1 until opset 19, then an input with default -2."""
    chosen = op.input(2)
    axis = (
        integer(op, "axis", -2 if op.version >= 20 else 1)
        if chosen is None
        else (chosen.values or (None,))[0]
    )
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise ValueError("the axis of the transform is not known")
    return axis % rank


@rule("fft", "DFT")
def dft(op: Op) -> Work:
    """Transforms along one axis of x[.., 1 or 2]; a given length pads or cuts them."""
    dims = shape(op, 0, 2)
    axis, length = _axis(op, len(dims)), op.input(1)
    n = length.values[0] if length is not None and length.values else dims[axis]
    return fft(product((*dims[:axis], *dims[axis + 1 : -1])), n, dims[-1] == 1)


@rule("fft", "STFT")
def stft(op: Op) -> Work:
    """Windowed frames: a product per element where there is a window, then a transform of each."""
    frames, signal, length = product(op.y.dims[:2]), shape(op, 0, 2), op.input(3)
    n = length.values[0] if length is not None and length.values else shape(op, 2, 1)[0]
    work = fft(frames, n, len(signal) == 2 or signal[-1] == 1)
    return plus(work, product((given(op, 2), frames, n)))


@rule("fft", "com.microsoft::Rfft")
def rfft(op: Op) -> Work:
    """Real transforms along the last axis."""
    dims = shape(op, 0, 1)
    return fft(product(dims[:-1]), dims[-1], real=True)


@rule("fft", "com.microsoft::Irfft")
def irfft(op: Op) -> Work:
    """Inverse transforms to real results along the last axis."""
    dims = op.y.dims or (1,)
    return fft(product(dims[:-1]), dims[-1], real=True)
