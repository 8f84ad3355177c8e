"""Calls of PyTorch's operators on small tensors in memory, so that it shows what shares memory with what."""

from __future__ import annotations

from typing import Any

import onnx_ir
import torch

from energy_opt.ir.op import Op, Tensor

F32, I64 = torch.float32, torch.int64
C64 = torch.complex64


def f(*shape: int) -> Any:
    """Floats between 0 and 1, well away from both."""
    return torch.rand(shape) / 2 + 0.25


def i(*shape: int) -> Any:
    """Zeros to be used as indices."""
    return torch.zeros(shape, dtype=I64)


def b(*shape: int) -> Any:
    """A mask."""
    return torch.ones(shape, dtype=torch.bool)


def c(*shape: int) -> Any:
    """Complex numbers."""
    return torch.zeros(shape, dtype=C64)


def square(n: int) -> Any:
    """A positive definite matrix."""
    return torch.eye(n) * 2


CALLS: list[tuple[str, tuple[Any, ...]]] = [
    # arithmetic
    ("add.Tensor", (f(2, 3), f(3))),
    ("add_.Scalar", (f(2, 3), 1)),
    ("sub.Tensor", (f(2, 3), f(2, 3))),
    ("rsub.Scalar", (f(2, 3), 1)),
    ("mul.Tensor", (f(2, 3), 2)),
    ("div.Scalar_mode", (f(2, 3), 2.0, {"rounding_mode": "floor"})),
    ("floor_divide", (f(2, 3), f(2, 3))),
    ("pow.Tensor_Scalar", (f(2, 3), 2)),
    ("rsqrt", (f(2, 3),)),
    ("where.self", (b(2, 3), f(2, 3), f(1))),
    ("where.ScalarOther", (b(2, 3), f(2, 3), 0.0)),
    ("masked_fill.Scalar", (f(2, 3), b(2, 3), 0.0)),
    ("masked_fill_.Tensor", (f(2, 3), b(3), torch.tensor(0.0))),
    ("clamp", (f(2, 3), 0.0)),
    ("clamp.Tensor", (f(2, 3), None, f(3))),
    ("clamp_min_", (f(2, 3), 0.0)),
    ("lerp.Scalar", (f(2, 3), f(2, 3), 0.5)),
    ("addcmul_", (f(2, 3), f(2, 3), f(2, 3))),
    ("addcdiv", (f(2, 3), f(2, 3), f(2, 3))),
    ("isin.Tensor_Tensor", (i(2, 3), i(4))),
    ("bitwise_and.Tensor", (b(2, 3), b(2, 3))),
    ("__and__.Tensor", (b(2, 3), b(2, 3))),
    ("eq.Scalar", (i(2, 3), 0)),
    ("logical_not", (b(2, 3),)),
    ("cumsum", (f(2, 3), 1)),
    ("cummax", (f(2, 3), 1)),
    ("logcumsumexp", (f(2, 3), 1)),
    ("nan_to_num", (f(2, 3),)),
    ("complex", (f(2, 3), f(2, 3))),
    ("polar", (f(2, 3), f(2, 3))),
    ("linalg_cross", (f(2, 3), f(2, 3))),
    ("isclose", (f(2, 3), f(2, 3))),
    ("_foreach_add.Scalar", ([f(2, 3), f(4)], 1)),
    ("_foreach_mul_.List", ([f(2, 3), f(4)], [f(2, 3), f(4)])),
    ("_foreach_norm.Scalar", ([f(2, 3), f(4)],)),
    ("_foreach_zero_", ([f(2, 3), f(4)],)),
    ("_foreach_copy_", ([f(2, 3), f(4)], [f(2, 3), f(4)])),
    # activations
    ("relu_", (f(2, 3),)),
    ("gelu", (f(2, 3),)),
    ("silu", (f(2, 3),)),
    ("hardswish", (f(2, 3),)),
    ("glu", (f(2, 4),)),
    ("prelu", (f(2, 3), f(3))),
    ("rrelu", (f(2, 3),)),
    ("softplus", (f(2, 3),)),
    ("logit", (f(2, 3), 0.1)),
    ("log_sigmoid", (f(2, 3),)),
    ("softmax.int", (f(2, 3), 1)),
    ("_softmax", (f(2, 3), 1, False)),
    ("_log_softmax", (f(2, 3), 1, False)),
    ("_safe_softmax", (f(2, 3), 1)),
    ("gelu_backward", (f(2, 3), f(2, 3))),
    ("_softmax_backward_data", (f(2, 3), f(2, 3), 1, F32)),
    ("threshold_backward", (f(2, 3), f(2, 3), 0)),
    # reductions
    ("sum", (f(2, 3),)),
    ("sum.dim_IntList", (f(2, 3), [1])),
    ("mean.dim", (f(2, 3), [1])),
    ("var.correction", (f(2, 3), [1])),
    ("var_mean.correction", (f(2, 3), [1])),
    ("std.dim", (f(2, 3), [1])),
    ("max", (f(2, 3),)),
    ("max.dim", (f(2, 3), 1)),
    ("max.other", (f(2, 3), f(2, 3))),
    ("amax", (f(2, 3), [1])),
    ("aminmax", (f(2, 3),)),
    ("argmax", (f(2, 3),)),
    ("any", (b(2, 3),)),
    ("prod", (f(2, 3),)),
    ("logsumexp", (f(2, 3), [1])),
    ("norm.Scalar", (f(2, 3),)),
    ("linalg_vector_norm", (f(2, 3), float("inf"))),
    ("linalg_norm", (f(2, 3),)),
    ("linalg_matrix_norm", (f(2, 3), 2)),
    ("cosine_similarity", (f(2, 3), f(1, 3))),
    ("pairwise_distance", (f(2, 3), f(2, 3))),
    ("_pdist_forward", (f(4, 3),)),
    ("histc", (f(2, 3),)),
    ("bincount", (i(6),)),
    ("trace", (f(3, 3),)),
    ("renorm", (f(2, 3), 2, 0, 1)),
    # norms
    ("layer_norm", (f(2, 3), [3], f(3), f(3))),
    ("native_layer_norm", (f(2, 3), [3], None, None, 1e-5)),
    ("group_norm", (f(2, 4, 3), 2)),
    ("native_group_norm", (f(2, 4, 3), f(4), f(4), 2, 4, 3, 2, 1e-5)),
    ("instance_norm", (f(2, 4, 3), f(4), f(4), None, None, True, 0.1, 1e-5, False)),
    ("batch_norm", (f(2, 4, 3), f(4), f(4), f(4), f(4), False, 0.1, 1e-5, False)),
    ("_native_batch_norm_legit.no_stats", (f(2, 4, 3), f(4), f(4), True, 0.1, 1e-5)),
    ("_native_batch_norm_legit_no_training", (f(2, 4, 3), f(4), f(4), f(4), f(4), 0.1, 1e-5)),
    ("rms_norm", (f(2, 3), [3], f(3))),
    ("_weight_norm", (f(2, 3), f(2, 1))),
    (
        "native_layer_norm_backward",
        (f(2, 3), f(2, 3), [3], f(2, 1), f(2, 1), f(3), f(3), [True, True, True]),
    ),
    # pools and samples
    ("max_pool2d", (f(1, 2, 4, 4), [2])),
    ("max_pool2d_with_indices", (f(1, 2, 4, 4), [2, 2])),
    ("max_pool1d", (f(1, 2, 4), 2)),
    ("avg_pool1d", (f(1, 2, 4), [2])),
    ("avg_pool3d", (f(1, 2, 4, 4, 4), [2])),
    ("adaptive_avg_pool2d", (f(1, 2, 4, 4), [1, 1])),
    ("adaptive_max_pool1d", (f(1, 2, 4), [2])),
    ("fractional_max_pool2d", (f(1, 2, 4, 4), [2, 2], [2, 2], f(1, 2, 2))),
    ("max_unpool2d", (f(1, 2, 2, 2), i(1, 2, 2, 2), [4, 4])),
    ("avg_pool2d_backward", (f(1, 2, 2, 2), f(1, 2, 4, 4), [2], [2], [0], False, True, None)),
    ("upsample_nearest2d.vec", (f(1, 2, 2, 2), [4, 4], None)),
    ("upsample_bilinear2d", (f(1, 2, 2, 2), [4, 4], False)),
    ("_upsample_bicubic2d_aa", (f(1, 2, 8, 8), [4, 4], False)),
    ("upsample_linear1d", (f(1, 2, 4), [8], False)),
    ("grid_sampler", (f(1, 2, 4, 4), f(1, 3, 3, 2), 0, 0, False)),
    ("affine_grid_generator", (f(1, 2, 3), [1, 2, 4, 4], False)),
    # movement
    ("reshape", (f(2, 3), [6])),
    ("reshape", (f(2, 3).t(), [6])),
    ("contiguous", (f(2, 3),)),
    ("contiguous", (f(2, 3).t(),)),
    ("flatten.using_ints", (f(2, 3),)),
    ("to.dtype", (f(2, 3), F32)),
    ("to.dtype", (f(2, 3), torch.float16)),
    ("type_as", (f(2, 3), i(1))),
    ("_to_copy", (f(2, 3),)),
    ("clone", (f(2, 3),)),
    ("copy_", (f(2, 3), f(3))),
    ("view", (f(2, 3), [6])),
    ("view.dtype", (f(2, 3), torch.int32)),
    ("unflatten.int", (f(2, 6), 1, [2, 3])),
    ("permute", (f(2, 3), [1, 0])),
    ("transpose.int", (f(2, 3), 0, 1)),
    ("t", (f(2, 3),)),
    ("numpy_T", (f(2, 3),)),
    ("mT", (f(2, 3),)),
    ("movedim.int", (f(2, 3), 0, 1)),
    ("swapaxes", (f(2, 3), 0, 1)),
    ("squeeze.dim", (f(2, 1), 1)),
    ("unsqueeze", (f(2, 3), 0)),
    ("expand", (f(1, 3), [2, 3])),
    ("expand_as", (f(1, 3), f(2, 3))),
    ("broadcast_tensors", ([f(1, 3), f(2, 1)],)),
    ("meshgrid", ([f(3), f(2)],)),
    ("slice.Tensor", (f(2, 3), 0, 0, 1)),
    ("select.int", (f(2, 3), 0, 0)),
    ("narrow", (f(2, 3), 0, 0, 1)),
    ("split.Tensor", (f(2, 3), 1)),
    ("split_with_sizes", (f(2, 3), [1, 2], 1)),
    ("chunk", (f(2, 3), 2)),
    ("tensor_split.sections", (f(2, 3), 2)),
    ("unbind.int", (f(2, 3),)),
    ("diagonal", (f(3, 3),)),
    ("unfold", (f(6), 0, 2, 2)),
    ("as_strided", (f(6), [2, 3], [3, 1])),
    ("alias", (f(2, 3),)),
    ("detach", (f(2, 3),)),
    ("lift_fresh", (f(2, 3),)),
    ("view_as_real", (c(2, 3),)),
    ("view_as_complex", (f(3, 2),)),
    ("real", (c(2, 3),)),
    ("conj", (c(2, 3),)),
    ("resolve_conj", (c(2, 3),)),
    ("positive", (f(2, 3),)),
    ("cat", ([f(2, 3), f(2, 3)],)),
    ("stack", ([f(2, 3), f(2, 3)],)),
    ("hstack", ([f(2, 3), f(2, 3)],)),
    ("block_diag", ([f(2, 3), f(2, 3)],)),
    ("repeat", (f(2, 3), [2, 2])),
    ("tile", (f(2, 3), [2, 2])),
    ("repeat_interleave.self_int", (f(2, 3), 2)),
    ("repeat_interleave.Tensor", (i(4) + 1,)),
    ("roll", (f(2, 3), [1], [0])),
    ("flip", (f(2, 3), [0])),
    ("rot90", (f(2, 3),)),
    ("pad", (f(2, 3), [1, 1])),
    ("constant_pad_nd", (f(2, 3), [-1, 0])),
    ("reflection_pad1d", (f(2, 3), [1, 1])),
    ("replication_pad2d", (f(1, 2, 3), [1, 1, 1, 1])),
    ("pixel_shuffle", (f(1, 4, 2, 2), 2)),
    ("channel_shuffle", (f(1, 4, 2, 2), 2)),
    ("tril", (f(3, 3),)),
    ("triu_", (f(3, 3),)),
    ("diag_embed", (f(3),)),
    ("squeeze_copy", (f(2, 1),)),
    # indexing
    ("embedding", (f(9, 4), i(2, 5))),
    ("embedding_bag", (f(9, 4), i(6), torch.tensor([0, 3]))),
    ("index.Tensor", (f(4, 5), [None, i(3)])),
    ("index.Tensor", (f(4, 5), [b(4)])),
    ("index_select", (f(4, 5), 1, i(3))),
    ("gather", (f(4, 5), 1, i(4, 2))),
    ("take_along_dim", (f(4, 5), i(4, 2), 1)),
    ("take", (f(4, 5), i(3))),
    ("masked_select", (f(4, 5), b(4, 5))),
    ("nonzero", (f(4, 5),)),
    ("index_put_", (f(4, 5), [i(3)], f(5))),
    ("index_put", (f(4, 5), [b(4, 5)], torch.tensor(1.0), True)),
    ("index_add_", (f(4, 5), 0, i(3), f(3, 5))),
    ("index_copy", (f(4, 5), 0, i(3), f(3, 5))),
    ("index_fill.int_Scalar", (f(4, 5), 1, i(3), 0)),
    ("scatter.src", (f(4, 5), 1, i(4, 2), f(4, 2))),
    ("scatter_.value", (f(4, 5), 1, i(4, 2), 1.0)),
    ("scatter_add", (f(4, 5), 1, i(4, 2), f(4, 2))),
    ("scatter_reduce_.two", (f(4, 5), 1, i(4, 2), f(4, 2), "amax")),
    ("slice_scatter", (f(4, 5), f(1, 5), 0, 0, 1)),
    ("masked_scatter", (f(4, 5), b(4, 5), f(20))),
    ("one_hot", (i(4), 5)),
    ("put_", (f(4, 5), i(2), f(2))),
    ("embedding_dense_backward", (f(2, 5, 4), i(2, 5), 9, -1, False)),
    # sorting
    ("topk", (f(2, 8), 3)),
    ("sort", (f(2, 8),)),
    ("argsort", (f(2, 8),)),
    ("msort", (f(2, 8),)),
    ("kthvalue", (f(2, 8), 2)),
    ("median", (f(2, 8),)),
    ("mode", (f(2, 8),)),
    ("quantile.scalar", (f(8), 0.5)),
    ("_unique2", (i(8),)),
    ("unique_consecutive", (i(8),)),
    ("searchsorted.Tensor", (f(8).sort().values, f(3))),
    ("bucketize.Tensor", (f(3), f(8).sort().values)),
    # chance
    ("dropout", (f(2, 3), 0.5, False)),
    ("dropout", (f(2, 3), 0.5, True)),
    ("dropout_", (f(2, 3), 0.5, True)),
    ("native_dropout", (f(2, 3), 0.5, True)),
    ("feature_dropout", (f(2, 3), 0.5, False)),
    ("alpha_dropout", (f(2, 3), 0.5, True)),
    ("bernoulli", (f(2, 3),)),
    ("bernoulli.p", (f(2, 3), 0.5)),
    ("multinomial", (f(2, 5), 3, True)),
    ("rand", ([2, 3],)),
    ("randn_like", (f(2, 3),)),
    ("randint.low", (0, 5, [2, 3])),
    ("randperm", (8,)),
    ("normal_", (f(2, 3),)),
    ("normal.Tensor_Tensor", (f(2, 3), f(2, 3))),
    # transforms
    ("fft_fft", (f(2, 8),)),
    ("fft_rfft", (f(2, 8), 16)),
    ("fft_irfft", (c(2, 5),)),
    ("fft_rfft2", (f(2, 8, 8),)),
    ("fft_fftn", (c(2, 8, 8), None, [1, 2])),
    ("fft_irfftn", (c(2, 8, 5), [8, 8])),
    ("_fft_r2c", (f(2, 8), [1], 0, True)),
    ("_fft_c2c", (c(2, 8), [0, 1], 0, True)),
    ("_fft_c2r", (c(2, 5), [1], 0, 8)),
    ("stft", (f(2, 40), 8, 4, None, torch.ones(8), False, True, True)),
    # algebra
    ("linalg_cholesky", (square(3),)),
    ("linalg_inv", (square(3),)),
    ("linalg_det", (square(3),)),
    ("linalg_solve", (square(3), f(3, 2))),
    ("triangular_solve", (f(3, 2), square(3))),
    ("linalg_solve_triangular", (square(3), f(3, 2), {"upper": True})),
    ("cholesky_solve", (f(3, 2), square(3))),
    ("linalg_qr", (f(4, 3),)),
    ("linalg_svd", (f(4, 3),)),
    ("linalg_eigh", (square(3),)),
    ("linalg_eig", (square(3),)),
    ("linalg_lstsq", (f(4, 3), f(4, 2))),
    ("linalg_matrix_exp", (square(3),)),
    ("linalg_svdvals", (f(4, 3),)),
    # from nothing
    ("arange", (5,)),
    ("zeros", ([2, 3],)),
    ("full", ([2, 3], 1.0)),
    ("ones_like", (f(2, 3),)),
    ("new_zeros", (f(2, 3), [4])),
    ("empty.memory_format", ([2, 3],)),
    ("empty_like", (f(2, 3),)),
    ("eye", (3,)),
    ("linspace", (0, 1, 5)),
    ("scalar_tensor", (1.0,)),
    ("fill_.Scalar", (f(2, 3), 1)),
    ("zero_", (f(2, 3),)),
    ("hann_window", (8,)),
    ("tril_indices", (3, 3)),
    # losses
    ("cross_entropy_loss", (f(2, 5), i(2))),
    ("nll_loss", (f(2, 5), i(2))),
    ("mse_loss", (f(2, 5), f(2, 5))),
    ("binary_cross_entropy_with_logits", (f(2, 5), f(2, 5))),
    ("kl_div", (f(2, 5), f(2, 5))),
    ("ctc_loss.IntList", (f(6, 2, 5).log(), i(2, 3) + 1, [6, 6], [3, 3])),
    ("smooth_l1_loss", (f(2, 5), f(2, 5))),
    # quantisation and the host
    ("fake_quantize_per_tensor_affine", (f(2, 3), 0.1, 0, 0, 255)),
    ("_local_scalar_dense", (torch.tensor(1.0),)),
    ("item", (torch.tensor(1.0),)),
    ("_assert_async", (torch.tensor(True),)),
    ("sym_size.int", (f(2, 3), 0)),
]
"""Overload (the default one is left out) and arguments, those by name as a dictionary at the end."""


class Called:
    """A call: the op as rules see it, and whether its result only gives memory another name."""

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        packet, _, overload = name.partition(".")
        function = getattr(getattr(torch.ops.aten, packet), overload or "default")
        named = arguments[-1] if isinstance(arguments[-1], dict) else {}
        arguments = arguments[: len(arguments) - bool(named)]
        tensors: list[Any] = []
        attributes: dict[str, Any] = {}
        writes = False
        for index, argument in enumerate(function._schema.arguments):
            value = named.get(argument.name, argument.default_value)
            value = arguments[index] if index < len(arguments) else value
            writes |= argument.alias_info is not None and argument.alias_info.is_write
            if "Tensor" not in str(argument.type) or isinstance(value, (int, float)):
                if value is not None:
                    attributes[argument.name] = _plain(value)
            elif isinstance(value, list):
                attributes[argument.name] = len(value)
                tensors += value
            else:
                tensors.append(value)
        while tensors and tensors[-1] is None:
            tensors.pop()
        inputs = tuple(_tensor(value) for value in tensors)
        results = _flat(function(*arguments, **named))
        memory = {value.untyped_storage().data_ptr() for value in tensors if value is not None}
        shared = [value.untyped_storage().data_ptr() in memory for value in results]
        self.is_view = bool(results) and all(shared) and not writes
        attributes |= {"is_view": int(self.is_view), "in_place": int(writes)}
        outputs = tuple(tensor for value in results if (tensor := _tensor(value)) is not None)
        self.op = Op("aten", packet, 1, inputs, outputs, attributes)


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _flat(item)]
    return [value] if isinstance(value, torch.Tensor) else []


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str)):
        return int(value) if isinstance(value, bool) else value
    return tuple(value) if isinstance(value, list) else str(value)


def _tensor(value: Any) -> Tensor | None:
    if value is None:
        return None
    name = str(value.dtype).removeprefix("torch.").upper()
    dtype = {"FLOAT32": "FLOAT", "FLOAT64": "DOUBLE"}.get(name, name)
    return Tensor(tuple(value.shape), onnx_ir.DataType[dtype])
