"""Work rules: one small function per op kind, from shapes, dtypes and attributes to `Work`.

An op without a rule is never free: it is priced as the traffic of its operands, named and counted.
"""

from energy_opt.ir.rules import standard as _standard  # noqa: F401  (registers its rules)
from energy_opt.ir.rules.registry import RULES, Entry, lookup, rule

__all__ = ["RULES", "Entry", "lookup", "rule"]
