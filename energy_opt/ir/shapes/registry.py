"""The shape rules of this package: `(domain, op type) -> rule`. What has none goes to onnx_shape_inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from energy_opt.ir.shapes.info import Call, Info

Rule = Callable[[Call], Sequence[Info]]

RULES: dict[tuple[str, str], Rule] = {}


def shape_rule(*ops: str) -> Callable[[Rule], Rule]:
    """Register the decorated function for the ops, named `OpType` or `domain::OpType`.

    Raises:
        ValueError: an op has a rule already.
    """

    def register(function: Rule) -> Rule:
        for op in ops:
            domain, _, op_type = op.rpartition("::")
            if (domain, op_type) in RULES:
                raise ValueError(f"{op} has a shape rule already")
            RULES[domain, op_type] = function
        return function

    return register


def ops(names: str, domain: str = "") -> list[str]:
    """Op names separated by spaces, qualified with the domain."""
    return [f"{domain}::{name}" if domain else name for name in names.split()]
