"""Softmax and normalisations. Work per row (the mean's division, the root) is left out: it is 1/row of the rest."""

from __future__ import annotations

from energy_opt.ir.dims import total
from energy_opt.ir.op import Op, Work, bytes_of
from energy_opt.ir.rules.arguments import given, integer, positive
from energy_opt.ir.rules.formulas import (
    DEQUANTIZE,
    QUANTIZE,
    SOFTMAX,
    activation_flops,
    elements,
    nbytes,
    per_output,
    plus,
)
from energy_opt.ir.rules.registry import rule

LAYER_NORM = 6
"""sum, subtract, square, sum, multiply by the inverse deviation, scale; a bias is one more."""

RMS_NORM = 4
"""square, sum, multiply by the inverse root, scale."""

rule("softmax", "Softmax")(per_output(SOFTMAX))
rule("softmax", "LogSoftmax")(per_output(5))  # max, subtract, exp, sum, subtract the log
rule("softmax", "Hardmax")(per_output(2))  # max, compare
rule("softmax", "com.microsoft::BiasSoftmax")(per_output(1 + SOFTMAX))
rule("softmax", "com.microsoft::QLinearSoftmax")(per_output(DEQUANTIZE + SOFTMAX + QUANTIZE))
rule("norm", "MeanVarianceNormalization")(per_output(5))  # sum, subtract, square, sum, divide
rule("norm", "InstanceNormalization", "com.ms.internal.nhwc::InstanceNormalization")(
    per_output(LAYER_NORM + 1)
)
rule("norm", "LpNormalization", "ai.onnx.ml::Normalizer")(per_output(3))  # power, sum, divide
rule("norm", "com.microsoft::BranchwiseRMSNorm")(per_output(RMS_NORM))
rule("norm", "com.microsoft::QOrderedLayerNormalization")(
    per_output(1 + LAYER_NORM + 1 + QUANTIZE)
)  # the input's scale, the norm with bias, requantisation


@rule("norm", "LayerNormalization", "com.microsoft::LayerNormalization")
def layer_norm(op: Op) -> Work:
    """6 FLOPs per element, 7 with a bias."""
    return Work(other_flops=(LAYER_NORM + given(op, 2)) * elements(op.y))


@rule("norm", "RMSNormalization", "SimplifiedLayerNormalization")
@rule("norm", "com.microsoft::SimplifiedLayerNormalization")
def rms_norm(op: Op) -> Work:
    """4 FLOPs per element."""
    return Work(other_flops=RMS_NORM * elements(op.y))


@rule("norm", "com.microsoft::SkipLayerNormalization")
def skip_layer_norm(op: Op) -> Work:
    """input + skip (+ bias at 4), then a layer norm (beta at 3)."""
    return Work(other_flops=(LAYER_NORM + 1 + given(op, 3) + given(op, 4)) * elements(op.y))


@rule("norm", "com.microsoft::SkipSimplifiedLayerNormalization")
def skip_rms_norm(op: Op) -> Work:
    """input + skip (+ bias at 3), then an RMS norm."""
    return Work(other_flops=(RMS_NORM + 1 + given(op, 3)) * elements(op.y))


@rule("norm", "com.microsoft::GatedRMSNorm")
def gated_rms_norm(op: Op) -> Work:
    """An RMS norm times the activated gate."""
    return Work(
        other_flops=(RMS_NORM + 1 + activation_flops(op.attr("activation", "silu")))
        * elements(op.y)
    )


@rule("norm", "GroupNormalization", "com.microsoft::GroupNorm")
def group_norm(op: Op) -> Work:
    """7 FLOPs per element, and SiLU where GroupNorm asks for it."""
    silu = activation_flops("silu") if integer(op, "activation", 0) == 1 else 0
    return Work(other_flops=(LAYER_NORM + 1 + silu) * elements(op.y))


@rule("norm", "com.microsoft::SkipGroupNorm")
def skip_group_norm(op: Op) -> Work:
    """X + skip (+ bias at 4), then a group norm."""
    return plus(group_norm(op), (1 + given(op, 4)) * elements(op.y))


@rule("norm", "BatchNormalization", "com.ms.internal.nhwc::BatchNormalization")
def batch_norm(op: Op) -> Work:
    """subtract, multiply, scale, shift; the batch's own statistics (sum, square, sum) only when training."""
    training = integer(op, "training_mode", 0)
    return Work(other_flops=(7 if training else 4) * elements(op.y))


@rule("norm", "LRN", "com.ms.internal.nhwc::LRN")
def local_response(op: Op) -> Work:
    """x / (bias + alpha / size * sum of `size` squares)^beta: square, size - 1 sums, 4 more."""
    return Work(other_flops=(positive(op, "size", 1) + 4) * elements(op.y))


@rule("norm", "com.microsoft::EmbedLayerNormalization")
def embed_layer_norm(op: Op) -> Work:
    """Two or three looked-up rows per token added, then a layer norm: only the rows named are read."""
    rows = 2 + given(op, 1)
    read = total((rows * nbytes(op.y), nbytes(*op.inputs[:2], *op.inputs[5:9])))
    return Work(other_flops=(rows - 1 + LAYER_NORM + 1) * elements(op.y), bytes_read=read)


@rule("norm", "com.microsoft::QEmbedLayerNormalization")
def embed_layer_norm_quantised(op: Op) -> Work:
    """As EmbedLayerNormalization, with 8-bit rows that are dequantised."""
    rows, ids = 2 + given(op, 1), nbytes(op.input(0), op.input(1), op.input(7))
    flops = (rows * (1 + DEQUANTIZE) + LAYER_NORM) * elements(op.y)
    return Work(other_flops=flops, bytes_read=total((rows * elements(op.y), ids)))


@rule("norm", "com.microsoft::EngramGate")
def engram_gate(op: Op) -> Work:
    """RMS norms of key and query, their dot product, a sigmoid gate on the value and its RMS norm."""
    normed = total((elements(op.need(0)), elements(op.need(1))))
    gated = 1 + RMS_NORM * (len(op.outputs) > 1)
    return Work(other_flops=total(((RMS_NORM + 1) * normed, gated * elements(op.y))))


@rule("softmax", "SoftmaxCrossEntropyLoss")
def cross_entropy(op: Op) -> Work:
    """A log-softmax of the scores, then a pick, a negation and a mean over the labels."""
    return Work(other_flops=total((5 * elements(op.x), 3 * elements(op.need(1)))))


@rule("reduction", "NegativeLogLikelihoodLoss")
def nll_loss(op: Op) -> Work:
    """A pick, a negation and a sum per label (and its weight): only the picked scores are read."""
    labels = elements(op.need(1))
    read = total((bytes_of(labels, op.x.dtype), nbytes(*op.inputs[1:])))
    return Work(other_flops=(3 + given(op, 2)) * labels, bytes_read=read)
