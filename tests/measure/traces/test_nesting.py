from __future__ import annotations

import pytest

from energy_opt.measure.traces.nesting import Span, walk
from energy_opt.measure.traces.recorded import Piece, Scope, kind_of


def op(name: str, start: float, end: float, key: int | None = None) -> Span:
    return Span("op", name, start, end, key)


def module(name: str, start: float, end: float) -> Span:
    return Span("module", name, start, end, scope=Scope(name, f"{name}_0"))


def test_an_operator_inside_another_is_part_of_it() -> None:
    spans = [
        op("aten::linear", 0, 10, 1),
        op("aten::t", 1, 2, 2),
        op("aten::addmm", 3, 9, 3),
        op("aten::relu", 10, 12, 4),
    ]
    found = walk([spans])
    assert [(call.op, call.seconds) for call in found.calls] == [
        ("aten::linear", 10),
        ("aten::relu", 2),
    ]
    assert {key: call.op for key, call in found.by_id.items()} == {
        1: "aten::linear", 2: "aten::linear", 3: "aten::linear", 4: "aten::relu",
    }  # fmt: skip


def test_an_operator_without_a_rule_leaves_its_parts_and_keeps_the_rest() -> None:
    spans = [
        op("mine::block", 0, 10),
        op("aten::mm", 1, 4),
        op("mine::inner", 4, 8),
        op("aten::relu", 5, 6),
    ]
    found = {call.op: call.seconds for call in walk([spans]).calls}
    assert found == {"aten::mm": 3, "aten::relu": 1, "mine::block": 6}
    assert sum(found.values()) == 10


def test_scopes_are_those_open_at_the_call() -> None:
    spans = [
        module("Net", 0, 100),
        module("Block", 10, 50),
        op("aten::mm", 20, 30),
        op("aten::relu", 60, 70),
    ]
    calls = walk([spans]).calls
    assert [[scope.type for scope in call.scopes] for call in calls] == [["Net", "Block"], ["Net"]]


def test_launches_belong_to_the_operator_around_them_on_their_thread() -> None:
    first = [op("aten::mm", 0, 10), Span("launch", "", 2, 3, 7), Span("launch", "", 12, 13, 8)]
    second = [Span("launch", "", 4, 5, 9)]
    found = walk([first, second])
    owner = found.by_launch[7]
    assert owner is not None
    assert owner.op == "aten::mm"
    assert found.by_launch[8] is None
    assert found.by_launch[9] is None


def test_what_ran_outside_the_steps_is_told_apart() -> None:
    spans = [op("aten::mm", 0, 1), Span("step", "ProfilerStep#1", 5, 10), op("aten::mm", 6, 7)]
    assert [call.in_step for call in walk([spans]).calls] == [False, True]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ampere_sgemm_128x64_tn", "matmul"),
        ("void cutlass::Kernel<cutlass_80_tensorop_s1688gemm>", "matmul"),
        ("sm80_xmma_fprop_implicit_gemm_tf32f32", "conv"),
        ("void flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128>>", "attention"),
        (
            "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>",
            "elementwise",
        ),
        ("void (anonymous namespace)::softmax_warp_forward<float, float>", "softmax"),
        ("void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<float>", "norm"),
        ("void at::native::reduce_kernel<512, 1>", "reduction"),
        ("Memcpy HtoD (Pageable -> Device)", "copy"),
        ("my_kernel", "other"),
        ("convert_fp32_to_fp16", "other"),
    ],
)
def test_a_kernel_without_an_operator_is_told_by_its_name(name: str, kind: str) -> None:
    assert Piece(name, 1.0).kind == kind


def test_an_operators_kind_is_its_rules() -> None:
    assert kind_of("aten::add_") == kind_of("aten::add") == "elementwise"
    assert kind_of("mine::op") is None
    assert Piece("some_gemm", 1.0, op="aten::softmax").kind == "softmax"
