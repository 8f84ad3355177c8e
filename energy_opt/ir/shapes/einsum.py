"""Einsum: axes by letter."""

from __future__ import annotations

from collections.abc import Sequence

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.elementwise import broadcast, prefer
from energy_opt.ir.shapes.info import Call, Info, short
from energy_opt.ir.shapes.registry import shape_rule

_MAX_EQUATION = 1000


@shape_rule("Einsum")
def einsum(call: Call) -> Sequence[Info]:
    """The axes that the equation names on its right, or that occur once on its left."""
    equation = call.str_attr("equation", "").replace(" ", "")
    if not equation or len(equation) > _MAX_EQUATION:
        call.fail(f"equation {short(equation)} is empty or longer than {_MAX_EQUATION} letters")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(call.inputs):
        call.fail(
            f"equation {short(equation)} names {len(terms)} operands, the node has {len(call.inputs)}"
        )
    dtype = call.input(0).dtype
    sizes: dict[str, Dim] = {}
    batch: tuple[Dim, ...] | None = ()
    for index, term in enumerate(terms):
        shape = call.input(index).shape
        if shape is None:
            return [Info(None, dtype)]
        head, dots, tail = term.partition("...")
        letters = head + tail
        middle = len(shape) - len(letters)
        if middle < 0 or (middle and not dots):
            call.fail(
                f"operand {index + 1} has {len(shape)} dimensions, equation {short(equation)} names {len(letters)}"
            )
        named = (*shape[: len(head)], *shape[len(head) + middle :])
        batch = broadcast(call, (batch, shape[len(head) : len(head) + middle]))
        for letter, dim in zip(letters, named, strict=True):
            sizes[letter] = _agreed(call, sizes.get(letter, dim), dim, letter)
    if not arrow:
        once = sorted(letter for letter in sizes if left.count(letter) == 1)
        right = ("..." if "..." in left else "") + "".join(once)
    head, dots, tail = right.partition("...")
    unknown = set(head + tail) - set(sizes)
    if unknown:
        call.fail(
            f"equation {short(equation)} makes {', '.join(sorted(unknown))}, which no operand has"
        )
    middle_dims = batch if dots and batch is not None else ()
    return [Info((*(sizes[c] for c in head), *middle_dims, *(sizes[c] for c in tail)), dtype)]


def _agreed(call: Call, known: Dim, dim: Dim, letter: str) -> Dim:
    if known == dim or dim == 1:
        return known
    if known == 1:
        return dim
    if isinstance(known, int) and isinstance(dim, int):
        call.fail(f"axis {letter!r} is {known} in one operand and {dim} in another")
    return prefer(call.space, known, dim)
