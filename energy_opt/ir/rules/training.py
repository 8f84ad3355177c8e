"""Optimiser steps: each names groups of tensors (weights, gradients, state) of equal shapes in its inputs."""

from __future__ import annotations

from energy_opt.ir.dims import product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import number, text
from energy_opt.ir.rules.formulas import elements
from energy_opt.ir.rules.registry import rule


def _step(op: Op, groups: int, flops: int) -> Work:
    """`flops` per weight; inputs are the rate, the step, then `groups` groups of tensors, weights first."""
    weights = op.inputs[2 : 2 + (len(op.inputs) - 2) // groups]
    return Work(other_flops=product((flops, total(elements(weight) for weight in weights))))


@rule("elementwise", "ai.onnx.preview.training::Adam")
def adam(op: Op) -> Work:
    """Decayed gradient 2, momentum 3, squared momentum 4, root and epsilon 2, step 3; a final decay is one more."""
    return _step(op, 4, 14 + (number(op, "norm_coefficient_post", 0.0) != 0.0))


@rule("elementwise", "ai.onnx.preview.training::Adagrad")
def adagrad(op: Op) -> Work:
    """Decayed gradient 2, squared sum 2, root and epsilon 2, step 3."""
    return _step(op, 3, 9)


@rule("elementwise", "ai.onnx.preview.training::Momentum")
def momentum(op: Op) -> Work:
    """Decayed gradient 2, momentum 3, step 2; Nesterov's look-ahead is 2 more."""
    return _step(op, 3, 9 if text(op, "mode", "standard") == "nesterov" else 7)
