"""Every operator that PyTorch calls core, and a real call of some three hundred: none is priced as mere traffic."""

from __future__ import annotations

from typing import Any

import pytest

from energy_opt.ir.rules import lookup
from energy_opt.ir.signature import price
from tests.ir.rules.table import op_of, work_of

torch = pytest.importorskip("torch")

from tests.ir.rules.aten.calls import CALLS  # noqa: E402
from tests.ir.rules.aten.real import Called  # noqa: E402


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
    packet, _, overload = name.partition(".")
    named = arguments[-1] if isinstance(arguments[-1], dict) else {}
    function = getattr(getattr(torch.ops.aten, packet), overload or "default")
    call = Called(function, *arguments[: len(arguments) - bool(named)], **named)
    signature = price(call.op)
    assert signature.modelled
    assert (signature.kind == "view") == call.is_view
    work = work_of(call.op)
    most = sum(tensor.nbytes for tensor in (*call.op.inputs, *call.op.outputs) if tensor)
    assert work.other_flops >= 0
    assert 0 <= work.bytes_read <= 2 * most  # what is scattered with a sum is read twice
    assert 0 <= work.bytes_written <= 2 * most
