"""What every kind of trace is read into: pieces of time, the operator that each belongs to, and its module."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

from energy_opt.ir.rules import lookup

MOST_BYTES = 1_500_000_000
"""A trace is read whole, and takes some eight times its size in memory; beyond this it is refused."""

# Kernels that no operator owns are told by the words in their names. In this order: a softmax has reductions in it, a
# convolution is often a gemm. Source: the kernel names of cuBLAS, CUTLASS, cuDNN, FlashAttention and ATen.
_KERNELS = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"fmha|flash|attention", "attention"),
        (r"conv(?!ert)|fprop|wgrad|dgrad|winograd", "conv"),
        (r"gemm|gemv|splitk|cublas|_mma_|matmul", "matmul"),
        (r"softmax", "softmax"),
        (r"layer_?norm|batch_?norm|group_?norm|rms_?norm|bn_fw", "norm"),
        (r"pool", "pool"),
        (r"index|gather|embedding", "gather"),
        (r"scatter", "scatter"),
        (r"sort|topk", "sort"),
        (r"memcpy|memset|copy|transpose|catarray", "copy"),
        (r"reduce", "reduction"),
        (r"elementwise|pointwise", "elementwise"),
    )
)


@dataclass(frozen=True, slots=True)
class Scope:
    """A module call as a trace names it: `type` is the class, `instance` tells those of one class apart."""

    type: str
    instance: str


@dataclass(slots=True)
class Piece:
    """Device time of one operator call: a kernel's duration on a GPU, or the operator's duration on a CPU.

    `op` is the operator, such as `aten::addmm`, "" where nothing says which; `call` counts the operator's calls in the
    order of time. `scopes` are the module calls around it, the outermost first. `shapes` are those of its tensor
    inputs, where they were recorded.
    """

    name: str
    seconds: float
    op: str = ""
    call: int = -1
    scopes: tuple[Scope, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def kind(self) -> str:
        """The kind of work: of the operator's rule, or by the kernel's name where no operator owns it."""
        if self.op:
            return kind_of(self.op) or "other"
        return next((kind for pattern, kind in _KERNELS if pattern.search(self.name)), "other")


@dataclass
class Recorded:
    """A trace: pieces of time, and how many inferences they are of.

    `iterations` is 0 where the trace does not say. `wall_s` is how long what it covers took, waiting included.
    `device` is `cuda` where kernels were recorded and else `cpu`.
    """

    source: str
    device: str
    pieces: list[Piece] = field(default_factory=list)
    iterations: int = 0
    wall_s: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The sum of all pieces, in seconds."""
        return sum(piece.seconds for piece in self.pieces)

    def unmapped(self) -> dict[str, float]:
        """Seconds by name of the pieces that no operator owns, most first."""
        found: defaultdict[str, float] = defaultdict(float)
        for piece in self.pieces:
            if not piece.op:
                found[piece.name] += piece.seconds
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def kind_of(op: str) -> str | None:
    """The kind of an operator's work by its rule, `aten::addmm` or `aten::add_` alike; None where it has none."""
    domain, _, name = op.rpartition("::")
    entry = lookup(domain, name) or lookup(domain, name.removesuffix("_"))
    return None if entry is None else entry.kind
