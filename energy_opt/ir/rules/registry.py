"""One registry of work rules for every op vocabulary: `(domain, op type) -> kind and rule`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

from energy_opt.errors import UsageError
from energy_opt.ir.op import Op, Work

Rule = Callable[[Op], Work]

KINDS = frozenset(
    {
        "matmul",
        "conv",
        "attention",
        "rnn",
        "norm",
        "softmax",
        "elementwise",
        "reduction",
        "pool",
        "gather",
        "scatter",
        "copy",
        "view",
        "resize",
        "sort",
        "random",
        "quantize",
        "moe",
        "fft",
        "shape",
        "sequence",
        "control",
        "tree",
        "other",
    }
)
"""Kinds of work that estimators tell apart. `view` moves nothing; `other` has no rule and is priced as traffic."""


class Entry(NamedTuple):
    """A registered rule and the kind of its ops."""

    kind: str
    rule: Rule

    @property
    def own(self) -> bool:
        """Whether the rule is one of this package's, not a user's."""
        return str(getattr(self.rule, "__module__", "")).startswith("energy_opt.")

    @property
    def name(self) -> str:
        """The rule's function, as a person would look for it."""
        function = getattr(self.rule, "__qualname__", None) or repr(self.rule)
        return f"{getattr(self.rule, '__module__', '?')}.{function}"


RULES: dict[tuple[str, str], Entry] = {}
"""Every rule that is registered so far."""

_TORCH = "energy_opt.ir.rules.aten"
_LATER = dict.fromkeys(
    ("aten", "higher_order", "mkl", "mkldnn", "quantized", "torchvision", "transformers"), _TORCH
)
"""Domains whose rules are imported when the first of their ops is met: they are many, and an ONNX file needs none."""


def rule(kind: str, *ops: str, override: bool = False) -> Callable[[Rule], Rule]:
    """Register the decorated function as the rule of the ops, named `OpType` or `domain::op_type`.

    The function takes an `Op` and returns its `Work`. PyTorch's ops are named as in `torch.ops`, but for the overload:
    `mylib::fused_mlp`. `override` replaces a rule that there is; a function defined anew replaces itself.

    Raises:
        UsageError: the kind is not known, a name is none, or an op has a rule already.
    """
    if kind not in KINDS:
        raise UsageError(f"a rule's kind is one of {', '.join(sorted(KINDS))}; not {kind!r}")
    if not ops:
        raise UsageError(f"rule({kind!r}) names no op: write rule({kind!r}, 'mylib::op')")
    keys = {_key(op): op for op in ops}
    for domain, _ in keys:
        if domain in _LATER:  # else ours would come after a user's, and replace it
            importlib.import_module(_LATER[domain])

    def register(function: Rule) -> Rule:
        entry = Entry(kind, function)
        for key, op in keys.items():
            before = RULES.get(key)
            if before is not None and not override and (before.own or before.name != entry.name):
                raise UsageError(
                    f"{op} has a rule already, {before.name}: pass override=True to replace it"
                )
        RULES.update(dict.fromkeys(keys, entry))
        return function

    return register


def _key(op: str) -> tuple[str, str]:
    """Domain and op type of a name. Raises UsageError where it is not one."""
    if not isinstance(op, str):
        raise UsageError(f"a rule is registered for names of ops such as 'mylib::op', not {op!r}")
    domain, colons, op_type = op.rpartition("::")
    if "." in op_type:
        start, _, rest = op_type.partition(".")
        proper = f"{domain}::{start}" if colons else f"{start}::{rest.partition('.')[0]}"
        raise UsageError(f"{op!r} is no name of an op; overloads share a rule: write {proper!r}")
    if not op_type or (colons and not domain):
        raise UsageError(f"{op!r} is no name of an op: write 'OpType' or 'domain::op_type'")
    return ("" if domain == "ai.onnx" else domain), op_type


def lookup(domain: str, op_type: str) -> Entry | None:
    """The rule of an op, or None; the domains `ai.onnx` and `` are the same."""
    key = ("" if domain == "ai.onnx" else domain, op_type)
    entry = RULES.get(key)
    if entry is None and domain in _LATER:
        importlib.import_module(_LATER[domain])
        entry = RULES.get(key)
    return entry
