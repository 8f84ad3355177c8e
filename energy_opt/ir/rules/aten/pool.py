"""Pools, interpolations and samplers, with the counts of the ONNX ops; a pool counts its kernel for every result."""

from __future__ import annotations

from collections.abc import Callable

from energy_opt.ir.dims import Dim, product
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import integer, result, shape, sizes
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import elements, interpolation, least, moved, nbytes, per_input
from energy_opt.ir.rules.registry import rule


def kernel(op: Op) -> Dim:
    """Elements of the kernel; one size stands for every dim that is pooled. Raises ValueError where it is none."""
    size = sizes(op, "kernel_size")
    if not size or any(isinstance(dim, int) and dim < 1 for dim in size):
        raise ValueError(f"a pool with kernel_size {size}")
    rank = next((int(letter) for letter in op.op_type if letter.isdigit()), len(size))
    return product(size if len(size) > 1 else size * rank)


def _pool(of: Callable[[Op], Dim]) -> Callable[[Op], Work]:
    """A rule that counts the kernel for every element that `of` gives."""
    return lambda op: Work(other_flops=product((kernel(op), of(op))))


aten(
    "pool",
    "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices "
    "max_pool3d_with_indices mkldnn_max_pool2d mkldnn_max_pool3d quantized_max_pool1d quantized_max_pool2d "
    "quantized_max_pool3d fractional_max_pool2d fractional_max_pool3d",
)(_pool(lambda op: elements(op.y)))
# every input belongs to one region
aten(
    "pool",
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
    "adaptive_max_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d mkldnn_adaptive_avg_pool2d",
)(per_input(1))
# a gradient of an average is added to every element of its kernel
aten("pool", "avg_pool2d_backward avg_pool3d_backward")(_pool(lambda op: elements(op.x)))
aten(
    "pool",
    "_adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward adaptive_avg_pool3d_backward "
    "mkldnn_adaptive_avg_pool2d_backward",
)(lambda op: Work(other_flops=elements(op.y), bytes_read=nbytes(op.x)))


@aten(
    "scatter",
    "max_pool2d_with_indices_backward max_pool3d_with_indices_backward adaptive_max_pool2d_backward "
    "adaptive_max_pool3d_backward fractional_max_pool2d_backward fractional_max_pool3d_backward max_pool2d_backward "
    "mkldnn_max_pool2d_backward mkldnn_max_pool3d_backward",
)
def max_pool_backward(op: Op) -> Work:
    """Every gradient added where its maximum was: gradients and places read, or else the input to find them."""
    read = nbytes(op.x, *(op.inputs[2:] or op.inputs[1:]))
    return Work(other_flops=elements(op.x), bytes_read=read)


@aten("scatter", "max_unpool2d max_unpool3d")
def max_unpool(op: Op) -> Work:
    """Values and indices read, the zero-filled output written."""
    return moved(nbytes(op.x, op.need(1)), nbytes(op.y))


_MODES = {
    "nearest": "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d",
    "linear": "upsample_linear1d upsample_bilinear2d upsample_trilinear3d",
    "cubic": "upsample_bicubic2d",
}


def _upsample(mode: str) -> Callable[[Op], Work]:
    def upsample(op: Op) -> Work:
        """One interpolation per result over the dims that change; nearest moves elements and computes nothing."""
        x, y = op.x.dims, op.y.dims
        changed = sum(before != after for before, after in zip(x, y, strict=True))
        flops = interpolation(mode, changed)
        read = nbytes(op.x) if flops else least(nbytes(op.x), nbytes(op.y))
        kind = None if changed else "copy"
        return Work(other_flops=flops * elements(op.y), bytes_read=read, kind=kind)

    return upsample


def _upsample_backward(mode: str) -> Callable[[Op], Work]:
    def upsample_backward(op: Op) -> Work:
        """Every gradient shared out among the inputs of its interpolation; nearest adds it to one."""
        return Work(
            other_flops=max(interpolation(mode, len(shape(op, 0, 3)) - 2), 1) * elements(op.x)
        )

    return upsample_backward


for _mode, _names in _MODES.items():
    aten("resize", _names)(_upsample(_mode))
    aten("resize", " ".join(f"{name}_backward" for name in _names.split()))(
        _upsample_backward(_mode)
    )


def _antialiased(op: Op, taps: int, of: Dim) -> Work:
    """Weighted sums along each dim in turn; a kernel is wider by the factor that the image gets smaller."""
    per_result = 0
    large, small = (op.x.dims[2:], op.y.dims[2:])
    for before, after in zip(large, small, strict=True):
        shrinks = isinstance(before, int) and isinstance(after, int) and before > after > 0
        wide = -(-taps * before // after) if shrinks else taps
        per_result += 2 * wide - 1
    return Work(other_flops=per_result * of)


_TAPS = {"_upsample_bilinear2d_aa": 2, "_upsample_bicubic2d_aa": 4, "_upsample_lanczos2d_aa": 6}


@aten("resize", " ".join(_TAPS))
def upsample_smooth(op: Op) -> Work:
    """Two passes of weighted sums, counted per result."""
    return _antialiased(op, _TAPS[op.op_type], elements(op.y))


@aten("resize", " ".join(f"{name}_backward" for name in _TAPS))
def upsample_smooth_backward(op: Op) -> Work:
    """As many products and sums, counted per gradient."""
    taps = _TAPS[op.op_type.removesuffix("_backward")]
    swapped = Op(op.domain, op.op_type, op.version, op.outputs, (op.x,))
    return _antialiased(swapped, taps, elements(op.x))


_SAMPLERS = ("linear", "nearest", "cubic")


def _sample(op: Op, of: Dim, rank: int) -> Work:
    mode = integer(op, "interpolation_mode", 0)
    if not 0 <= mode < len(_SAMPLERS):
        raise ValueError(f"interpolation_mode {mode}")
    return Work(other_flops=interpolation(_SAMPLERS[mode], rank) * of)


@aten(
    "resize",
    "grid_sampler grid_sampler_2d grid_sampler_3d _grid_sampler_2d_cpu_fallback cudnn_grid_sampler",
)
def grid_sample(op: Op) -> Work:
    """One interpolation per result over as many dims as the grid has coordinates."""
    return _sample(op, elements(op.y), len(shape(op, 0, 3)) - 2)


@aten(
    "resize",
    "grid_sampler_2d_backward grid_sampler_3d_backward cudnn_grid_sampler_backward "
    "_grid_sampler_2d_cpu_fallback_backward",
)
def grid_sample_backward(op: Op) -> Work:
    """The interpolation's products again, for the image and for the grid."""
    return _sample(op, 2 * elements(op.x), len(shape(op, 0, 3)) - 2)


@aten("elementwise", "affine_grid_generator cudnn_affine_grid_generator")
def affine_grid(op: Op) -> Work:
    """d products and d sums per coordinate of a d-dimensional grid."""
    return Work(other_flops=2 * (len(result(op, 0, 3)) - 2) * elements(op.y))


@aten("elementwise", "affine_grid_generator_backward cudnn_affine_grid_generator_backward")
def affine_grid_backward(op: Op) -> Work:
    """The same products, summed over the grid."""
    return Work(other_flops=2 * (len(shape(op, 0, 3)) - 2) * elements(op.x))


@rule("resize", "torchvision::roi_align", "torchvision::ps_roi_align")
def roi_align(op: Op) -> Work:
    """Bilinear samples and their average per result; an adaptive sampling_ratio (0 or less) is taken as 1."""
    samples = max(integer(op, "sampling_ratio", 1), 1) ** 2
    return Work(other_flops=samples * (interpolation("linear", 2) + 1) * elements(op.y))


@rule("pool", "torchvision::roi_pool", "torchvision::ps_roi_pool")
def roi_pool(op: Op) -> Work:
    """One comparison or sum per result, the least: how many elements a region holds depends on the data."""
    return Work(other_flops=elements(op.y))
