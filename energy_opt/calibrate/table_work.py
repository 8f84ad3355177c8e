"""What the rows of a table compute and move: by the rules that count a model's work, or as the rows say."""

from __future__ import annotations

from typing import Any

import numpy as np

from energy_opt.calibrate import table_ops
from energy_opt.calibrate.columns import Columns
from energy_opt.calibrate.samples import Array
from energy_opt.estimators.forms.attention import performed
from energy_opt.estimators.work import RowWork, WorkTable
from energy_opt.ir.signature import price
from energy_opt.ir.signature import row as row_of


def work_and_groups(cell: dict[str, Any], part: Columns) -> tuple[RowWork, Any]:
    """What the rows of a group compute and move, and the names of what is left out together."""
    spec = table_ops.kind_of(cell["kind"])
    own = {name[5:]: part.numbers(name) for name in part.frame if name[:5] == "size_"
           and part.given(name).all()}  # fmt: skip
    sized = spec is not None and not own and (not cell["explicit"] or _has_sizes(spec, part))
    if not sized and not cell["explicit"]:
        part.refuse(
            np.ones(len(part), dtype=bool), "bytes_read",
            f"rows of kind {cell['kind']} have no sizes of their own: flops, other_flops, bytes_read and bytes_written",
        )  # fmt: skip
    counted, binding = _counted(cell, part, spec) if spec and sized else (None, {})
    if cell["explicit"]:
        counted = _explicit(part, own if counted is None else dict(counted.sizes))
    assert counted is not None
    return counted, _groups(part, spec if sized else None, binding, counted)


def _has_sizes(spec: table_ops.Kind, part: Columns) -> bool:
    needed = [name for name, default in spec.sizes.items() if default is None]
    return all(part.given(name).all() for name in needed or ["shape"])


def _explicit(part: Columns, sizes: dict[str, Any]) -> RowWork:
    flops, other = (part.numbers(name, 0.0) for name in ("flops", "other_flops"))
    read, written = (part.numbers(name) for name in ("bytes_read", "bytes_written"))
    part.refuse(read + written + flops + other <= 0, "bytes_read", "some work: FLOPs or bytes")
    weights = part.numbers("weight_bytes", 0.0)
    return RowWork(flops, other, read, written, weights, np.ones(len(part)), sizes, ())


def _counted(
    cell: dict[str, Any], part: Columns, spec: table_ops.Kind
) -> tuple[RowWork, dict[str, Array]]:
    """The rule's formulas over the rows' sizes, and those sizes by column."""
    if cell["kind"] == "moe":
        part.numbers("topk", low=1, whole=True)
    if cell["kind"] in table_ops.POINTWISE and not table_ops.operator(cell["op"]):
        part.refuse(
            np.ones(len(part), dtype=bool), "op",
            "an operator of torch or ONNX (gelu, add, layer_norm), or the counts flops, bytes_read, ... instead,",
        )  # fmt: skip
    binding = _binding(cell, part, spec)
    signature = price(spec.build(cell))
    if not signature.modelled and cell["kind"] != "collective":
        part.refuse(np.ones(len(part), dtype=bool), "op", f"an operator of kind {cell['kind']}")
    table = WorkTable([row_of(signature, [])])
    work = performed(cell["kind"], table(binding)[0])
    length = len(part)
    sizes = {name: np.broadcast_to(size, length) for name, size in work.sizes.items()}
    flops, other, read, written, weights = (
        np.array(np.broadcast_to(value, length))
        for value in (
            work.matmul_flops, work.other_flops, work.bytes_read, work.bytes_written, work.weight_bytes
        )
    )  # fmt: skip
    if cell["kind"] == "collective":  # no operator of a graph yet: a message in, a message out
        read = written = binding["bytes"]
        sizes = {"message": binding["bytes"], "ranks": binding["ranks"]}
    return RowWork(flops, other, read, written, weights, np.ones(length), sizes, ()), binding


def _binding(cell: dict[str, Any], part: Columns, spec: table_ops.Kind) -> dict[str, Array]:
    sizes = {
        name: part.numbers(name, default, low=1, whole=True) for name, default in spec.sizes.items()
    }
    if cell["kind"] == "attention":
        sizes["kv_heads"] = np.where(sizes["kv_heads"] > 0, sizes["kv_heads"], sizes["heads"])
        sizes["dv"] = np.where(sizes["dv"] > 0, sizes["dv"], sizes["d"])
    elif cell["kind"] == "conv":
        sizes |= _windows(cell, part, sizes)
    elif cell["kind"] in table_ops.POINTWISE:
        sizes |= _shape(part)
    return sizes


def _windows(cell: dict[str, Any], part: Columns, sizes: dict[str, Array]) -> dict[str, Array]:
    """Kernel and output sizes of convolutions."""
    ones = np.ones(len(part), dtype=bool)
    allowed = "a size such as 3, or height x width such as 3x1,"
    if not cell["groups"].isdigit() or int(cell["groups"]) < 1:
        part.refuse(ones, "groups", "a whole number of at least 1")
    uneven = (sizes["in_channels"] % int(cell["groups"])) + (
        sizes["out_channels"] % int(cell["groups"])
    )
    part.refuse(uneven > 0, "groups", "a divisor of in_channels and out_channels")
    kernel = np.array(part.mapped("kernel", table_ops.pair, allowed), dtype=np.float64)
    padding = np.array(
        part.mapped("padding", lambda text: table_ops.pair(text or "0"), allowed), dtype=np.float64
    )
    try:
        stride = table_ops.pair(cell["stride"])
    except ValueError:
        stride = (0, 0)
    if min(stride) < 1:
        part.refuse(ones, "stride", allowed)
    part.refuse(kernel.min(axis=1) < 1, "kernel", allowed)
    image = np.stack([sizes["height"], sizes["width"]], axis=1)
    out = np.floor((image + 2 * padding - kernel) / np.array(stride)) + 1
    part.refuse(out.min(axis=1) < 1, "kernel", "a kernel no larger than the padded image")
    names = ("kernel_height", "kernel_width", "out_height", "out_width")
    return dict(zip(names, (*kernel.T, *out.T), strict=True))


def _shape(part: Columns) -> dict[str, Array]:
    allowed = "a shape such as 8x128x768 (or a number of elements in the column elements)"
    whole = part.numbers("elements", 0.0, low=1, whole=True)
    part.refuse(~part.given("shape") & (whole == 0), "shape", allowed)
    cells = np.where(part.given("shape"), part.text("shape"), [f"{size:.0f}" for size in whole])
    shapes = Columns(part.path, part.frame.assign(shape=cells)).mapped(
        "shape", table_ops.shape, allowed
    )
    rows, last = np.array(shapes, dtype=np.float64).reshape(-1, 2).T
    return {"rows": rows, "last": last}


def _groups(
    part: Columns, spec: table_ops.Kind | None, binding: dict[str, Array], work: RowWork
) -> Any:
    """The table's own names, else the shape of the weights, else what is computed and moved."""
    names = part.text("group")
    if spec is None:
        columns = [work.matmul_flops, work.other_flops, work.bytes_read, work.bytes_written]
    else:
        columns = [binding[name] if name in binding else part.text(name) for name in spec.group]
        if np.any(batched := binding.get("b", np.ones(1)) != 1):  # no weights, but two activations
            columns.append(np.where(batched, binding["m"], 0.0))
    made = ["x".join(_cell(value) for value in row) for row in zip(*columns, strict=True)]
    return np.where(names == "", np.array(made, dtype=object), names).astype(str)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.12g}"
