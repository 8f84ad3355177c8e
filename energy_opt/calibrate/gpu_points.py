"""What is timed on a GPU: points for energy and points for latency only, within eight minutes altogether.

Source of the counts: docs/estimators.md, "Calibrating".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from energy_opt.calibrate.backend import PLAIN, Setting
from energy_opt.calibrate.draw import GPU, Means, draw, in_dtype
from energy_opt.calibrate.primitives import Primitive, TensorSpec
from energy_opt.calibrate.schedule import Point
from energy_opt.errors import CalibrationError, UsageError
from energy_opt.estimators.device import Device
from energy_opt.measure.meters import Meter

DTYPES = ("float32", "tf32", "bfloat16", "float16", "int8", "float8")
"""Types of products, by the names that profiles have."""
_TORCH = {"int8": "int8", "float8": "float8_e4m3fn"}
TF32 = Setting(math="tf32")
ATTENTION = ("flash", "efficient", "cudnn", "math")
MEMORY = ("elementwise", "softmax", "norm", "reduction", "pool", "gather", "copy")
EXECUTION_S = 6e-3
"""One execution takes no longer at the datasheet's peak, so that points stay short on any device."""
_BUSY = 0.1


def points(
    *,
    dtypes: Sequence[str] | None = None,
    models: Sequence[Any] = (),
    runtime: str | None = None,
    means: Means = GPU,
    device: Device | None = None,
    seed: int = 0,
    scale: float = 1.0,
) -> list[Point]:
    """The points of a full calibration; `scale` below 1 draws fewer of each.

    What one execution may compute is bounded by `means`, and by some milliseconds at the peaks of `device` if given.

    With `models` the operators of these graphs are timed for latency beside them, and a part of them for energy.

    Raises:
        UsageError: a runtime or type that is not timed on GPUs.
    """
    if runtime not in (None, "eager", "graph"):
        raise UsageError(
            f"runtime {runtime} is not timed on GPUs; there are eager and graph, whose kernels are alike"
        )
    wanted = _wanted(dtypes)
    drawing = _Drawing(wanted, means, seed, scale, device)
    made = [*drawing.energy(), *drawing.latency(), *drawing.inputs(), *drawing.kernels()]
    for model in models:
        made += drawing.of_model(model)
    return list({point.key: point for point in made}.values())


def _wanted(dtypes: Sequence[str] | None) -> tuple[str, ...]:
    short = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "fp8": "float8"}
    wanted = tuple(dict.fromkeys(short.get(d, d) for d in dtypes)) if dtypes else DTYPES
    for dtype in wanted:
        if dtype not in DTYPES:
            raise UsageError(f"type {dtype!r} is not timed on GPUs; there are {', '.join(DTYPES)}")
    return wanted


class _Drawing:
    """Draws for one calibration: a seed of its own for each sort of point, so that none depends on another."""

    def __init__(
        self, dtypes: Sequence[str], means: Means, seed: int, scale: float, device: Device | None
    ) -> None:
        self.dtypes, self.means, self.scale = tuple(dtypes), means, scale
        self._seed, self._device = seed, device

    def _means(self, dtype: str) -> Means:
        if self._device is None:
            return self.means
        device, flops = self._device, EXECUTION_S * self._device.peak(dtype)
        nbytes = min(EXECUTION_S * device.mem_bw_bytes_per_s, (device.memory_bytes or 8e9) / 16)
        return Means(min(self.means.flops, flops), min(self.means.nbytes, nbytes), self.means.batch)

    def _draw(self, count: float, dtype: str, sort: int, *kinds: str) -> list[Primitive]:
        number = max(1, round(count * self.scale))
        source = "float32" if dtype in ("tf32", *_TORCH) else dtype
        seeds = np.random.SeedSequence([self._seed, sort, sum(dtype.encode())]).generate_state(1)
        # A draw holds at least one of every operator: of these some are taken at random.
        found = draw(
            max(number, 12), dtype=source, means=self._means(dtype), seed=int(seeds[0]), kinds=kinds
        )
        order = np.random.default_rng(int(seeds[0])).permutation(len(found))
        return [found[index] for index in sorted(order[:number])]

    def products(self, count: float, dtype: str, sort: int, *, energy: bool) -> list[Point]:
        """Products in any of the types: narrow ones by the operators that take them."""
        drawn = self._draw(count, dtype, sort, "matmul")
        if dtype in _TORCH:
            drawn = [narrow(primitive, dtype) for primitive in drawn]
        setting = TF32 if dtype == "tf32" else PLAIN
        return [Point(primitive, setting, energy) for primitive in drawn]

    def energy(self) -> list[Point]:
        """90 products over the types, 70 memory-bound, 20 of attention, 24 convolutions, 10 products of few rows."""
        made = [p for d in self.dtypes for p in self.products(90 / len(DTYPES), d, 1, energy=True)]
        for dtype in self._main():
            share = 1 / len(self._main())
            for kind in MEMORY:
                drawn = self._draw(70 * share / len(MEMORY), dtype, 2, kind)
                made += [Point(primitive, energy=True) for primitive in drawn]
            drawn = self._draw(20 * share, dtype, 3, "attention")
            drawn += self._draw(16 * share, dtype, 4, "conv")
            made += [Point(primitive, energy=True) for primitive in drawn]
            rows = self._draw(10 * share, dtype, 5, "matmul")
            made += [Point(few_rows(p), energy=True) for p in rows]
        if "tf32" in self.dtypes:
            made += [Point(p, TF32, True) for p in self._draw(8, "tf32", 9, "conv")]
        return made

    def latency(self) -> list[Point]:
        """Some 450 points of which only the latency is wanted: 40 of each kind and type settle more than a line."""
        made = [p for d in self.dtypes for p in self.products(30, d, 6, energy=False)]
        counts = {"attention": 34, "conv": 34, **dict.fromkeys(MEMORY, 8)}
        for dtype in self._main():
            for number, (kind, count) in enumerate(counts.items()):
                made += [Point(p) for p in self._draw(count, dtype, 10 + number, kind)]
        if "tf32" in self.dtypes:
            made += [Point(p, TF32) for p in self._draw(34, "tf32", 30, "conv")]
            made += [Point(p, TF32) for p in self._draw(16, "tf32", 31, "attention")]
        return made

    def _main(self) -> list[str]:
        """float32 and one type of half precision, whose kernels are the other's too."""
        half = [d for d in ("bfloat16", "float16") if d in self.dtypes][:1]
        return [*(["float32"] if "float32" in self.dtypes or not half else []), *half]

    def inputs(self) -> list[Point]:
        """8 points on what is computed on: four products with random operands and with zeros."""
        dtype = next((d for d in ("bfloat16", "float16", "float32") if d in self.dtypes), "float32")
        chosen = self._draw(4, dtype, 7, "matmul")
        return [Point(p, Setting(data=data), True) for p in chosen for data in ("normal", "zeros")]

    def kernels(self) -> list[Point]:
        """Attention by each kernel there is, for what the runtime's own choice is worth."""
        dtype = next((d for d in ("bfloat16", "float16", "float32") if d in self.dtypes), "float32")
        chosen = self._draw(4, dtype, 8, "attention")
        return [Point(p, Setting(attention=kernel)) for p in chosen for kernel in ATTENTION]  # type: ignore[arg-type]

    def of_model(self, model: Any) -> list[Point]:
        """The operators of a user's graph, in its own types, and their products in tf32 where that is wanted."""
        from energy_opt.calibrate.cpu_points import of_model

        made = []
        for number, primitive in enumerate(of_model(model, self._means("float32"))):
            made.append(Point(primitive, energy=number % 4 == 0))
            if primitive.row.dtype != "float32":
                continue
            if "tf32" in self.dtypes and primitive.row.matmul_flops:
                made.append(Point(primitive, TF32))
            made += [
                Point(in_dtype(primitive, dtype)) for dtype in self._main() if dtype != "float32"
            ]
        return made


def narrow(primitive: Primitive, dtype: str) -> Primitive:
    """The product of a drawn primitive in int8 or float8, its sizes rounded up to what the kernels take."""
    sizes = {name: int(size) for name, size in primitive.row.sizes}
    m = max(32, 16 * -(-sizes["m"] * sizes["b"] // 16))
    n, k = (16 * max(1, -(-sizes[name] // 16)) for name in ("n", "k"))
    x = TensorSpec((m, k), _TORCH[dtype], high=128)
    # The kernels want the second operand by columns, as a transposed weight lies.
    weight = TensorSpec((k, n), _TORCH[dtype], "weight", high=128, strides=(1, k))
    if dtype == "int8":
        return Primitive("aten::_int_mm", "", (), (x, weight), (TensorSpec((m, n), "int32"),))
    scale = TensorSpec((), "float32")
    given = (("out_dtype", "bfloat16"), ("use_fast_accum", 1))
    return Primitive(
        "aten::_scaled_mm", "", given, (x, weight, scale, scale, None, None), (TensorSpec((m, n), "bfloat16"),)
    )  # fmt: skip


def few_rows(primitive: Primitive) -> Primitive:
    """A layer of the drawn primitive's width on one row or a few, as a step of decoding has it."""
    sizes = {name: int(size) for name, size in primitive.row.sizes}
    rows, dtype = 1 + sizes["m"] % 8, primitive.outputs[0].dtype
    x, y = TensorSpec((rows, sizes["k"]), dtype), TensorSpec((rows, sizes["n"]), dtype)
    weight = TensorSpec((sizes["n"], sizes["k"]), dtype, "weight")
    return Primitive("aten::linear", "", (), (x, weight, None), (y,))


def anchors(means: Means = GPU) -> tuple[Point, Point]:
    """A product that is bound by arithmetic and a sum that is bound by memory: clocks move one, not the other."""
    side = 2048 if means.flops > 1e11 else 128
    square = TensorSpec((side, side))
    long = TensorSpec((16 * side * side // 16,)) if means.nbytes < 1e8 else TensorSpec((2**25,))
    product = Primitive("aten::mm", "", (), (square, replace(square, role="weight")), (square,))
    added = Primitive("aten::add", "Tensor", (("alpha", 1),), (long, long), (long,))
    return Point(product), Point(added)


def refuse_busy(meter: Meter) -> None:
    """Raises CalibrationError where somebody else is using the GPU."""
    sensor = getattr(meter, "sensor", None)
    busy = None if sensor is None else sensor.utilisation()
    if busy is not None and busy > _BUSY:
        raise CalibrationError(
            f"the GPU is {busy:.0%} busy with other work, so its times and energy would be wrong; "
            "wait, or insist (--force)"
        )
