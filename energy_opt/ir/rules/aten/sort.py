"""Sorting and searching: n log2 n comparisons, logarithms rounded up, as for ONNX."""

from __future__ import annotations

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import axis_of, shape
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import elements, log2, nbytes
from energy_opt.ir.rules.registry import rule
from energy_opt.ir.rules.sort import suppression


def _sorted(op: Op, default: int | None) -> Dim:
    """Comparisons of a sort along `dim`; of everything where neither the op nor the default names one."""
    dims = op.x.dims
    if default is None and op.attr("dim") is None:
        length: Dim = elements(op.x)
    else:
        length = dims[axis_of(op, len(dims), default or 0, "dim")] if dims else 1
    return product((elements(op.x), log2(length)))


@aten("sort", "topk sort argsort kthvalue mode")
def sort(op: Op) -> Work:
    """n log2 n comparisons per row of n along `dim`, the last where it is left out."""
    return Work(other_flops=_sorted(op, -1), bytes_read=nbytes(op.x))


@aten("sort", "msort")
def sort_first(op: Op) -> Work:
    """The same along the first dim."""
    return Work(other_flops=_sorted(op, 0))


@aten("sort", "median nanmedian")
def median(op: Op) -> Work:
    """A sort along `dim`, of all elements where it is left out."""
    return Work(other_flops=_sorted(op, None))


@aten("sort", "quantile nanquantile")
def quantile(op: Op) -> Work:
    """A sort along `dim`, then an interpolation of 3 FLOPs per result."""
    return Work(other_flops=total((_sorted(op, None), 3 * elements(op.y))))


@aten("sort", "unique_dim _unique _unique2")
def unique(op: Op) -> Work:
    """n log2 n comparisons of all elements."""
    count = elements(op.x)
    return Work(other_flops=product((count, log2(count))))


@aten("sort", "unique_consecutive unique_dim_consecutive")
def unique_consecutive(op: Op) -> Work:
    """Every element compared with the one before."""
    return Work(other_flops=elements(op.x))


@aten("sort", "searchsorted")
def search(op: Op) -> Work:
    """A binary search in sequences[.., n] per result."""
    return Work(other_flops=product((elements(op.y), log2(shape(op, 0, 1)[-1]))))


@aten("sort", "bucketize")
def bucketize(op: Op) -> Work:
    """A binary search in boundaries[n], the last operand, per result."""
    boundaries = op.need(max(len(op.inputs) - 1, 0))
    return Work(other_flops=product((elements(op.y), log2(elements(boundaries)))))


@aten("sort", "histogram histogramdd _histogramdd_from_bin_cts _histogramdd_from_bin_tensors")
def histogram(op: Op) -> Work:
    """A binary search among the bins and a sum per element."""
    bins = elements(op.y)
    return Work(other_flops=product((elements(op.x), total((log2(bins), 1)))))


@aten("reduction", "_histogramdd_bin_edges")
def bin_edges(op: Op) -> Work:
    """The least and the greatest element."""
    return Work(other_flops=2 * elements(op.x))


@rule("sort", "torchvision::nms")
def non_max_suppression(op: Op) -> Work:
    """boxes[n, 4], scores[n]: a sort, and an overlap per box: how many pairs meet depends on the data."""
    return suppression(op, 1, shape(op, 1, 1)[0])
