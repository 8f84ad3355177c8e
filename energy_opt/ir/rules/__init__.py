"""Work rules: one small function per op kind, from shapes, dtypes and attributes to `Work`.

An op without a rule is never free: it is priced as the traffic of its operands, named and counted. Importing the
package registers the rules of ONNX; those of PyTorch (`aten`) come with the first of its ops. docs/ops.md states what
they count.
"""
# ruff: noqa: F401  (importing a file registers its rules)

from energy_opt.ir.rules import (
    attention,
    attention_sparse,
    contrib,
    control,
    conv,
    einsum,
    elementwise,
    matmul,
    moe,
    movement,
    norm,
    pool,
    quantize,
    randomness,
    reduction,
    rnn,
    signal,
    sort,
    training,
    trees,
)
from energy_opt.ir.rules.registry import RULES, Entry, lookup, rule

__all__ = ["RULES", "Entry", "lookup", "rule"]
