"""Control flow, assertions and questions about shapes: their bodies are rows of their own, the rest costs nothing."""

from __future__ import annotations

from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.aten.names import aten, names
from energy_opt.ir.rules.formulas import moved, nbytes
from energy_opt.ir.rules.registry import rule

BODIES = (
    "cond while_loop while_loop_stack_output map map_impl scan associative_scan foreach_map wrap "
    "wrap_with_set_grad_enabled wrap_with_autocast wrap_activation_checkpoint tag_activation_checkpoint "
    "dynamo_bypassing_wrapper hints_wrapper strict_mode autograd_function_apply custom_function_call invoke_subgraph "
    "invoke_quant invoke_quant_packed invoke_leaf_function run_const_graph local_map_hop flat_apply with_effects "
    "run_and_save_rng_state run_with_rng_state graphsafe_run_with_rng_state print _export_tracepoint"
)
"""Higher-order ops that run subgraphs of theirs, or nothing."""


@rule("control", *names(BODIES, "higher_order"))
def body_only(op: Op) -> Work:
    """Nothing beside the body."""
    return moved(0, 0)


@aten(
    "control",
    "sym_size sym_stride sym_numel sym_storage_offset sym_is_contiguous size stride numel dim len sym_constrain_range "
    "sym_constrain_range_for_size _functional_sym_constrain_range is_contiguous "
    "_functional_sym_constrain_range_for_size storage_offset is_complex is_floating_point is_signed is_same_size "
    "result_type can_cast promote_types _assert_async _assert_scalar _assert_tensor_metadata _functional_assert_async "
    "_make_dep_token _functional_assert_scalar _linalg_check_errors _print is_conj is_neg "
    "_has_compatible_shallow_copy_type _has_same_storage_numel _size_if_not_equal _nested_get_jagged_dummy "
    "_validate_compressed_sparse_indices _version is_coalesced dense_dim sparse_dim _nnz record_stream",
)
def free(op: Op) -> Work:
    """Nothing on the device: the host knows shapes, and assertions are not what a model is for."""
    return moved(0, 0)


@aten("shape", "item _local_scalar_dense _shape_as_tensor")
def to_host(op: Op) -> Work:
    """One number brought to the host."""
    read = 0 if op.op_type == "_shape_as_tensor" else nbytes(op.x)
    return moved(read, 0)
