"""Random numbers and dropout: what is made of the generator's bits. Dropout is a view at inference."""

from __future__ import annotations

from energy_opt.ir.dims import product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import shape
from energy_opt.ir.rules.aten.names import aten, in_place
from energy_opt.ir.rules.formulas import VIEW, elements, log2, moved, nbytes, per_output
from energy_opt.ir.rules.randomness import drawn

UNIFORM = 2
"""scale, shift."""

NORMAL = 6
"""log, root, cosine, product, scale, shift."""

aten(
    "random",
    "rand rand_like randint randint_like random uniform uniform_ random_ _no_grad_uniform_",
)(drawn(UNIFORM))
aten("random", "_philox_uniform*")(drawn(UNIFORM))
aten("random", "randn randn_like normal_functional normal_ _no_grad_normal_ _philox_normal*")(
    drawn(NORMAL)
)
aten("random", "log_normal*")(drawn(NORMAL + 1))
aten("random", "exponential*")(drawn(2))  # log, divide
aten("random", "geometric* cauchy*")(drawn(4))  # log, divide, round up; tangent, multiply, add
# Drawn by rejection: how often depends on the luck, one round is the least.
aten("random", "poisson binomial _standard_gamma _sample_dirichlet")(per_output(NORMAL))
aten("elementwise", "_standard_gamma_grad _dirichlet_grad")(per_output(NORMAL))
aten("random", "_sobol_engine_draw")(per_output(2))


@aten("random", "normal")
def normal(op: Op) -> Work:
    """Means and deviations read where they are tensors."""
    return Work(other_flops=NORMAL * elements(op.y), bytes_read=nbytes(*op.inputs))


@aten("random", "bernoulli*")
def bernoulli(op: Op) -> Work:
    """A comparison per result; probabilities are the input, another tensor, or one number."""
    number = op.attr("p") is not None
    others = nbytes(*op.inputs[1:])
    alone = len(op.inputs) == 1 and not number and not in_place(op)
    return Work(other_flops=elements(op.y), bytes_read=nbytes(op.x) if alone else others)


@aten("random", "multinomial")
def multinomial(op: Op) -> Work:
    """exp, sum and cumulative sum over the classes, then a binary search per draw."""
    classes = shape(op, 0, 1)[-1]
    return Work(other_flops=total((3 * elements(op.x), product((elements(op.y), log2(classes))))))


@aten("random", "randperm")
def permutation(op: Op) -> Work:
    """n numbers drawn and sorted."""
    count = elements(op.y)
    return Work(other_flops=product((count, total((UNIFORM, log2(count))))), bytes_read=0)


def _trains(op: Op) -> bool:
    """Whether it drops at all: the flag left out of `native_dropout` means that it does."""
    return bool(op.attr("train", 1))


@aten("view", "dropout* feature_dropout*")
def dropout(op: Op) -> Work:
    """Nothing at inference; in training a comparison, a scale and a product per element."""
    return Work(other_flops=3 * elements(op.y), kind="random") if _trains(op) else VIEW


@aten("view", "alpha_dropout* feature_alpha_dropout*")
def alpha_dropout(op: Op) -> Work:
    """Nothing at inference; in training a comparison, a select, a product and the noise scaled and added."""
    return Work(other_flops=5 * elements(op.y), kind="random") if _trains(op) else VIEW


@aten("random", "native_dropout _fused_dropout")
def native_dropout(op: Op) -> Work:
    """As dropout, and the mask written; at inference a copy."""
    if _trains(op):
        return Work(other_flops=3 * elements(op.y))
    return moved(nbytes(op.x), nbytes(*op.outputs), kind="copy")


# gradient, mask, scale
aten("elementwise", "native_dropout_backward _masked_scale")(per_output(2))


@aten("random", "_fill_mem_eff_dropout_mask_")
def mask(op: Op) -> Work:
    """Uniform numbers written."""
    return Work(other_flops=UNIFORM * elements(op.x), bytes_read=0)
