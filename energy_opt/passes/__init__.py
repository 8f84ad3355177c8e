"""Passes: `Graph -> Graph`, one file each. A what-if rewrites; a runtime's pass only says what will be fused."""

from __future__ import annotations

from collections.abc import Iterable

from energy_opt.errors import UsageError
from energy_opt.ir.graph import Graph
from energy_opt.passes.cast import cast_bf16, cast_fp16
from energy_opt.passes.fuse_conv import fuse_conv
from energy_opt.passes.fuse_elementwise import fuse_elementwise
from energy_opt.passes.fuse_gelu import fuse_gelu
from energy_opt.passes.fuse_qdq import fuse_qdq
from energy_opt.passes.fuse_skip_norm import fuse_skip_norm
from energy_opt.passes.registry import PASSES, Pass, register


def run(graph: Graph, names: Iterable[str]) -> Graph:
    """The graph after the named passes, in order. Raises UsageError for a name that is not a pass."""
    for name in names:
        if name not in PASSES:
            raise UsageError(f"there is no pass {name!r}; there are {', '.join(sorted(PASSES))}")
        graph = PASSES[name](graph)
    return graph


__all__ = [
    "PASSES",
    "Pass",
    "cast_bf16",
    "cast_fp16",
    "fuse_conv",
    "fuse_elementwise",
    "fuse_gelu",
    "fuse_qdq",
    "fuse_skip_norm",
    "register",
    "run",
]
