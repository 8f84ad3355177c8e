"""Fourier transforms: 5 n log2 n FLOPs of a complex transform of length n, half that of a real one, as for ONNX."""

from __future__ import annotations

import onnx_ir

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given, positive, result, shape, sizes
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import elements, plus
from energy_opt.ir.rules.signal import fft


def _axes(op: Op, rank: int) -> list[int]:
    """The dims of the transform, the last one last; left out, as many as sizes are given, or all."""
    axes = sizes(op, "dim") or tuple(range(-(len(sizes(op, "s")) or rank), 0))
    if not all(isinstance(axis, int) and -rank <= axis < rank for axis in axes):
        raise ValueError(f"dims {axes} of a tensor of rank {rank}")
    return [int(axis) % rank for axis in axes]


def _along(dims: tuple[Dim, ...], axis: int, n: Dim, real: bool) -> Dim:
    """FLOPs of the transforms of length n along one axis of a tensor."""
    return fft(product((*dims[:axis], *dims[axis + 1 :])), n, real).other_flops


def _given_length(op: Op, default: Dim) -> Dim:
    """The length that argument `n`, or the last of `s`, asks for."""
    asked = (*sizes(op, "s"), *sizes(op, "n"))
    if not asked or asked[-1] == -1:
        return default
    if isinstance(asked[-1], int) and asked[-1] < 1:
        raise ValueError(f"a transform of length {asked[-1]}")
    return asked[-1]


@aten("fft", "fft_fft fft_ifft fft_fft2 fft_ifft2 fft_fftn fft_ifftn _fft_c2c")
def complex_transform(op: Op) -> Work:
    """Transforms along each dim in turn; a given length pads or cuts the input first."""
    dims = op.y.dims
    return Work(other_flops=total(_along(dims, a, dims[a], False) for a in _axes(op, len(dims))))


@aten("fft", "fft_rfft fft_rfft2 fft_rfftn fft_ihfft fft_ihfft2 fft_ihfftn _fft_r2c")
def real_to_complex(op: Op) -> Work:
    """Real transforms along the last of the dims, complex ones of what is left along the others."""
    half = result(op, 0, 1)
    *others, last = _axes(op, len(half))
    n = _given_length(op, shape(op, 0, last + 1)[last])
    first = _along(half, last, n, True)
    return Work(other_flops=total((first, *(_along(half, a, half[a], False) for a in others))))


@aten("fft", "fft_irfft fft_irfft2 fft_irfftn fft_hfft fft_hfft2 fft_hfftn _fft_c2r")
def complex_to_real(op: Op) -> Work:
    """The same backwards: complex transforms along the other dims, then real results along the last."""
    full = result(op, 0, 1)
    *others, last = _axes(op, len(full))
    half = (*full[:last], _half(full[last]), *full[last + 1 :])
    final = _along(full, last, full[last], True)
    return Work(other_flops=total((final, *(_along(half, a, half[a], False) for a in others))))


def _half(n: Dim) -> Dim:
    return n // 2 + 1 if isinstance(n, int) else n / 2 + 1


@aten("fft", "stft")
def stft(op: Op) -> Work:
    """Windowed frames of n_fft: a product per element where there is a window, then a transform of each."""
    n = positive(op, "n_fft")
    count = _frames(op.y.dims, bool(op.attr("return_complex", _is_complex(op.y.dtype))))
    work = fft(count, n, real=not _is_complex(op.x.dtype))
    return plus(work, product((given(op, 1), count, n)))


@aten("fft", "istft")
def istft(op: Op) -> Work:
    """Transforms of the frames, windowed, overlapped and added: 2 per element, and a division per sample."""
    n = positive(op, "n_fft")
    count = _frames(shape(op, 0, 2), complex_last=_is_complex(op.x.dtype))
    work = fft(count, n, real=not bool(op.attr("return_complex", 0)))
    return plus(work, total((product((1 + given(op, 1), count, n)), elements(op.y))))


def _is_complex(dtype: object) -> bool:
    return dtype in (onnx_ir.DataType.COMPLEX64, onnx_ir.DataType.COMPLEX128)


def _frames(spectrum: tuple[Dim, ...], complex_last: bool) -> Dim:
    """How many frames spectrum[.., frequencies, frames] has; pairs of floats are one dim more."""
    dims = spectrum if complex_last else spectrum[:-1]
    if len(dims) < 2:
        raise ValueError("a spectrum has frequencies and frames")
    return product((*dims[:-2], dims[-1]))
