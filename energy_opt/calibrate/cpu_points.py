"""Which primitives are timed on a CPU: those of the user's models at several sizes, and a draw of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from energy_opt.calibrate.draw import CPU, Means, draw
from energy_opt.calibrate.from_model import primitives_of
from energy_opt.calibrate.primitives import Primitive
from energy_opt.calibrate.schedule import Point
from energy_opt.errors import DimError
from energy_opt.ir.graph import Graph

SIZES: tuple[Mapping[str, int], ...] = (
    {"batch": 1, "seq": 128}, {"batch": 1, "seq": 32}, {"batch": 4, "seq": 64}, {"batch": 2, "seq": 384},
)  # fmt: skip
"""Sizes at which a model's own operators are timed where it leaves them free."""


def points(
    *, models: Sequence[Any], dtypes: Sequence[str], count: int, seed: int, means: Means = CPU
) -> list[Point]:
    """What is timed: the operators of these models, each of a model or what `load` takes, and a draw of others."""
    found: dict[str, Primitive] = {}
    for model in models:
        for primitive in of_model(model, means):
            found.setdefault(primitive.key, primitive)
    for dtype in dtypes:
        for primitive in draw(count // len(dtypes), dtype=dtype, means=means, seed=seed):
            found.setdefault(primitive.key, primitive)
    return [Point(primitive) for primitive in found.values()]


def of_model(model: Any, means: Means) -> list[Primitive]:
    """The model's distinct operators that the means allow and that do something."""
    from energy_opt.frontend import load

    graph = model if isinstance(model, Graph) else load(model)
    found: list[Primitive] = []
    for sizes in SIZES:
        at = {name: size for name, size in sizes.items() if name in graph.dims}
        try:
            found += primitives_of(graph, [at]).primitives
        except DimError:  # a model of another length
            continue
        if not graph.dims:
            break
    return [
        p
        for p in found
        if p.row.kernels and p.row.matmul_flops <= means.flops and p.nbytes <= means.nbytes
    ]
