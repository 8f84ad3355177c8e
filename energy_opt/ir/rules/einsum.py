"""Einsum: any equation, as pairwise contractions from left to right."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import shape, text
from energy_opt.ir.rules.formulas import known, matmul
from energy_opt.ir.rules.registry import rule


@dataclass(frozen=True, slots=True)
class Equation:
    """The labels of each operand and of the result, and the size of each label."""

    operands: tuple[tuple[str, ...], ...]
    result: tuple[str, ...]
    sizes: dict[str, Dim]

    def size(self, labels: set[str]) -> Dim:
        """Product of the labels' sizes."""
        return product(self.sizes[label] for label in sorted(labels))


def parse(equation: str, shapes: list[tuple[Dim, ...]]) -> Equation:
    """The equation over operands of those shapes; an ellipsis becomes labels of its own, aligned at the right.

    An operand whose dim is 1 where others are larger does not carry the label: it is broadcast.

    Raises:
        ValueError: the equation does not fit the operands.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum of {len(shapes)} operands with {len(terms)} terms")
    labelled = [_labels(term, len(dims)) for term, dims in zip(terms, shapes, strict=True)]
    sizes: dict[str, Dim] = {}
    for labels, dims in zip(labelled, shapes, strict=True):
        for label, dim in zip(labels, dims, strict=True):
            size = sizes.get(label, 1)
            sizes[label] = dim if size == 1 else size if dim == 1 else known(size, dim)
    broadcast = sorted(
        {label for labels in labelled for label in labels if label.isdigit()}, key=int, reverse=True
    )
    if arrow:
        result = _expand(right, broadcast)
    else:
        counts = Counter(label for labels in labelled for label in labels)
        result = [
            *broadcast,
            *sorted(label for label, n in counts.items() if n == 1 and not label.isdigit()),
        ]
    if not set(result) <= set(sizes):
        raise ValueError(f"einsum {equation!r} names a result label that no operand has")
    carried = [
        tuple(
            label for label, dim in zip(labels, dims, strict=True) if dim != 1 or sizes[label] == 1
        )
        for labels, dims in zip(labelled, shapes, strict=True)
    ]
    return Equation(tuple(carried), tuple(result), sizes)


def _labels(term: str, rank: int) -> list[str]:
    named = len(term.replace("...", ""))
    if rank < named or ("..." not in term and rank != named):
        raise ValueError(f"einsum term {term!r} for an operand of rank {rank}")
    return _expand(term, [str(i) for i in reversed(range(rank - named))])


def _expand(term: str, broadcast: list[str]) -> list[str]:
    before, dots, after = term.partition("...")
    if not (before + after).isalpha() and before + after:
        raise ValueError(f"einsum term {term!r}")
    return [*before, *(broadcast if dots else ()), *after]


def contract(equation: Equation) -> Work:
    """Work of the contractions; labels that only one operand has are summed before it is multiplied.

    A pair that shares a summed label is a product of 2*b*m*n*k FLOPs; one that does not is one FLOP per element.
    """
    first, *rest = (set(labels) for labels in equation.operands)
    kept = set(equation.result)
    flops: list[Dim] = []
    other: list[Dim] = []
    sizes: tuple[tuple[str, Dim], ...] = ()
    for index, second in enumerate(rest):
        later = kept.union(*rest[index + 1 :])
        a = _summed(equation, first, second | later, other)
        b = _summed(equation, second, first | later, other)
        summed = (a & b) - later
        if summed:
            work = matmul(
                *(equation.size(labels) for labels in ((a & b) - summed, a - b, b - a, summed))
            )
            flops.append(work.matmul_flops)
            sizes = work.sizes
        else:
            other.append(equation.size(a | b))
        first = (a | b) - summed
    _summed(equation, first, kept, other)
    return Work(total(flops), total(other), sizes=sizes)


def _summed(equation: Equation, own: set[str], kept: set[str], other: list[Dim]) -> set[str]:
    """The labels that stay; the sum over the others costs one FLOP per element."""
    if own - kept:
        other.append(equation.size(own))
    return own & kept


@rule("matmul", "Einsum")
def einsum(op: Op) -> Work:
    """Its contractions; a kind of elementwise, reduction or copy where there are none."""
    if not op.inputs:
        raise ValueError("einsum of nothing")
    equation = parse(text(op, "equation", ""), [shape(op, i) for i in range(len(op.inputs))])
    work = contract(equation)
    if work.sizes:
        return work
    kind = "elementwise" if len(op.inputs) > 1 else "reduction" if work.other_flops != 0 else "copy"
    return Work(other_flops=work.other_flops, kind=kind)
