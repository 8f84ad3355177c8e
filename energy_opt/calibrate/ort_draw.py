"""What is drawn in ONNX's vocabulary: nodes of exported transformers and convolutional networks, as they stand there.

Sizes are drawn as for PyTorch (`draw.Sizes`); operands are those that exporters write.
"""

from __future__ import annotations

from collections.abc import Sequence

from energy_opt.calibrate.draw import CPU, Means, Sizes, drawn
from energy_opt.calibrate.ort_draw_elementwise import (
    batch_norm,
    bias_gelu,
    binary,
    both,
    cast,
    chosen,
    clip,
    compared,
    few,
    layer_norm,
    masked,
    per_channel,
    power,
    skip_norm,
    softmax,
    unary,
)
from energy_opt.calibrate.ort_draw_movement import (
    channels_moved,
    elements,
    embedding,
    halved,
    heads_apart,
    joined,
    keys_across,
    mean_positions,
    padded,
    pooled,
    positions_normed,
    reduced,
    repeated,
    split,
    whole,
)
from energy_opt.calibrate.ort_draw_products import (
    attention,
    conv,
    conv1d,
    depthwise,
    gemm,
    grouped,
    layer,
    layer_few,
    mixed,
    pointwise,
    scores,
    stem,
    vocabulary,
)
from energy_opt.calibrate.ort_primitives import Maker, OnnxPrimitive


def draw(
    count: int,
    *,
    dtype: str = "float32",
    means: Means = CPU,
    seed: int = 0,
    kinds: Sequence[str] | None = None,
) -> list[OnnxPrimitive]:
    """About `count` distinct primitives in that type, each node in proportion to its share of what models do.

    `kinds` keeps only these kinds of work. What exceeds the means is drawn again.
    """
    return drawn(MENU, Sizes(seed, dtype, means), count, kinds)


MENU: tuple[tuple[float, str, Maker], ...] = (
    (24, "matmul", layer), (5, "matmul", layer_few), (3, "matmul", vocabulary), (10, "matmul", gemm),
    (7, "matmul", scores), (7, "matmul", mixed), (8, "attention", attention),
    (14, "conv", conv), (14, "conv", pointwise), (9, "conv", depthwise), (5, "conv", grouped), (6, "conv", stem),
    (4, "conv", conv1d),
    (5, "norm", layer_norm), (8, "norm", skip_norm), (4, "norm", batch_norm), (6, "softmax", softmax),
    (6, "elementwise", bias_gelu), (4, "elementwise", unary("Gelu")),
    (4, "elementwise", unary("Gelu", approximate="tanh")), (3, "elementwise", unary("Erf")),
    (4, "elementwise", unary("Relu")), (4, "elementwise", unary("Tanh")), (4, "elementwise", unary("Sigmoid")),
    (3, "elementwise", unary("Exp")), (3, "elementwise", unary("HardSwish")), (3, "elementwise", unary("HardSigmoid")),
    (2, "elementwise", unary("Cos")), (2, "elementwise", unary("Sin")), (2, "elementwise", unary("Neg")),
    (2, "elementwise", unary("Sqrt")), (3, "elementwise", unary("IsNaN", "bool")),
    (2, "elementwise", few("Sqrt")), (2, "elementwise", few("Reciprocal")),
    (8, "elementwise", binary("Add")), (4, "elementwise", masked), (6, "elementwise", binary("Mul")),
    (2, "elementwise", per_channel), (3, "elementwise", binary("Sub")), (3, "elementwise", binary("Div")),
    (4, "elementwise", power), (3, "elementwise", clip), (5, "elementwise", chosen), (3, "elementwise", cast),
    (2, "elementwise", compared("LessOrEqual")), (2, "elementwise", compared("GreaterOrEqual")),
    (2, "elementwise", compared("Equal")), (2, "elementwise", both),
    (4, "reduction", reduced("ReduceMean")), (2, "reduction", reduced("ReduceSum")),
    (2, "reduction", reduced("ReduceMax")), (3, "reduction", mean_positions), (2, "reduction", positions_normed),
    (2, "pool", whole),
    (3, "pool", pooled("MaxPool", 3, 2)), (2, "pool", pooled("AveragePool", 2, 2)),
    (5, "gather", embedding), (2, "gather", elements),
    (6, "copy", heads_apart), (4, "copy", keys_across), (4, "copy", channels_moved), (4, "copy", joined),
    (4, "copy", split), (3, "copy", halved), (3, "copy", repeated), (2, "copy", padded),
)  # fmt: skip
"""How many of each in a draw of about 300: the share, the kind that the rules give it, and what makes it."""
