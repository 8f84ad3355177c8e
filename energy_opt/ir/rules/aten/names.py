"""How the tables of this folder name ops: `abs*` is `aten::abs` and its in-place twin `aten::abs_`."""

from __future__ import annotations

import functools
from collections.abc import Callable

from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.formulas import VIEW
from energy_opt.ir.rules.registry import Rule, rule


def names(table: str, domain: str = "aten") -> list[str]:
    """The ops of a table, `domain::name`, in-place twins after their op."""
    found: list[str] = []
    for word in table.split():
        name = f"{domain}::{word.removesuffix('*')}"
        found += (name, f"{name}_") if word.endswith("*") else (name,)
    return found


def aten(kind: str, table: str) -> Callable[[Rule], Rule]:
    """Register the decorated function as the rule of the table's ops; a result that only names memory is a view.

    Many ops may turn out to move nothing: a reshape of contiguous memory, a cast to the same type, a dropout of
    nothing, a sum over no dim. The front-end saw it (attribute `is_view`).
    """

    def register(function: Rule) -> Rule:
        @functools.wraps(function)
        def unless_view(op: Op) -> Work:
            return VIEW if op.attr("is_view", 0) else function(op)

        rule(kind, *names(table))(unless_view)
        return function

    return register


def in_place(op: Op) -> bool:
    """Whether the op writes over its first operand."""
    return bool(op.attr("in_place", 0)) or op.op_type.endswith("_")


def tensors(op: Op, name: str, default: int = 1) -> int:
    """How many of the inputs belong to the argument, a list of tensors. Raises ValueError where it is no count."""
    count = op.attr(name, default)
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"argument {name} is not a number of tensors")
    return int(count)
