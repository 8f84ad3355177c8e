"""Random numbers: what is made of the generator's bits. The generator's own integer operations are not counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from energy_opt.ir.dims import product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given, shape
from energy_opt.ir.rules.formulas import VIEW, elements, log2, per_output, plus
from energy_opt.ir.rules.registry import rule


def drawn(flops: int) -> Callable[[Op], Work]:
    """A rule for numbers drawn from nothing: only the output moves."""
    return lambda op: replace(per_output(flops)(op), bytes_read=0)


rule("random", "RandomUniform", "RandomUniformLike")(drawn(2))  # scale, shift
rule("random", "RandomNormal", "RandomNormalLike")(
    drawn(6)
)  # log, root, cosine, product, scale, shift
rule("random", "Bernoulli", "com.microsoft::SampleOp")(per_output(1))


@rule("random", "Multinomial")
def multinomial(op: Op) -> Work:
    """exp, sum and cumulative sum over the classes, then a binary search per draw."""
    classes = shape(op, 0, 1)[-1]
    return Work(other_flops=total((3 * elements(op.x), product((elements(op.y), log2(classes))))))


def training(op: Op, index: int) -> bool:
    """Whether the optional training_mode input is known to be true; inference is the assumption."""
    flag = op.input(index)
    return flag is not None and flag.values is not None and any(value == 1 for value in flag.values)


@rule("view", "Dropout", "com.microsoft::BitmaskDropout")
def dropout(op: Op) -> Work:
    """Nothing at inference; in training a comparison, a scale and a product per element."""
    return Work(other_flops=3 * elements(op.y), kind="random") if training(op, 2) else VIEW


@rule("elementwise", "com.microsoft::BiasDropout", "com.microsoft::BitmaskBiasDropout")
def bias_dropout(op: Op) -> Work:
    """A bias and a residual added; in training three more."""
    work = Work(other_flops=(1 + given(op, 2)) * elements(op.y))
    return plus(work, 3 * elements(op.y)) if training(op, 4) else work
