"""Work by a rule that a user registered: what fails or makes no sense is said, with the op and the rule."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import sympy

from energy_opt.errors import RuleError
from energy_opt.ir.dims import Dim, free_symbols
from energy_opt.ir.op import Op, Tensor, UnknownShape, Work
from energy_opt.ir.rules.registry import KINDS, Entry

_COUNTS = ("matmul_flops", "other_flops", "bytes_read", "bytes_written")


def foreign_work(entry: Entry, op: Op) -> Work:
    """The work that the rule gives, its counts as exact numbers or formulas.

    Raises:
        UnknownShape: the rule needs an operand that is missing or has no known shape.
        RuleError: the rule raised anything else, or its answer makes no sense.
    """
    try:
        work = entry.rule(op)
    except UnknownShape:
        raise
    except Exception as error:
        raise RuleError(
            f"{_where(entry, op)} raised {type(error).__name__}: {error}; mend the rule"
        ) from error
    if not isinstance(work, Work):
        _refuse(entry, op, f"returned {work!r}", "return energy_opt.Work(...)")
    if work.kind is not None and work.kind not in KINDS:
        _refuse(entry, op, f"gave the kind {work.kind!r}", f"kinds are {', '.join(sorted(KINDS))}")
    counts = {name: _count(entry, op, name, getattr(work, name)) for name in _COUNTS}
    return Work(**counts, sizes=_sizes(entry, op, work.sizes), kind=work.kind)


def _count(entry: Entry, op: Op, name: str, value: Any) -> Dim | None:
    """The count as an int, a fraction or a formula over the op's own dims; None where the default is meant."""
    if value is None and name.startswith("bytes"):
        return None
    if isinstance(value, float) and math.isfinite(value):
        value = sympy.Rational(value)
    elif not isinstance(value, sympy.Expr):
        try:
            value = operator.index(value)  # ints, bools, numpy's integers
        except TypeError:
            _refuse(
                entry, op, f"gave {name} = {value!r}", "a count is a number or a formula of dims"
            )
    if isinstance(value, sympy.Expr):
        strange = free_symbols([value]) - free_symbols(_dims(op))
        if strange:
            names = ", ".join(sorted(strange))
            _refuse(entry, op, f"gave {name} = {value}", f"{names} is in no operand's shape")
        value = int(value) if value.is_Integer else value
    if value < 0 if isinstance(value, int) else value.is_negative:
        _refuse(entry, op, f"gave {name} = {value}", "a count is never negative")
    return value


def _sizes(entry: Entry, op: Op, sizes: Any) -> tuple[tuple[str, Dim], ...]:
    pairs: Any = sizes.items() if isinstance(sizes, Mapping) else sizes
    try:
        named = [(str(name), size) for name, size in pairs]
    except (TypeError, ValueError):
        _refuse(
            entry, op, f"gave sizes = {sizes!r}", "sizes are pairs such as (('m', 128), ('n', 768))"
        )
    return tuple((name, _count(entry, op, f"size {name}", size) or 0) for name, size in named)


def _dims(op: Op) -> Iterable[Dim]:
    for tensor in (*op.inputs, *op.outputs):
        if tensor is not None:
            yield from tensor.shape or ()
            yield from tensor.values or ()


def _refuse(entry: Entry, op: Op, what: str, remedy: str) -> NoReturn:
    raise RuleError(f"{_where(entry, op)} {what}: {remedy}")


def _where(entry: Entry, op: Op) -> str:
    """Which rule failed, where it is written, and for what operands."""
    code = getattr(entry.rule, "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    inputs = ", ".join("none" if tensor is None else _spelled(tensor) for tensor in op.inputs)
    outputs = ", ".join(map(_spelled, op.outputs))
    return (
        f"the rule {entry.name}{place} of {op.domain}::{op.op_type}, for ({inputs}) -> ({outputs}),"
    )


def _spelled(tensor: Tensor) -> str:
    dims = "?" if tensor.shape is None else ", ".join(map(str, tensor.shape))
    return f"{'?' if tensor.dtype is None else tensor.dtype.name.lower()}[{dims}]"
