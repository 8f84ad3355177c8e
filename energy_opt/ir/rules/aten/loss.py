"""Loss functions and their backward passes. A mean or a sum (`reduction` 1 or 2) adds one FLOP per element."""

from __future__ import annotations

from collections.abc import Callable

from energy_opt.ir.dims import product, total
from energy_opt.ir.op import Op, Work, bytes_of
from energy_opt.ir.rules.arguments import given, integer, shape
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import elements, nbytes, per_output

_MEAN = 1

_POINTWISE = {
    2: "mse_loss l1_loss",  # subtract, square or absolute
    3: "kl_div soft_margin_loss margin_ranking_loss hinge_embedding_loss",  # logarithm, subtract, multiply
    5: "smooth_l1_loss huber_loss",  # subtract, absolute, compare, square, scale
    # 2 logarithms, 2 complements, 2 products, a sum; or maximum, product, absolute, exp, log1p, subtract, add
    7: "binary_cross_entropy binary_cross_entropy_with_logits poisson_nll_loss",
}


def _pointwise(flops: int) -> Callable[[Op], Work]:
    def loss(op: Op) -> Work:
        """So many FLOPs per pair, one more where they are summed, one where there are weights."""
        summed = integer(op, "reduction", _MEAN) != 0
        return Work(other_flops=(flops + summed + given(op, 2)) * elements(op.x))

    return loss


for _flops, _names in _POINTWISE.items():
    aten("reduction", _names)(_pointwise(_flops))


@aten("softmax", "cross_entropy_loss")
def cross_entropy(op: Op) -> Work:
    """A log-softmax of the scores, then a pick, a negation and a mean over the labels, or a product with all of them.

    Smoothed labels take a mean of the log-softmax as well.
    """
    target = op.need(1)
    probabilities = target.dtype is op.x.dtype
    per_label = 2 if probabilities else 3
    smoothed = elements(op.x) if op.attr("label_smoothing", 0) else 0
    return Work(other_flops=total((5 * elements(op.x), per_label * elements(target), smoothed)))


@aten("reduction", "nll_loss nll_loss2d nll_loss_nd nll_loss_forward nll_loss2d_forward")
def nll_loss(op: Op) -> Work:
    """A pick, a negation and a sum per label (and its weight): only the picked scores are read."""
    labels = elements(op.need(1))
    read = total((bytes_of(labels, op.x.dtype), nbytes(*op.inputs[1:])))
    return Work(other_flops=(3 + given(op, 2)) * labels, bytes_read=read)


@aten("scatter", "nll_loss_backward nll_loss2d_backward")
def nll_loss_backward(op: Op) -> Work:
    """Zeros, and a gradient for each label."""
    labels = op.need(2)
    read = total((nbytes(op.x, labels), nbytes(*op.inputs[3:])))
    written = total((nbytes(op.y), bytes_of(elements(labels), op.y.dtype)))
    return Work(other_flops=elements(labels), bytes_read=read, bytes_written=written)


aten("reduction", "multi_margin_loss multilabel_margin_loss multilabel_margin_loss_forward")(
    lambda op: Work(other_flops=4 * elements(op.x))
)
aten("elementwise", "multi_margin_loss_backward multilabel_margin_loss_backward")(per_output(4))
# difference, scale, gradient; and a comparison where there are two branches
aten("elementwise", "mse_loss_backward soft_margin_loss_backward")(per_output(3))
aten("elementwise", "smooth_l1_loss_backward huber_loss_backward")(per_output(4))
aten("elementwise", "binary_cross_entropy_backward")(per_output(5))


@aten("reduction", "triplet_margin_loss")
def triplet_margin(op: Op) -> Work:
    """Two distances (subtract, add, power, sum), a margin."""
    return Work(other_flops=8 * elements(op.x))


@aten("reduction", "cosine_embedding_loss")
def cosine_embedding(op: Op) -> Work:
    """Three dot products."""
    return Work(other_flops=6 * elements(op.x))


@aten("reduction", "ctc_loss _ctc_loss _cudnn_ctc_loss miopen_ctc_loss")
def ctc_loss(op: Op) -> Work:
    """log_probs[t, b, c], targets[b, s] or one after the other: three paths joined (9 FLOPs) per step and state.

    A target of s labels has 2 s + 1 states.
    """
    scores = shape(op, 0, 2)
    states = total((2 * elements(op.need(1)), product(scores[1:-1])))
    return Work(other_flops=product((9, scores[0], states)))


@aten("reduction", "_ctc_loss_backward")
def ctc_loss_backward(op: Op) -> Work:
    """The same in the other direction, then the gradient of every score."""
    grad, log_probs, targets = op.need(0), op.need(1), op.need(2)
    states = total((2 * elements(targets), elements(grad)))
    steps = product((9, shape(op, 1, 2)[0], states))
    return Work(other_flops=total((steps, 3 * elements(log_probs))))
