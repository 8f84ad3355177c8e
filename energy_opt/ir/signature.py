"""One op's work, by its rule or as traffic, and the row of work that equal ops share."""

from __future__ import annotations

from dataclasses import dataclass

from energy_opt.ir.dims import Dim, total
from energy_opt.ir.foreign import foreign_work
from energy_opt.ir.op import Op, Work, is_arithmetic
from energy_opt.ir.row import Row, Use
from energy_opt.ir.rules import lookup

_NO_KERNEL = frozenset({"view", "shape", "control"})


@dataclass(frozen=True, slots=True)
class Signature:
    """The work of one distinct signature."""

    kind: str
    op: Op
    work: Work
    modelled: bool
    problem: str = ""
    """What went wrong in a rule of this package, for a note: it is a bug."""


def price(op: Op) -> Signature:
    """Kind and work of one op, by its rule; by the traffic of its operands where there is none that applies.

    Raises:
        RuleError: the rule is a user's, and it failed or its answer makes no sense.
    """
    entry = lookup(op.domain, op.op_type)
    if entry is None:
        return Signature("other", op, Work(), False)
    try:
        work = entry.rule(op) if entry.own else foreign_work(entry, op)
    except ValueError:
        # Operands that are unknown or make no sense: still not free, and counted as unmodelled.
        return Signature("other", op, Work(), False)
    except (IndexError, TypeError, ZeroDivisionError, KeyError, AttributeError) as error:
        # A bug of ours, which must neither cost the user the answer nor stay unseen.
        return Signature("other", op, Work(), False, f"{type(error).__name__}: {error}")
    kind = work.kind or entry.kind
    if (
        kind not in ("view", "control")
        and op.outputs
        and all(t.values is not None for t in op.outputs)
    ):
        kind = "shape"
    return Signature(kind, op, work, True)


def _traffic(signature: Signature) -> tuple[Dim, Dim]:
    """Bytes read and written by one execution, with the default for what the rule left open."""
    op, work = signature.op, signature.work
    moves = signature.kind not in ("view", "control")
    read = work.bytes_read
    if read is None:
        read = total(t.nbytes for t in op.inputs if t is not None) if moves else 0
    written = work.bytes_written
    if written is None:
        written = total(t.nbytes for t in op.outputs) if moves else 0
    return read, written


def _weight_traffic(signature: Signature, read: Dim) -> Dim:
    """The part of the bytes read that comes from weights and constants."""
    if signature.kind in ("view", "control"):
        return 0
    tensors = [t for t in signature.op.inputs if t is not None]
    stacked = [t for t in tensors if t.constant and t.shape is not None and len(t.shape) == 3]
    looks_up = bool(tensors) and tensors[0].constant
    if signature.work.bytes_read is not None and (
        looks_up or (signature.kind == "moe" and stacked)
    ):
        # Rows of a table, or the experts that are met, not all of them: what is read beside the other operands.
        return total([read, *(-t.nbytes for t in tensors[looks_up:] if not t.constant)])
    return total(t.nbytes for t in tensors if t.constant)


def row(signature: Signature, uses: list[Use]) -> Row:
    """The row of the nodes that have this signature."""
    read, written = _traffic(signature)
    return Row(
        kind=signature.kind,
        op=signature.op.op_type,
        dtype=_arithmetic(signature.op),
        matmul_flops=signature.work.matmul_flops,
        other_flops=signature.work.other_flops,
        bytes_read=read,
        bytes_written=written,
        weight_bytes=_weight_traffic(signature, read),
        sizes=signature.work.sizes,
        kernels=0 if signature.kind in _NO_KERNEL else 1,
        modelled=signature.modelled,
        count=total(use.times for use in uses),
        uses=tuple(uses),
    )


def fused_row(
    main: Signature, parts: list[Signature], saved_read: Dim, saved_write: Dim, uses: list[Use]
) -> Row:
    """The row of fusion groups of these parts; `main` does the heavy work, what is saved stays in registers."""
    rows = [row(part, uses) for part in parts]
    return Row(
        kind=main.kind,
        op="+".join(part.op.op_type for part in parts),
        dtype=_arithmetic(main.op),
        matmul_flops=total(part.matmul_flops for part in rows),
        other_flops=total(part.other_flops for part in rows),
        bytes_read=total([*(part.bytes_read for part in rows), -saved_read]),
        bytes_written=total([*(part.bytes_written for part in rows), -saved_write]),
        weight_bytes=total(part.weight_bytes for part in rows),
        sizes=main.work.sizes,
        kernels=max(part.kernels for part in rows),
        modelled=all(part.modelled for part in rows),
        count=rows[0].count,
        uses=tuple(uses),
        fused=tuple(part.op.op_type for part in parts),
    )


def _arithmetic(op: Op) -> str:
    """The type that the op computes in: of its first floating or integer operand that is not an index."""
    types = [t.dtype for t in (*op.inputs, *op.outputs) if t is not None and t.dtype is not None]
    for dtype in types:
        if is_arithmetic(dtype):
            return _DTYPES.get(dtype.name, dtype.name.lower())
    return _DTYPES.get(types[0].name, types[0].name.lower()) if types else "float32"


_DTYPES = {
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "UINT8": "int8",
    "INT4": "int8",
    "UINT4": "int8",
}
_DTYPES |= dict.fromkeys(
    ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"), "float8"
)
