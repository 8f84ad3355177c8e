"""What is drawn of each operator, and how often: the layers of transformers and convolutional networks, op by op.

Arguments are those that PyTorch's modules pass, as a recorded graph has them.
"""

from __future__ import annotations

from energy_opt.calibrate import draw_elementwise as elementwise
from energy_opt.calibrate import draw_movement as movement
from energy_opt.calibrate import draw_products as products
from energy_opt.calibrate.draw import Maker

Entry = tuple[float, str, Maker]

MENU: tuple[Entry, ...] = (
    (24, "matmul", products.linear),
    (4, "matmul", products.linear_few),
    (2, "matmul", products.linear_vocabulary),
    (8, "matmul", products.addmm),
    (4, "matmul", products.scores),
    (4, "matmul", products.mixed),
    (4, "matmul", products.bmm),
    (8, "attention", products.prefill),
    (4, "attention", products.decode),
    (12, "conv", products.conv),
    (12, "conv", products.pointwise),
    (8, "conv", products.depthwise),
    (5, "conv", products.grouped),
    (5, "conv", products.stem),
    (4, "conv", products.conv1d),
    (5, "norm", elementwise.layer_norm),
    (2, "norm", elementwise.rms_norm),
    (5, "norm", elementwise.batch_norm),
    (2, "norm", elementwise.group_norm),
    (4, "softmax", elementwise.softmax),
    (3, "elementwise", elementwise.unary("gelu", approximate="none")),
    (3, "elementwise", elementwise.unary("gelu", approximate="tanh")),
    (3, "elementwise", elementwise.unary("relu")),
    (2, "elementwise", elementwise.unary_in_place("relu_")),
    (3, "elementwise", elementwise.unary("silu")),
    (2, "elementwise", elementwise.unary_in_place("silu_")),
    (3, "elementwise", elementwise.unary("tanh")),
    (3, "elementwise", elementwise.unary("sigmoid")),
    (3, "elementwise", elementwise.unary("exp")),
    (2, "elementwise", elementwise.unary("hardtanh", min_val=0.0, max_val=6.0)),
    (2, "elementwise", elementwise.unary("hardswish")),
    (2, "elementwise", elementwise.unary("cos")),
    (2, "elementwise", elementwise.unary("sin")),
    (2, "elementwise", elementwise.half_negated),
    (5, "elementwise", elementwise.binary("add", alpha=1)),
    (2, "elementwise", elementwise.added_in_place),
    (4, "elementwise", elementwise.binary("mul")),
    (2, "elementwise", elementwise.per_channel),
    (2, "elementwise", elementwise.rotated),
    (2, "elementwise", elementwise.binary("sub", alpha=1)),
    (2, "elementwise", elementwise.binary("div")),
    (2, "elementwise", elementwise.scalar("mul", 0.5)),
    (2, "elementwise", elementwise.scalar("add", 1.0)),
    (3, "elementwise", elementwise.power),
    (2, "elementwise", elementwise.rsqrt),
    (2, "elementwise", elementwise.masked),
    (2, "elementwise", elementwise.chosen),
    (2, "elementwise", elementwise.counted("add")),
    (2, "elementwise", elementwise.compared("le")),
    (2, "elementwise", elementwise.compared("eq")),
    (2, "elementwise", elementwise.both),
    (2, "elementwise", movement.counted_off),
    (3, "reduction", movement.reduced("mean", "dim")),
    (2, "reduction", movement.reduced("sum", "dim_IntList")),
    (2, "reduction", movement.reduced("amax", "")),
    (2, "reduction", movement.mean_positions),
    (2, "pool", movement.pooled("max_pool2d", 3, 2)),
    (2, "pool", movement.pooled("avg_pool2d", 2, 2)),
    (2, "pool", movement.pooled_whole),
    (4, "gather", movement.embedding),
    (2, "gather", movement.selected),
    (2, "gather", movement.gathered),
    (3, "copy", movement.joined),
    (3, "copy", movement.heads_together),
    (2, "copy", movement.channels_last),
    (2, "copy", movement.repeated),
    (2, "copy", movement.cloned),
    (2, "copy", movement.padded),
    (2, "copy", movement.rolled),
    (2, "copy", movement.filled),
)
"""How many of each in a draw of about 240: the share, the kind that the rules give it, and what makes it."""
