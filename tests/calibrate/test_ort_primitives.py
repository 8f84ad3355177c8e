from __future__ import annotations

import collections

import pytest

from energy_opt.calibrate.draw import Means, Sizes
from energy_opt.calibrate.ort_draw import MENU, draw
from energy_opt.calibrate.ort_draw_products import layer
from energy_opt.calibrate.ort_from_model import of_model
from energy_opt.calibrate.ort_primitives import Node, OnnxPrimitive, chain, one
from energy_opt.calibrate.primitives import TensorSpec
from energy_opt.errors import CalibrationError, UsageError

SMALL = Means(flops=2e7, nbytes=4e6, batch=2)


def x(*shape: int) -> TensorSpec:
    return TensorSpec(shape)


def w(*shape: int) -> TensorSpec:
    return TensorSpec(shape, role="weight")


LINEAR = one("MatMul", [x(2, 10, 8), w(8, 16)], x(2, 10, 16))
PAIRS = x(4, 10)
GELU = chain(one("Add", [PAIRS, w(10)], PAIRS), Node("Gelu", ("o0",), ("y",)), y=PAIRS)
IMAGE, MADE = x(1, 4, 6, 6), x(1, 8, 6, 6)
CONV = one("Conv", [IMAGE, w(8, 4, 3, 3), w(8)], MADE, kernel_shape=(3, 3), pads=(1, 1, 1, 1))
RELU = chain(CONV, Node("Relu", ("o0",), ("r",)), r=MADE)


@pytest.mark.parametrize(
    ("primitive", "op", "kind", "flops", "read", "written"),
    [
        # 2 * 20 * 16 * 8 FLOPs; 160 + 128 elements in, 320 out, 4 bytes each
        (LINEAR, "MatMul", "matmul", 5120, 4 * 288, 4 * 320),
        # the sum stays in registers: 40 elements and the bias in, 40 out
        (GELU, "Add+Gelu", "elementwise", 0, 4 * 50, 4 * 40),
        # 2 * 36 positions * 8 * (4 * 9); 144 + 288 + 8 elements in, 288 out
        (RELU, "Conv+Relu", "conv", 20736, 4 * 440, 4 * 288),
    ],
)
def test_work_is_that_of_a_prediction(
    primitive: OnnxPrimitive, op: str, kind: str, flops: int, read: int, written: int
) -> None:
    row, work = primitive.row, primitive.work
    assert (row.op, row.kind, row.dtype, row.kernels) == (op, kind, "float32", 1)
    assert (work.matmul_flops, work.bytes_read, work.bytes_written) == (flops, read, written)


def test_names_tell_primitives_apart_and_stay() -> None:
    again = one("MatMul", [x(2, 10, 8), w(8, 16)], x(2, 10, 16))
    other = one("MatMul", [x(2, 11, 8), w(8, 16)], x(2, 11, 16))
    assert LINEAR.key == again.key != other.key
    assert LINEAR.group == other.group == "MatMul 8x16"  # left out together: one weight


def test_what_is_no_single_kernel_is_refused() -> None:
    two = chain(LINEAR, Node("Softmax", ("o0",), ("y",)), y=x(2, 10, 16))
    with pytest.raises(CalibrationError, match="MatMul, Softmax: 2 kernels"):
        _ = two.row
    view = one("Reshape", [x(2, 3), TensorSpec((1,), "int64", "index")], x(6), constants={1: (6,)})
    assert not view.runs


def test_every_draw_is_one_kernel_of_the_kind_that_the_menu_says() -> None:
    sizes = Sizes(0, "float32", SMALL)
    for _, kind, make in MENU:
        try:
            row = make(sizes).row
        except CalibrationError as error:
            # whether a sum that others read joins its norm is the passes' to decide
            assert "Add, LayerNormalization" in str(error)
            continue
        assert (row.kind, row.modelled) == (kind, True), make


def test_draws_keep_to_their_means_and_seed() -> None:
    drawn = draw(120, means=SMALL, seed=1)
    assert len(drawn) >= 100
    assert max(p.nbytes for p in drawn) <= SMALL.nbytes
    assert max(p.row.matmul_flops for p in drawn) <= SMALL.flops
    assert [p.key for p in drawn] == [p.key for p in draw(120, means=SMALL, seed=1)]
    assert {p.row.kind for p in draw(60, means=SMALL, kinds=["conv"])} == {"conv"}
    widths = [layer(Sizes(n, "float32", SMALL)).specs["i1"].shape[1] for n in range(200)]
    odd = sum(width % 64 != 0 for width in widths) / len(widths)
    assert 0.15 < odd < 0.45  # a quarter of the layers' sizes are no multiples of 64


MODEL = """
<ir_version: 10, opset_import: ["" : 20]>
m (float[batch, seq, 8] x) => (float[batch, seq, 8] y)
<float[8, 8] w, float[8] b, float[8] s>
{
  h = MatMul (x, w)
  a = Add (h, b)
  g = Gelu (a)
  shape = Shape (g)
  flat = Reshape (g, shape)
  h2 = MatMul (flat, w)
  sum = Add (h2, x)
  y = LayerNormalization <axis = -1> (sum, s, b)
}
"""


def test_a_models_kernels_are_drawn_with_what_they_fuse(tmp_path: object) -> None:
    import onnx

    path = f"{tmp_path}/m.onnx"
    model = onnx.parser.parse_model(MODEL)
    for value, shape in (("w", (8, 8)), ("b", (8,)), ("s", (8,))):
        kept = [t for t in model.graph.initializer if t.name != value]
        del model.graph.initializer[:]
        data = [0.5] * (shape[0] * (shape[1] if len(shape) > 1 else 1))
        model.graph.initializer.extend([*kept, onnx.helper.make_tensor(value, 1, shape, data)])
    onnx.save(model, path)
    drawn = of_model(path)
    ops = collections.Counter(p.row.op for p in drawn.primitives)
    # four sizes; the two products are of one shape; Shape and Reshape move nothing
    assert ops == {"MatMul": 4, "Add+Gelu": 4, "Add+LayerNormalization": 4}
    assert drawn.left_out == {}
    rows = {p.work.sizes["m"] for p in drawn.primitives if p.row.op == "MatMul"}
    assert rows == {128, 32, 256, 768}


def test_graphs_that_onnxruntime_does_not_run_are_refused() -> None:
    torch = pytest.importorskip("torch")
    from energy_opt.frontend import load

    with pytest.raises(UsageError, match="export the model first"):
        of_model(load(torch.nn.Linear(4, 4), (torch.randn(2, 4),)))
