"""Every operator that PyTorch calls core, and a real call of some three hundred: none is priced as mere traffic."""

from __future__ import annotations

from typing import Any

import pytest

from energy_opt.ir.rules import lookup
from energy_opt.ir.signature import price
from tests.ir.rules.table import op_of, work_of

torch = pytest.importorskip("torch")

from tests.ir.rules.aten.calls import CALLS, Called  # noqa: E402


def overloads(name: str) -> list[Any]:
    packet = getattr(torch.ops.aten, name)
    return [getattr(packet, overload) for overload in packet.overloads()]


def packets() -> list[str]:
    names = (name for name in dir(torch.ops.aten) if not name.startswith("__"))
    return [name for name in names if hasattr(getattr(torch.ops.aten, name), "overloads")]


def test_every_core_operator_has_a_rule() -> None:
    core = [
        name
        for name in packets()
        if any(torch.Tag.core in overload.tags for overload in overloads(name))
    ]
    assert len(core) > 150
    assert [name for name in core if lookup("aten", name) is None] == []


PROMISED = """
reshape contiguous to type_as flatten unflatten chunk split tensor_split unbind stack cat hstack expand_as repeat tile
repeat_interleave roll flip rot90 narrow select slice squeeze movedim swapaxes permute transpose t numpy_T view_as pad
constant_pad_nd reflection_pad1d reflection_pad3d masked_fill masked_select where index index_put index_add index_select
gather scatter scatter_add scatter_reduce take take_along_dim embedding embedding_bag one_hot tril triu arange zeros
full new_zeros new_ones new_full new_empty zeros_like rand_like linspace eye ones empty dropout feature_dropout
alpha_dropout native_dropout softmax log_softmax layer_norm group_norm instance_norm batch_norm rms_norm
native_layer_norm native_group_norm native_batch_norm cosine_similarity cross_entropy_loss nll_loss mse_loss gelu silu
hardswish mish glu prelu softplus clamp lerp addcmul addcdiv _foreach_add _foreach_mul_ cumsum cumprod cummax
logcumsumexp mean sum var std amax argmax logsumexp norm any all prod median mode var_mean aminmax topk sort argsort
msort kthvalue _unique2 unique_dim unique_consecutive searchsorted bucketize histc bincount avg_pool1d avg_pool2d
avg_pool3d max_pool1d max_pool2d max_pool3d max_pool2d_with_indices adaptive_avg_pool1d adaptive_avg_pool2d
adaptive_max_pool2d fractional_max_pool2d upsample_nearest1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d
_upsample_nearest_exact2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler grid_sampler_2d
affine_grid_generator pixel_shuffle channel_shuffle fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_fftn fft_hfft
_fft_r2c _fft_c2r _fft_c2c stft istft linalg_cholesky linalg_cholesky_ex linalg_solve linalg_inv linalg_inv_ex linalg_qr
linalg_svd linalg_eigh linalg_eig linalg_det linalg_norm linalg_vector_norm linalg_matrix_norm triangular_solve
linalg_solve_triangular view_as_real view_as_complex real imag conj rand randn randint randperm bernoulli multinomial
normal uniform exponential lift_fresh lift_fresh_copy alias detach clone copy_ fill_ zero_ set_ resize_ _to_copy item
_local_scalar_dense nonzero _assert_async _assert_scalar _assert_tensor_metadata sym_size sym_numel sym_stride
quantize_per_tensor quantize_per_channel dequantize fake_quantize_per_tensor_affine fake_quantize_per_channel_affine
_choose_qparams_per_tensor gelu_backward silu_backward threshold_backward _softmax_backward_data
native_layer_norm_backward native_group_norm_backward native_batch_norm_backward embedding_dense_backward
max_pool2d_with_indices_backward avg_pool2d_backward upsample_bilinear2d_backward slice_backward select_backward
"""
CONTROL = (
    "cond while_loop map_impl scan associative_scan wrap_with_set_grad_enabled wrap_with_autocast"
)


def test_what_models_emit_has_a_rule() -> None:
    assert [name for name in PROMISED.split() if lookup("aten", name) is None] == []


@pytest.mark.parametrize("name", CONTROL.split())
def test_control_flow_costs_its_body(name: str) -> None:
    work = work_of(op_of(f"higher_order::{name}", "bool:() 2,3 -> 2,3"))
    assert (work.kind, work.other_flops, work.bytes_read, work.bytes_written) == (
        "control",
        0,
        0,
        0,
    )


def test_an_operator_in_place_has_a_rule_where_the_other_has_one() -> None:
    names = {schema.name for schema in torch._C._jit_get_all_schemas()}
    twins = [name for name in names if name.startswith("aten::") and name.endswith("_")]
    missing = [
        twin
        for twin in twins
        if lookup("aten", twin[len("aten::") : -1]) is not None
        and lookup("aten", twin.removeprefix("aten::")) is None
    ]
    assert len(twins) > 200
    assert missing == []


@pytest.mark.parametrize(("name", "arguments"), CALLS, ids=[name for name, _ in CALLS])
def test_a_real_call_is_priced(name: str, arguments: tuple[Any, ...]) -> None:
    call = Called(name, arguments)
    signature = price(call.op)
    assert signature.modelled
    assert (signature.kind == "view") == call.is_view
    work = work_of(call.op)
    most = sum(tensor.nbytes for tensor in (*call.op.inputs, *call.op.outputs) if tensor)
    assert work.other_flops >= 0
    assert 0 <= work.bytes_read <= 2 * most  # what is scattered with a sum is read twice
    assert 0 <= work.bytes_written <= 2 * most


PAIRS = [
    ("Gelu", "aten::gelu", "2,3 -> 2,3", {}, {}),
    ("Gelu", "aten::gelu_", "2,3 -> 2,3", {}, {}),
    ("Sigmoid", "aten::sigmoid", "2,3 -> 2,3", {}, {}),
    ("HardSwish", "aten::hardswish", "2,3 -> 2,3", {}, {}),
    ("HardSigmoid", "aten::hardsigmoid", "2,3 -> 2,3", {}, {}),
    ("Mish", "aten::mish", "2,3 -> 2,3", {}, {}),
    ("Swish", "aten::silu", "2,3 -> 2,3", {}, {}),
    ("Elu", "aten::elu", "2,3 -> 2,3", {}, {}),
    ("Selu", "aten::selu", "2,3 -> 2,3", {}, {}),
    ("Celu", "aten::celu", "2,3 -> 2,3", {}, {}),
    ("Softplus", "aten::softplus", "2,3 -> 2,3", {}, {"beta": 1, "threshold": 20}),
    ("LeakyRelu", "aten::leaky_relu", "2,3 -> 2,3", {}, {}),
    ("PRelu", "aten::prelu", "2,3 3 -> 2,3", {}, {}),
    ("Clip", "aten::clamp", "2,3 -> 2,3", {}, {"min": 0, "max": 6}),
    ("Erf", "aten::erf", "2,3 -> 2,3", {}, {}),
    ("Add", "aten::add", "2,3 3 -> 2,3", {}, {"alpha": 1}),
    ("Mod", "aten::remainder", "2,3 3 -> 2,3", {}, {}),
    ("Where", "aten::where", "bool:2,3 2,3 2,3 -> 2,3", {}, {}),
    ("Cast", "aten::to", "2,3 -> f16:2,3", {}, {}),
    ("CumSum", "aten::cumsum", "2,3 -> 2,3", {}, {"dim": 1}),
    ("Softmax", "aten::softmax", "2,3 -> 2,3", {}, {}),
    ("Softmax", "aten::_softmax", "2,3 -> 2,3", {}, {}),
    ("LogSoftmax", "aten::log_softmax", "2,3 -> 2,3", {}, {}),
    ("LayerNormalization", "aten::layer_norm", "2,3 3 3 -> 2,3", {}, {}),
    ("LayerNormalization", "aten::layer_norm", "2,3 3 -> 2,3", {}, {}),
    ("LayerNormalization", "aten::native_layer_norm", "2,3 3 3 -> 2,3 2,1 2,1", {}, {}),
    ("RMSNormalization", "aten::rms_norm", "2,3 3 -> 2,3", {}, {}),
    ("GroupNormalization", "aten::group_norm", "1,4,2 4 4 -> 1,4,2", {"num_groups": 2}, {}),
    ("InstanceNormalization", "aten::instance_norm", "1,4,2 4 4 -> 1,4,2", {}, {}),
    ("BatchNormalization", "aten::batch_norm", "2,3,4 3 3 3 3 -> 2,3,4", {}, {"training": 0}),
    (
        "BatchNormalization",
        "aten::batch_norm",
        "2,3,4 3 3 3 3 -> 2,3,4",
        {"training_mode": 1},
        {"training": 1},
    ),
    ("ReduceSum", "aten::sum", "2,3 -> 2", {}, {}),
    ("ReduceMean", "aten::mean", "2,3 -> 2", {}, {}),
    ("ReduceMax", "aten::amax", "2,3 -> 2", {}, {}),
    ("ReduceL2", "aten::linalg_vector_norm", "2,3 -> 2", {}, {"ord": 2}),
    ("ReduceL1", "aten::linalg_vector_norm", "2,3 -> 2", {}, {"ord": 1}),
    ("ReduceLogSumExp", "aten::logsumexp", "2,3 -> 2", {}, {}),
    ("ArgMax", "aten::argmax", "2,3 -> i64:2", {}, {}),
    ("Det", "aten::linalg_det", "5,3,3 -> 5", {}, {}),
    ("com.microsoft::Inverse", "aten::linalg_inv", "5,3,3 -> 5,3,3", {}, {}),
    (
        "MaxPool",
        "aten::max_pool2d",
        "1,2,6,6 -> 1,2,3,3",
        {"kernel_shape": [2, 2]},
        {"kernel_size": (2,)},
    ),
    (
        "AveragePool",
        "aten::avg_pool1d",
        "1,2,6 -> 1,2,3",
        {"kernel_shape": [2]},
        {"kernel_size": (2,)},
    ),
    ("GlobalAveragePool", "aten::adaptive_avg_pool2d", "2,3,4,4 -> 2,3,1,1", {}, {}),
    ("Resize", "aten::upsample_bilinear2d", "1,3,4,4 -> 1,3,8,8", {"mode": "linear"}, {}),
    ("Resize", "aten::upsample_bicubic2d", "1,3,4,4 -> 1,3,8,8", {"mode": "cubic"}, {}),
    ("Resize", "aten::upsample_nearest2d", "1,3,8,8 -> 1,3,4,4", {"mode": "nearest"}, {}),
    (
        "GridSample",
        "aten::grid_sampler",
        "1,3,4,4 1,5,5,2 -> 1,3,5,5",
        {"mode": "linear"},
        {"interpolation_mode": 0},
    ),
    ("AffineGrid", "aten::affine_grid_generator", "1,2,3 -> 1,4,4,2", {}, {}),
    ("Gather", "aten::embedding", "99,8 i64:2,5 -> 2,5,8", {}, {}),
    ("GatherElements", "aten::gather", "9,9 i64:2,3 -> 2,3", {}, {"dim": 0}),
    ("ScatterElements", "aten::scatter", "9,9 i64:2,3 2,3 -> 9,9", {}, {"dim": 0}),
    (
        "ScatterElements",
        "aten::scatter_add",
        "9,9 i64:2,3 2,3 -> 9,9",
        {"reduction": "add"},
        {"dim": 0},
    ),
    ("NonZero", "aten::nonzero", "3,3 -> i64:2,4", {}, {}),
    ("OneHot", "aten::one_hot", "i64:5 -> 5,10", {}, {}),
    ("Concat", "aten::cat", "2,3 2,5 -> 2,8", {}, {"tensors": 2}),
    ("Tile", "aten::repeat", "2,3 -> 4,3", {}, {}),
    ("Pad", "aten::pad", "2,3 -> 4,5", {}, {}),
    ("Trilu", "aten::tril", "4,4 -> 4,4", {}, {}),
    ("Range", "aten::arange", "-> i64:7", {}, {}),
    ("ConstantOfShape", "aten::full", "-> 4,5", {}, {}),
    ("TopK", "aten::topk", "2,8 -> 2,3 i64:2,3", {}, {"dim": -1}),
    ("Unique", "aten::_unique2", "8 -> 4 i64:8 i64:4", {}, {}),
    ("RandomNormal", "aten::randn", "-> 2,3", {}, {}),
    ("RandomUniform", "aten::rand", "-> 2,3", {}, {}),
    ("Bernoulli", "aten::bernoulli", "2,3 -> 2,3", {}, {}),
    ("Multinomial", "aten::multinomial", "2,8 -> i64:2,5", {}, {}),
    ("Dropout", "aten::dropout", "2,3 -> 2,3", {}, {"train": 0}),
    ("HannWindow", "aten::hann_window", "-> 8", {}, {}),
    ("SoftmaxCrossEntropyLoss", "aten::cross_entropy_loss", "2,5 i64:2 -> ()", {}, {}),
    ("NegativeLogLikelihoodLoss", "aten::nll_loss", "2,5 i64:2 -> ()", {}, {}),
    ("QuantizeLinear", "aten::quantize_per_tensor", "2,3 () i8:() -> i8:2,3", {}, {}),
    ("DequantizeLinear", "aten::dequantize", "i8:2,3 () i8:() -> 2,3", {}, {}),
]


@pytest.mark.parametrize(
    ("onnx", "torchs", "signature", "onnx_attributes", "attributes"),
    PAIRS,
    ids=[f"{onnx}-{torchs}" for onnx, torchs, *_ in PAIRS],
)
def test_one_function_costs_the_same_in_both_vocabularies(
    onnx: str,
    torchs: str,
    signature: str,
    onnx_attributes: dict[str, Any],
    attributes: dict[str, Any],
) -> None:
    ours = work_of(op_of(torchs, signature, **attributes))
    theirs = work_of(op_of(onnx, signature, **onnx_attributes))
    assert (ours.kind, ours.other_flops, ours.bytes_read, ours.bytes_written) == (
        theirs.kind,
        theirs.other_flops,
        theirs.bytes_read,
        theirs.bytes_written,
    )
