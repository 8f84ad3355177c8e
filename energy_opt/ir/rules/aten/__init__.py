"""Work rules of PyTorch's operators: the composite ones that eager mode calls, and the core ones of exports.

An in-place variant is priced as what it is made of; views are told apart by the front-end (`is_view`). See docs/ops.md.
"""
# ruff: noqa: F401  (importing a file registers its rules)

from energy_opt.ir.rules.aten import (
    activation,
    attention,
    control,
    conv,
    distance,
    elementwise,
    factory,
    fft,
    foreach,
    indexing,
    linalg,
    loss,
    matmul,
    moe,
    movement,
    norm,
    packed,
    pool,
    quantize,
    randomness,
    reduction,
    rnn,
    sort,
)
