"""Convolutions on a GPU: direct as implicit products, or by Winograd's transforms where the kernel is 3 by 3."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from energy_opt.estimators.forms.form import At, Chip, Parameter, Parts
from energy_opt.estimators.forms.roofline import p_norm
from energy_opt.estimators.forms.tiles import (
    CAP,
    COMPUTE,
    DEPTH,
    EDGE,
    MEMORY,
    NORM,
    START,
    WEIGHT,
    rate_of,
    throttled,
)
from energy_opt.estimators.work import RowWork, suits_winograd
from energy_opt.ir.dims import Value

_DIRECT = ((128, 32), (128, 64), (128, 128))
_PRODUCTS = ((64, 64), (64, 128), (128, 64), (128, 128))
_FUSED = ((32, 32), (64, 32))
_PLANE = ("images", "rows", "columns", "inputs", "side")


class Winograd:
    """The quickest of three: direct; F(2x2, 3x3) in one kernel; F(4x4, 3x3) as 36 products between two transforms.

    The latter two where the sizes say a side of 3, one group, and as many inputs as a stride of 1 has. Their FLOPs are
    fewer than the row's.
    """

    needs: ClassVar[frozenset[str]] = frozenset("mnk")
    _own: ClassVar[tuple[Parameter, ...]] = (
        START, COMPUTE, MEMORY, NORM, WEIGHT, EDGE, DEPTH,
        Parameter("direct", "1", 0.7, 1e-2, 1.0, "attained share of the peak, direct"),
        Parameter("direct_edge", "1", 1.0, 0.0, 100.0, "what a small tile costs there, as a length"),
        Parameter("fused", "1", 0.6, 1e-2, 1.0, "attained share of the peak, F(2x2, 3x3)"),
        Parameter("transforms_s", "s", 5e-5, 0.0, 1.0, "starts of the transforms' own kernels"),
        Parameter("transform", "1", 0.5, 1e-2, 1.0, "attained share of the bandwidth in transforms"),
        Parameter("prepare", "1", 0.3, 1e-3, 1.0, "... in the transform of the weights"),
    )  # fmt: skip

    def __init__(self, name: str, *, capped: bool = False) -> None:
        """Where `capped`, a power cap slows down long ones, as it does products."""
        self.name, self._capped = name, capped
        self.parameters = self._own + (CAP if capped else ())

    def parts(self, work: RowWork, chip: Chip, at: At) -> Parts:
        """Seconds of one execution of the work; the sizes say which ways there are."""
        sizes = work.sizes
        rate = rate_of(chip, at, "direct", "direct_edge")
        compute = work.matmul_flops / rate.flops_per_s
        if self.needs <= sizes.keys():
            product = (sizes.get("b", 1.0), sizes["m"], sizes["n"], sizes["k"])
            compute = np.maximum(compute, rate.quickest(*product, _DIRECT))
        compute = self._throttled(compute + work.other_flops / chip.vector, at)
        memory = work.bytes / (chip.bandwidth * at["memory"])
        direct = p_norm(compute, memory, at["norm"])
        if not np.any(suits_winograd(work)):
            return Parts(at["start_s"] + direct, compute, memory, at["start_s"])
        channels = sizes["k"] / 9.0
        weights_s = 4.0 * channels * sizes["n"] / (chip.bandwidth * at["prepare"])
        fused = self._fused(work, chip, at, channels) + 25.0 * weights_s
        products, traffic = self._products(work, chip, at, channels)
        unfused = p_norm(products, traffic, at["norm"]) + at["transforms_s"] + 45.0 * weights_s
        unfused = unfused + self._moved(work, channels) / (chip.bandwidth * at["transform"])
        best = np.minimum(fused + 0.5 * at["transforms_s"], unfused)
        total = np.where(suits_winograd(work), np.minimum(direct, best), direct)
        # What the convolution's arithmetic takes is what remains beside the traffic, whichever way it is done.
        return Parts(at["start_s"] + total, np.minimum(compute, total), memory, at["start_s"])

    def _throttled(self, compute: Value, at: At) -> Value:
        return throttled(compute, at) if self._capped else compute

    def _fused(self, work: RowWork, chip: Chip, at: At, channels: Value) -> Value:
        rate = rate_of(chip, at, "fused", "direct_edge")
        places = _places(work, 2)
        products = rate.quickest(16.0, places, work.sizes["n"], channels, _FUSED)
        memory = work.bytes / (chip.bandwidth * at["memory"])
        return p_norm(self._throttled(products, at), memory, at["norm"])

    def _products(self, work: RowWork, chip: Chip, at: At, channels: Value) -> tuple[Value, Value]:
        n, places = work.sizes["n"], _places(work, 4)
        products = rate_of(chip, at).quickest(36.0, places, n, channels, _PRODUCTS)
        moved = 36.0 * 4.0 * (places * channels + channels * n + places * n)
        return self._throttled(products, at), moved / (chip.bandwidth * at["memory"])

    @staticmethod
    def _moved(work: RowWork, channels: Value) -> Value:
        """Bytes that the transforms of input and output move, in float32."""
        return work.bytes + 36.0 * 4.0 * _places(work, 4) * (channels + work.sizes["n"])


def _places(work: RowWork, side: int) -> Value:
    """Output tiles of that side over all images."""
    sizes = work.sizes
    return sizes["images"] * np.ceil(sizes["rows"] / side) * np.ceil(sizes["columns"] / side)
