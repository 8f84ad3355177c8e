"""Ops over lists of tensors: what their members would cost one by one. In place, they write `self`."""

from __future__ import annotations

from collections.abc import Callable

from energy_opt.ir.dims import total
from energy_opt.ir.op import Op, Tensor, Work
from energy_opt.ir.rules.aten.names import aten, in_place, tensors
from energy_opt.ir.rules.aten.reduction import powers
from energy_opt.ir.rules.formulas import elements, moved, nbytes

_PREFIX = "_foreach_"

FLOPS_PER_ELEMENT = {
    1: "abs* acos* add* asin* atan* ceil* clamp_max* clamp_min* cos* cosh* div* erf* erfc* exp* expm1* floor* lgamma* "
    "log* log10* log1p* log2* maximum* minimum* mul* neg* pow* reciprocal* round* rsqrt* sign* sin* sinh* sqrt* sub* "
    "tan* tanh* trunc*",
    2: "addcdiv* addcmul* frac*",
    3: "lerp*",
    4: "sigmoid*",
}


def members(op: Op) -> tuple[Tensor | None, ...]:
    """The list that the op is over, its first argument."""
    return op.inputs[: tensors(op, "self", len(op.inputs))]


def _each(flops: int) -> Callable[[Op], Work]:
    def each(op: Op) -> Work:
        """So many FLOPs per element of the list."""
        mine = members(op)
        return Work(
            other_flops=flops * total(elements(tensor) for tensor in mine),
            bytes_written=nbytes(*mine) if in_place(op) else None,
        )

    return each


def _named(table: str) -> str:
    return " ".join(_PREFIX + word for word in table.split())


for _flops, _names in FLOPS_PER_ELEMENT.items():
    aten("elementwise", _named(_names))(_each(_flops))
aten("reduction", _named("max"))(_each(1))


@aten("reduction", _named("norm powsum"))
def norm(op: Op) -> Work:
    """A vector norm of each."""
    per_element, per_result = powers(op.attr("ord"))
    counted = total(elements(tensor) for tensor in members(op))
    return Work(other_flops=total((per_element * counted, per_result * len(members(op)))))


@aten("copy", _named("zero*"))
def zero(op: Op) -> Work:
    """Nothing read, each written."""
    return moved(0, nbytes(*members(op)))


@aten("copy", _named("copy* clone"))
def copy(op: Op) -> Work:
    """The sources read, each written."""
    mine = members(op)
    return moved(nbytes(*(op.inputs[len(mine) :] or mine)), nbytes(*mine))


@aten("elementwise", "_amp_foreach_non_finite_check_and_unscale*")
def unscale(op: Op) -> Work:
    """A comparison and a product per element."""
    return _each(2)(op)


@aten("elementwise", "_amp_update_scale*")
def update_scale(op: Op) -> Work:
    """A comparison and a product of one number."""
    return Work(other_flops=2)


def _step(flops: int, lists: int) -> Callable[[Op], Work]:
    def step(op: Op) -> Work:
        """So many FLOPs per weight; weights, gradients and moments are as many lists of equal length, all written."""
        weights = members(op)
        return Work(
            other_flops=flops * total(elements(tensor) for tensor in weights),
            bytes_written=nbytes(*op.inputs[: lists * len(weights)]),
        )

    return step


# Decayed gradient 2, momentum 3, squared momentum 4, root and epsilon 2, step 3: as for ONNX's optimisers.
aten("elementwise", "_fused_adam* _fused_adamw*")(_step(14, 4))
aten("elementwise", "_fused_adagrad*")(_step(9, 3))
aten("elementwise", "_fused_sgd*")(_step(7, 3))
