"""Activation functions, softmaxes and their backward passes, with the counts of the ONNX ops of the same name."""

from __future__ import annotations

from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import text
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.elementwise import GELU_TANH
from energy_opt.ir.rules.formulas import ACTIVATION, SOFTMAX, elements, per_output

FLOPS_PER_OUTPUT = {
    # One comparison.
    1: "relu* threshold*",
    # compare, multiply; max, min
    2: "leaky_relu* prelu _prelu_kernel hardtanh* relu6* hardshrink rrelu*",
    # 2 comparisons, add
    3: "softshrink",
    # negate, exp, add, divide; multiply, add, max, min; compare, exp, subtract, multiply
    4: "sigmoid* special_expit hardsigmoid* elu*",
    # x * sigmoid(x); x * hardsigmoid(x); x * tanh(softplus(x)); elu(x) * gamma; a * sigmoid(b); -softplus(-x)
    5: "silu* hardswish* mish* selu* glu log_sigmoid log_sigmoid_forward",
    # max(0, x) + min(0, alpha * (exp(x / alpha) - 1))
    7: "celu*",
}
for _flops, _names in FLOPS_PER_OUTPUT.items():
    aten("elementwise", _names)(per_output(_flops))

aten("softmax", "softmax _softmax log_softmax _log_softmax special_softmax special_log_softmax")(
    per_output(SOFTMAX)
)
aten("softmax", "_safe_softmax")(per_output(SOFTMAX + 2))  # rows without a score become 0
aten("softmax", "_masked_softmax")(per_output(SOFTMAX + 1))  # the mask

BACKWARD = {
    # compare and select
    1: "threshold_backward hardtanh_backward hardshrink_backward softshrink_backward",
    # compare, multiply; compare, divide
    2: "leaky_relu_backward hardsigmoid_backward _prelu_kernel_backward rrelu_with_noise_backward",
    # g * (1 - y * y); g * y * (1 - y); compare, exp, multiply
    3: "tanh_backward sigmoid_backward elu_backward",
    # g * sigmoid(x) by exp, add, divide; sigmoid of -|x|; g / (x * (1 - x)); g * sigmoid by halves of a gate
    4: "softplus_backward logit_backward",
    # 2 comparisons, divide, add, multiply
    5: "hardswish_backward log_sigmoid_backward",
    # sigmoid, then g * s * (1 + x * (1 - s)); for glu both halves
    8: "silu_backward glu_backward",
    # cdf (5 without its product), density (3), multiply, add, multiply
    10: "gelu_backward",
    # tanh of softplus, sigmoid, then 5 to join them
    13: "mish_backward",
}
for _flops, _names in BACKWARD.items():
    aten("elementwise", _names)(per_output(_flops))
# product, sum, difference, product; exp, sum, product, difference
aten("softmax", "_softmax_backward_data _log_softmax_backward_data _masked_softmax_backward")(
    per_output(4)
)


@aten("elementwise", "gelu*")
def gelu(op: Op) -> Work:
    """5 FLOPs by erf, 8 by tanh."""
    by_tanh = text(op, "approximate", "none") == "tanh"
    return Work(other_flops=(GELU_TANH if by_tanh else ACTIVATION["gelu"]) * elements(op.y))


@aten("elementwise", "softplus")
def softplus(op: Op) -> Work:
    """log(1 + exp(beta * x)) / beta: 3 FLOPs, 5 with a beta."""
    return Work(other_flops=(3 + 2 * (op.attr("beta", 1) != 1)) * elements(op.y))


@aten("elementwise", "logit* special_logit")
def logit(op: Op) -> Work:
    """log(x / (1 - x)): 3 FLOPs, and 2 to keep x off the ends."""
    return Work(other_flops=(3 + 2 * (op.attr("eps") is not None)) * elements(op.y))


@aten("elementwise", "rrelu_with_noise*")
def random_relu(op: Op) -> Work:
    """A comparison and a product; in training a slope is drawn (2) and kept."""
    training = bool(op.attr("training", 0))
    return Work(other_flops=(4 if training else 2) * elements(op.y), bytes_read=op.x.nbytes)


@aten("elementwise", "infinitely_differentiable_gelu_backward glu_jvp glu_backward_jvp")
def gate_derivative(op: Op) -> Work:
    """A gate and its derivative: 10 FLOPs per element."""
    return Work(other_flops=10 * elements(op.y))
