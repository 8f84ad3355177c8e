"""What holds for every rule: counts are never negative, names stand for numbers, batches add up, garbage is refused."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sympy

from energy_opt.ir.dims import Dim, evaluate, symbol
from energy_opt.ir.op import Op, Tensor, Work
from energy_opt.ir.rules import RULES
from tests.ir.rules import (
    test_attention,
    test_contrib,
    test_conv,
    test_einsum,
    test_elementwise,
    test_layers,
    test_matmul,
    test_movement,
    test_norm_pool_reduction,
)
from tests.ir.rules.aten import test_as_onnx
from tests.ir.rules.aten import test_movement as test_aten_movement
from tests.ir.rules.table import DTYPES, SYMBOLS, Case, op_of, work_of

TABLES = (
    test_attention,
    test_contrib,
    test_conv,
    test_einsum,
    test_elementwise,
    test_layers,
    test_matmul,
    test_movement,
    test_norm_pool_reduction,
    *(
        importlib.import_module(f"tests.ir.rules.aten.{path.stem}")
        for path in sorted((Path(__file__).parent / "aten").glob("test_*.py"))
        if "\nCASES" in path.read_text(encoding="utf-8")  # the others need torch
    ),
)
CASES = [row for table in TABLES for row in table.CASES]
COUNTS = ("matmul_flops", "other_flops", "bytes_read", "bytes_written")


def free(row: Case) -> set[str]:
    return {
        name
        for name in SYMBOLS
        for part in row.signature.split()
        if name in part.rpartition(":")[2].partition("=")[0].split(",")
    }


NAMED = [row for row in CASES if free(row)]


def at(row: Case, sizes: dict[str, int]) -> Op:
    """The op with numbers in the place of names."""
    op = row.op
    values = {SYMBOLS[name]: size for name, size in sizes.items()}

    def numbered(tensor: Tensor | None) -> Tensor | None:
        if tensor is None or tensor.shape is None:
            return tensor
        dims = tuple(dim if isinstance(dim, int) else int(dim.subs(values)) for dim in tensor.shape)
        return Tensor(dims, tensor.dtype, tensor.constant, tensor.values)

    outputs = tuple(tensor for tensor in map(numbered, op.outputs) if tensor is not None)
    return Op(
        op.domain, op.op_type, op.version, tuple(map(numbered, op.inputs)), outputs, op.attributes
    )


def test_every_rule_is_in_a_table() -> None:
    seen = {(row.op.domain, row.op.op_type) for row in CASES}
    seen |= {(domain, name) for domain, _, name in (text.rpartition("::") for text in elsewhere())}
    functions = {id(entry.rule) for key, entry in RULES.items() if key in seen}
    assert [key for key, entry in RULES.items() if id(entry.rule) not in functions] == []


def elsewhere() -> Iterator[str]:
    """Ops of the tables that are written in another way."""
    yield from test_elementwise.UNARY
    yield from (torch for _, torch, *_ in test_as_onnx.PAIRS)
    yield from (f"aten::{name}" for name in test_aten_movement.VIEWS.split())


@pytest.mark.parametrize("row", NAMED, ids=str)
def test_a_formula_bound_to_numbers_is_the_count_of_those_numbers(row: Case) -> None:
    sizes = {"b": 3, "s": 5, "t": 9, "p": 4}
    formula, number = work_of(row.op), work_of(at(row, sizes))
    for name in COUNTS:
        assert evaluate(getattr(formula, name), sizes) == getattr(number, name), name
    bound = {name: evaluate(size, sizes) for name, size in formula.sizes}
    assert bound == dict(number.sizes)


@pytest.mark.parametrize("row", [row for row in NAMED if "b" in free(row)], ids=str)
def test_twice_the_batch_is_twice_the_flops(row: Case) -> None:
    b = symbol("b")
    for name in ("matmul_flops", "other_flops"):
        once = sympy.sympify(getattr(work_of(row.op), name))
        constant = once.subs(b, 0)  # weights that are dequantised once, whatever the batch
        assert sympy.expand(once.subs(b, 2 * b) - 2 * once + constant) == 0
        assert constant == 0 or "NBits" in row.name


@pytest.mark.parametrize("row", CASES, ids=str)
def test_no_count_is_negative_and_kinds_are_consistent(row: Case) -> None:
    work = work_of(at(row, {"b": 1, "s": 1, "t": 1, "p": 1}))
    assert all(getattr(work, name) >= 0 for name in COUNTS)
    assert all(size >= 1 for _, size in work.sizes)
    assert (work.matmul_flops > 0) == bool(work.sizes)  # who multiplies says what sizes


ATTRIBUTES = (
    "K N Nq Nkv activation alpha attention_mode axis bits block_size coefficients compress_ratio do_rotary equation "
    "expert_weight_bits group is_causal k kernel_shape kernel_type kv_num_heads layout left_window_size "
    "local_window_size max_ngram_size mode nodes_treeids num_heads perm policy_mode q_num_heads qkv_hidden_sizes "
    "reduction right_window_size rotary_embedding_dim sampling_ratio size softcap sparse_block_size support_vectors "
    "transA transB transBatchA tree_roots update_rule v_head_size window "
    "average_attn_weights beta bidirectional compute_mode dim dims_other dims_self dropout dropout_p expand1 expand2 "
    "has_biases mask max_k max_seqlen_k n need_weights num_head num_layers output_mask p params path scale_a scale_b "
    "sumdim train transposed use_gelu use_mask weight window_size_left window_size_right "
    "accumulate approximate compute_uv compute_v eps in_place indices interpolation_mode is_view kernel_size "
    "label_smoothing max min n_fft offsets ord other reduce return_complex rounding_mode s self src training value"
).split()
VALUES: tuple[Any, ...] = (
    *(0, 1, 2, 3, 8, -1, -2, 1.5, True, None, "x", "gelu", b"nearest", (), (1,), (2, 2), (2, 2, 2)),
    *((3, 1, 0, 2), [1], (1.0,), ("a",), object(), "ij,jk->ik", "...ij,...jk->...ik", "ii", "i..,j"),
)  # fmt: skip


KEYS = sorted(RULES)


def arbitrary(rng: random.Random) -> tuple[tuple[str, str], Op]:
    """A registered op with operands and attributes that need not make sense."""

    def dim() -> Dim:
        return symbol(rng.choice("bs")) if rng.random() < 0.2 else rng.randint(0, 8)

    def tensor() -> Tensor:
        shape = None if rng.random() < 0.05 else tuple(dim() for _ in range(rng.randint(0, 6)))
        values = rng.choice([None, None, (), (1,), (symbol("b"), 2)])
        return Tensor(shape, rng.choice([*DTYPES.values(), None]), rng.random() < 0.3, values)

    key = rng.choice(KEYS)
    inputs = tuple(None if rng.random() < 0.15 else tensor() for _ in range(rng.randint(0, 15)))
    outputs = tuple(tensor() for _ in range(rng.randint(0, 4)))
    attributes = {
        name: rng.choice(VALUES) for name in rng.sample(ATTRIBUTES, rng.randint(0, len(ATTRIBUTES)))
    }
    return key, Op(*key, rng.randint(1, 26), inputs, outputs, attributes)


def test_rules_refuse_garbage_with_a_value_error_alone() -> None:
    rng = random.Random(1)
    counted = 0
    for _ in range(5000):
        key, op = arbitrary(rng)
        try:
            work = RULES[key].rule(op)
        except ValueError:
            continue
        counted += 1
        assert isinstance(work, Work)
        for name in COUNTS:
            count = getattr(work, name)
            assert count is None or not isinstance(count, int) or count >= 0, (op, name)
    assert counted > 1000  # much of it is odd and still countable


def test_flops_do_not_depend_on_types() -> None:
    rows = ["2,3,4 4,5 -> 2,3,5", "f16:2,3,4 f16:4,5 -> f16:2,3,5"]
    single, half = (work_of(op_of("MatMul", row)) for row in rows)
    assert (single.matmul_flops, single.sizes) == (half.matmul_flops, half.sizes)
    assert single.bytes_read == 2 * half.bytes_read
