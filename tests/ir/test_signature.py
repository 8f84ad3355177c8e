"""What of a row's traffic is weights."""

from __future__ import annotations

from dataclasses import replace

import pytest

from energy_opt.ir.op import Op
from energy_opt.ir.signature import price, row
from tests.ir.rules.table import formula, op_of


def with_weights(op: Op, *places: int) -> Op:
    """The op with these inputs constant."""
    inputs = tuple(
        replace(tensor, constant=True) if index in places and tensor is not None else tensor
        for index, tensor in enumerate(op.inputs)
    )
    return replace(op, inputs=inputs)


@pytest.mark.parametrize(
    ("name", "signature", "places", "weight_bytes"),
    [
        # weight and bias
        ("aten::linear", "s,16 8,16 8 -> s,8", (1, 2), 4 * (128 + 8)),
        # 2 of 8 experts of 16x8 are met
        ("aten::_grouped_mm", "2,16 8,16,8 i32:8 -> 2,8", (1,), 2 * 512),
        ("aten::_grouped_mm", "s,16 8,16,8 i32:8 -> s,8", (1,), "512*Min(8, s)"),
        # weights that another op made are no weights
        ("aten::_grouped_mm", "2,16 8,16,8 i32:8 -> 2,8", (), 0),
        # 5 rows of a table of 100
        ("Gather", "100,16 i64:5 -> 5,16", (0,), 5 * 64),
        ("com.microsoft::MoE", "1,8 1,4 4,16,8 - 4,8,16 -> 1,8", (2, 4), 4 * 256),
    ],
)
def test_weight_bytes(
    name: str, signature: str, places: tuple[int, ...], weight_bytes: int | str
) -> None:
    found = row(price(with_weights(op_of(name, signature), *places)), [])
    assert found.weight_bytes == formula(str(weight_bytes))
