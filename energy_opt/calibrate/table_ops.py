"""Kinds of work as rows of a table name them: which sizes each takes, and the operator whose rule counts its work.

An operator is built with the column's names as its dims, so the rules that count a model's work give formulas, which
are then evaluated over all rows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx_ir

from energy_opt.ir.dims import Dim, product, symbol
from energy_opt.ir.op import Op, Tensor
from energy_opt.ir.rules import lookup
from energy_opt.ir.rules.registry import KINDS

Cell = Mapping[str, str]
"""What the rows of one group share: the texts of the columns that are not sizes."""

DTYPES = {
    "float64": "DOUBLE", "float32": "FLOAT", "tf32": "FLOAT", "float16": "FLOAT16", "bfloat16": "BFLOAT16",
    "float8": "FLOAT8E4M3FN", "int8": "INT8", "int32": "INT32", "float4": "FLOAT4E2M1", "int4": "INT4",
}  # fmt: skip
"""Types by their names in tables and profiles."""

SHORT = {"fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "fp8": "float8", "fp4": "float4",
         "half": "float16", "float": "float32", "double": "float64", "float8_e4m3fn": "float8",
         "float8_e5m2": "float8", "nvfp4": "float4"}  # fmt: skip
"""Other names of types that tables may use."""

_TWO_OPERANDS = frozenset(
    "add sub mul div pow maximum minimum fmod remainder atan2 where prelu eq ne lt le gt ge cat logical_and "
    "logical_or bitwise_and bitwise_or glu_mul".split()
)
_WIDER = {"float8": "bfloat16", "float4": "bfloat16", "int8": "int32", "int4": "int32"}
"""What products of narrow operands are written in, where a table does not say."""


@dataclass(frozen=True)
class Kind:
    """How a kind's rows are read: its sizes (None: needed, else the default), and what names the weights' shape."""

    op: str
    build: Callable[[Cell], Op]
    sizes: Mapping[str, int | None]
    group: tuple[str, ...]
    shared: tuple[str, ...] = ()


def _tensor(dtype: str, *dims: Dim, constant: bool = False) -> Tensor:
    return Tensor(dims, onnx_ir.DataType[DTYPES[dtype]], constant)


def _result(cell: Cell) -> str:
    return cell["out_dtype"] or _WIDER.get(cell["dtype"], cell["dtype"])


def _symbols(names: str) -> list[Dim]:
    return [symbol(name) for name in names.split()]


def _matmul(cell: Cell) -> Op:
    b, m, n, k = _symbols("b m n k")
    dtype, result = cell["dtype"], _result(cell)
    if cell["op"] == "linear":
        bias = [_tensor(result, n, constant=True)] if cell["bias"] == "1" else []
        x, w = _tensor(dtype, b, m, k), _tensor(dtype, n, k, constant=True)
        return Op("aten", "linear", 1, (x, w, *bias), (_tensor(result, b, m, n),))
    x, w = _tensor(dtype, b, m, k), _tensor(dtype, b, k, n)
    return Op("aten", "bmm", 1, (x, w), (_tensor(result, b, m, n),))


def _conv(cell: Cell) -> Op:
    b, c, o, h, w = _symbols("batch in_channels out_channels height width")
    groups, stride = int(cell["groups"]), [int(side) for side in pair(cell["stride"])]
    r, s = _symbols("kernel_height kernel_width")
    dtype, result = cell["dtype"], _result(cell)
    weight = _tensor(dtype, o, c / groups if groups > 1 else c, r, s, constant=True)
    bias = [_tensor(result, o, constant=True)] if cell["bias"] == "1" else []
    y = _tensor(result, b, o, *_symbols("out_height out_width"))
    attributes = {"group": groups, "strides": stride}
    return Op("", "Conv", 22, (_tensor(dtype, b, c, h, w), weight, *bias), (y,), attributes)


def _attention(cell: Cell) -> Op:
    b, heads, kv_heads, q, kv, d, dv = _symbols("batch heads kv_heads q kv d dv")
    cache = cell["kv_dtype"] or cell["dtype"]
    result = cell["out_dtype"] or {"float8": "bfloat16"}.get(cell["dtype"], cell["dtype"])
    key, value = _tensor(cache, b, kv_heads, kv, d), _tensor(cache, b, kv_heads, kv, dv)
    attributes = {"is_causal": int(cell["causal"]), "enable_gqa": 1}
    inputs = (_tensor(cell["dtype"], b, heads, q, d), key, value)
    y = _tensor(result, b, heads, q, dv)
    return Op("aten", "scaled_dot_product_attention", 1, inputs, (y,), attributes)


def _moe(cell: Cell) -> Op:
    tokens, experts, hidden, inner = _symbols("tokens experts hidden intermediate")
    dtype = cell["dtype"]
    x, y = (_tensor(kind, tokens, hidden) for kind in (dtype, _result(cell)))
    up = _tensor(dtype, experts, hidden, inner, constant=True)
    down = _tensor(dtype, experts, inner, hidden, constant=True)
    scores = _tensor("float32", tokens, experts)
    gate = (up,) if cell["gated"] == "1" else ()
    attributes = {"k": int(cell["topk"]), "activation_type": "silu"}
    return Op("com.microsoft", "MoE", 1, (x, scores, up, None, down, None, *gate), (y,), attributes)


def _pointwise(cell: Cell) -> Op:
    rows, last = _symbols("rows last")
    dtype, name = cell["dtype"], cell["op"]
    x, y = _tensor(dtype, rows, last), _tensor(cell["out_dtype"] or dtype, rows, last)
    reads = int(cell["reads"]) or (2 if name in _TWO_OPERANDS else 1)
    inputs = (x,) * reads
    if cell["kind"] == "norm":
        gain = _tensor(dtype, last, constant=True)
        inputs = (x, gain) if "rms" in name else (x, gain, gain)
    elif cell["kind"] == "gather":
        names = Tensor((rows,), onnx_ir.DataType.INT64)
        inputs = (_tensor(dtype, 2**20, last, constant=True), names)
    elif cell["kind"] == "reduction":
        y = _tensor(cell["out_dtype"] or dtype, rows)
    domain, op_type = operator(name) or ("", name)
    return Op(domain, op_type, 1, inputs, (y,), {"alpha": 1, "dim": -1})


def _collective(cell: Cell) -> Op:
    return Op("", cell["op"], 1, (), ())


KIND = {
    "matmul": Kind("matmul", _matmul, {"b": 1, "m": None, "n": None, "k": None}, ("n", "k"), ("bias",)),
    "conv": Kind(
        "conv2d", _conv,
        {"batch": None, "in_channels": None, "out_channels": None, "height": None, "width": None},
        ("in_channels", "out_channels", "kernel", "stride", "groups"), ("groups", "stride", "bias"),
    ),
    "attention": Kind(
        "scaled_dot_product_attention", _attention,
        {"batch": None, "heads": None, "kv_heads": 0, "q": None, "kv": None, "d": None, "dv": 0},
        ("heads", "kv_heads", "d"), ("causal", "kv_dtype"),
    ),
    "moe": Kind(
        "moe", _moe, {"tokens": None, "experts": None, "hidden": None, "intermediate": None},
        ("experts", "hidden", "intermediate", "topk"), ("topk", "gated"),
    ),
    "collective": Kind("allreduce", _collective, {"bytes": None, "ranks": None}, ("bytes",)),
}  # fmt: skip
"""Kinds with sizes of their own."""

POINTWISE = {
    "softmax": "softmax", "norm": "layer_norm", "elementwise": "", "reduction": "sum", "gather": "embedding",
    "copy": "clone", "quantize": "quantize_per_tensor",
}  # fmt: skip
"""Kinds whose rows are a shape, and the operator where a row names none."""

_POINTWISE = {
    kind: Kind(op, _pointwise, {}, ("last",), ("reads",)) for kind, op in POINTWISE.items()
}
NAMES = frozenset(KINDS - {"view", "shape", "control", "sequence"} | {"collective"})
"""Kinds that a table may hold."""


def kind_of(name: str) -> Kind | None:
    """How rows of that kind are read; None where only explicit counts say what one does."""
    return KIND.get(name) or _POINTWISE.get(name)


def operator(name: str) -> tuple[str, str] | None:
    """Domain and type of an operator by the name that a table gives it: torch's, else ONNX's; None if unknown."""
    domain, colons, op_type = name.rpartition("::")
    if colons:
        return (domain, op_type) if lookup(domain, op_type) else None
    return next(((d, name) for d in ("aten", "", "com.microsoft") if lookup(d, name)), None)


def pair(text: str) -> tuple[int, int]:
    """`3` as (3, 3), `3x1` as (3, 1). Raises ValueError."""
    sides = tuple(int(part) for part in text.lower().split("x"))
    if len(sides) not in (1, 2) or min(sides) < 0:
        raise ValueError(text)
    return sides[0], sides[-1]


def shape(text: str) -> tuple[Dim, int]:
    """`8x128x768` as the number of rows and their length: (1024, 768). Raises ValueError."""
    dims = [int(part) for part in text.lower().split("x")]
    if min(dims) < 1:
        raise ValueError(text)
    return product(dims[:-1]), dims[-1]
