"""Primitives: their work is that of a graph's nodes, their names are stable, their groups are weights."""

from __future__ import annotations

import os
import subprocess
import sys

import onnx_ir
import pytest

from energy_opt.calibrate.primitives import Primitive, TensorSpec, torch_name


def linear(rows: int = 4, width: int = 8, out: int = 16) -> Primitive:
    return Primitive(
        "aten::linear",
        "",
        (),
        (
            TensorSpec((rows, width)),
            TensorSpec((out, width), role="weight"),
            TensorSpec((out,), role="weight"),
        ),
        (TensorSpec((rows, out)),),
    )


def test_work_is_that_of_the_rules() -> None:
    row = linear().row
    assert (row.kind, row.op, row.dtype, row.kernels) == ("matmul", "linear", "float32", 1)
    assert row.matmul_flops == 1024  # 2 * 4 rows * 16 * 8
    assert row.other_flops == 64  # a bias per result
    assert row.weight_bytes == 576  # 4 bytes * (16 * 8 + 16)
    assert row.bytes_read == 704  # and 4 bytes * 4 * 8 of activations
    assert row.bytes_written == 256  # 4 bytes * 4 * 16


def test_work_as_numbers() -> None:
    work = linear().work
    assert work.matmul_flops == 1024.0
    assert dict(work.sizes) == {"b": 1.0, "m": 4.0, "n": 16.0, "k": 8.0}


def test_a_view_does_nothing() -> None:
    view = Primitive(
        "aten::view",
        "",
        (("size", (2, 4)), ("is_view", 1)),
        (TensorSpec((8,)),),
        (TensorSpec((2, 4)),),
    )
    assert (view.row.kind, view.row.kernels, view.row.bytes_read) == ("view", 0, 0)


def test_an_unknown_operator_is_priced_as_traffic() -> None:
    strange = Primitive("mylib::strange", "", (), (TensorSpec((8,)),), (TensorSpec((8,)),))
    assert strange.row.kind == "other"
    assert not strange.row.modelled
    assert strange.row.bytes_read == 32


@pytest.mark.parametrize(
    ("shape", "dtype", "nbytes"),
    [
        ((2, 3), "float32", 24),
        ((2, 3), "float16", 12),
        ((5,), "int64", 40),
        ((), "bool", 1),
        ((0, 4), "float32", 0),
    ],
)
def test_bytes_of_an_operand(shape: tuple[int, ...], dtype: str, nbytes: int) -> None:
    assert TensorSpec(shape, dtype).nbytes == nbytes


def test_weights_of_equal_shape_are_one_group() -> None:
    assert linear(rows=4).group == linear(rows=99).group
    assert linear().group != linear(out=17).group


def test_without_weights_the_last_sizes_are_the_group() -> None:
    def relu(*shape: int) -> Primitive:
        return Primitive("aten::relu", "", (), (TensorSpec(shape),), (TensorSpec(shape),))

    assert relu(1, 8, 64).group == relu(5, 8, 64).group
    assert relu(1, 8, 64).group != relu(1, 8, 65).group


def test_keys_tell_primitives_apart_and_nothing_else() -> None:
    assert linear().key == linear().key
    assert linear().key != linear(rows=5).key
    named = Primitive("aten::linear", "", (), linear().inputs, linear().outputs, origin="a model")
    assert named.key == linear().key


CODE = """
from energy_opt.calibrate.primitives import Primitive, TensorSpec
print(Primitive("aten::relu", "", (("a", 1),), (TensorSpec((3,)),), ()).key)
"""


def test_keys_are_the_same_in_another_process() -> None:
    runs = set()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=env
        )
        runs.add(done.stdout)
    assert len(runs) == 1
    assert runs.pop().startswith("aten::relu/")


def test_types_that_torch_has_no_tensors_of() -> None:
    assert torch_name(onnx_ir.DataType.FLOAT) == "float32"
    assert torch_name(onnx_ir.DataType.STRING) is None
    assert torch_name(None) is None
