"""Tensors from nothing: read nothing, write the result. Memory that is only reserved costs nothing."""

from __future__ import annotations

from collections.abc import Callable

from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import elements, moved, nbytes


@aten(
    "copy",
    "zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full eye scalar_tensor fill* zero* "
    "_no_grad_fill_ _no_grad_zero_ _new_zeros_with_same_feature_meta from_file as_tensor tensor",
)
def filled(op: Op) -> Work:
    """Nothing read, the result written."""
    return moved(0, nbytes(op.y))


@aten(
    "shape",
    "empty empty_like empty_strided empty_permuted empty_quantized new_empty new_empty_strided "
    "_empty_affine_quantized _empty_per_channel_affine_quantized _efficientzerotensor resize resize_as _resize_output "
    "set",
)
def reserved(op: Op) -> Work:
    """No kernel: memory is reserved, or a size is noted."""
    return moved(0, 0)


def made(flops: int) -> Callable[[Op], Work]:
    """A rule for results computed from their position: so many FLOPs each, nothing read."""
    return lambda op: Work(other_flops=flops * elements(op.y), bytes_read=0)


aten(
    "elementwise",
    "arange range linspace tril_indices triu_indices fft_fftfreq fft_rfftfreq _dim_arange",
)(made(2))
aten("elementwise", "logspace")(made(3))  # and a power
# 2 products, cosine, difference
aten("elementwise", "hann_window hamming_window bartlett_window")(made(4))
# two cosines; the Bessel function of a root
aten("elementwise", "blackman_window kaiser_window")(made(7))
