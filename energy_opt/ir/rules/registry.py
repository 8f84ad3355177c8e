"""One registry of work rules for every op vocabulary: `(domain, op type) -> kind and rule`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from energy_opt.ir.op import Op, Work

Rule = Callable[[Op], Work]

KINDS = frozenset(
    {
        "matmul",
        "conv",
        "attention",
        "rnn",
        "norm",
        "softmax",
        "elementwise",
        "reduction",
        "pool",
        "gather",
        "scatter",
        "copy",
        "view",
        "resize",
        "sort",
        "random",
        "quantize",
        "moe",
        "fft",
        "shape",
        "sequence",
        "control",
        "tree",
        "other",
    }
)
"""Kinds of work that estimators tell apart. `view` moves nothing; `other` has no rule and is priced as traffic."""


class Entry(NamedTuple):
    """A registered rule and the kind of its ops."""

    kind: str
    rule: Rule


RULES: dict[tuple[str, str], Entry] = {}


def rule(kind: str, *ops: str) -> Callable[[Rule], Rule]:
    """Register the decorated function as the rule of the ops, named `OpType` or `domain::OpType`.

    Raises:
        ValueError: the kind is not known, or an op has a rule already.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is not one of {sorted(KINDS)}")

    def register(function: Rule) -> Rule:
        for op in ops:
            domain, _, op_type = op.rpartition("::")
            if (domain, op_type) in RULES:
                raise ValueError(f"{op} has a rule already")
            RULES[domain, op_type] = Entry(kind, function)
        return function

    return register


def lookup(domain: str, op_type: str) -> Entry | None:
    """The rule of an op, or None; the domains `ai.onnx` and `` are the same."""
    return RULES.get(("" if domain == "ai.onnx" else domain, op_type))
