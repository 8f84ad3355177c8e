"""Normalisations and their backward passes, with the counts of the ONNX ops: gain and bias only where they are given.

Work per row (the root, the mean's division) is left out: it is 1/row of the rest.
"""

from __future__ import annotations

from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import elements, moved, nbytes, per_input, per_output
from energy_opt.ir.rules.norm import LAYER_NORM, RMS_NORM

BATCH_NORM = 2
"""subtract the mean, multiply by the inverse deviation; gain and bias are one more each."""

STATISTICS = 3
"""sum, square, sum: what a batch norm in training adds."""


def _affine(op: Op, gain: int) -> int:
    """FLOPs per element of gain and bias, inputs `gain` and `gain + 1`."""
    return given(op, gain) + given(op, gain + 1)


@aten("norm", "layer_norm native_layer_norm group_norm native_group_norm instance_norm")
def layer_norm(op: Op) -> Work:
    """5 FLOPs per element, 6 with a gain, 7 with a bias."""
    return Work(other_flops=(LAYER_NORM - 1 + _affine(op, 1)) * elements(op.y))


@aten("norm", "rms_norm _fused_rms_norm")
def rms_norm(op: Op) -> Work:
    """3 FLOPs per element, 4 with a gain."""
    return Work(other_flops=(RMS_NORM - 1 + given(op, 1)) * elements(op.y))


def _batch_norm(op: Op, training: bool) -> Work:
    flops = BATCH_NORM + _affine(op, 1) + STATISTICS * training
    return Work(other_flops=flops * elements(op.y))


@aten(
    "norm",
    "batch_norm native_batch_norm cudnn_batch_norm miopen_batch_norm quantized_batch_norm _batch_norm_impl_index",
)
def batch_norm(op: Op) -> Work:
    """2 FLOPs per element, a gain, a bias; 3 more for the batch's own statistics in training."""
    return _batch_norm(op, bool(op.attr("training", 0)))


@aten("norm", "_native_batch_norm_legit _native_batch_norm_legit_functional")
def batch_norm_legit(op: Op) -> Work:
    """As batch_norm; without running statistics (inputs 3 and 4) those of the batch are all there are."""
    return _batch_norm(op, bool(op.attr("training", 0)) or not given(op, 3))


@aten("norm", "_native_batch_norm_legit_no_training _batch_norm_no_update batch_norm_elemt")
def batch_norm_inference(op: Op) -> Work:
    """As batch_norm at inference."""
    return _batch_norm(op, training=False)


@aten("norm", "_batch_norm_with_update _batch_norm_with_update_functional")
def batch_norm_training(op: Op) -> Work:
    """As batch_norm in training."""
    return _batch_norm(op, training=True)


aten("norm", "batch_norm_stats batch_norm_update_stats")(per_input(STATISTICS))


@aten("norm", "batch_norm_gather_stats batch_norm_gather_stats_with_counts")
def gathered_statistics(op: Op) -> Work:
    """Statistics of several devices joined; the input only names the type."""
    return moved(nbytes(*op.inputs[1:]), nbytes(*op.outputs))


@aten("norm", "_weight_norm _weight_norm_interface")
def weight_norm(op: Op) -> Work:
    """v * (g / norm of v): square, sum, multiply."""
    return Work(other_flops=3 * elements(op.y))


# normalise again 2, gain 1, two sums of products 4, the input's gradient 4; sums for gain 1 and bias 1
aten("norm", "native_layer_norm_backward native_group_norm_backward")(per_input(13))
# normalise again 1, gain 1, a sum of products 2, the input's gradient 4; a sum for the gain 1
aten(
    "norm",
    "_fused_rms_norm_backward _weight_norm_interface_backward _weight_norm_differentiable_backward",
)(per_input(9))
# normalise again 2, sum 1, sum of products 2, the input's gradient 5
aten(
    "norm",
    "native_batch_norm_backward cudnn_batch_norm_backward miopen_batch_norm_backward batch_norm_backward "
    "_batch_norm_impl_index_backward",
)(per_input(10))
aten("norm", "batch_norm_backward_reduce")(per_input(5))
aten("norm", "batch_norm_backward_elemt")(per_output(5))


@aten("norm", "_transform_bias_rescale_qkv")
def rescale_qkv(op: Op) -> Work:
    """Biases of the three projections added, the queries scaled; one copy into heads."""
    return Work(other_flops=elements(op.x) + elements(op.y), bytes_read=nbytes(*op.inputs))
