"""Sequences and optionals: the shape of their elements, and their number where it is known."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.elementwise import BOOL, dtype_of
from energy_opt.ir.shapes.info import Call, Info
from energy_opt.ir.shapes.layout import INT64, as_dim, join
from energy_opt.ir.shapes.registry import shape_rule
from energy_opt.ir.shapes.space import Space

ITEMS_LIMIT = 256
"""Sequence elements whose shapes are told apart; longer sequences keep what their elements share."""


def common(space: Space, infos: Sequence[Info]) -> Info:
    """What several tensors share: axes that differ become new symbols, ranks that differ an unknown shape."""
    if not infos:
        return Info()
    first = infos[0]
    dtype = next((info.dtype for info in infos if info.dtype is not None), None)
    nest = max((info.nest for info in infos), key=len)
    shapes = [info.shape for info in infos]
    length = first.length if all(info.length == first.length for info in infos) else None
    items = first.items if all(info.items == first.items for info in infos) else None
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes) or len({len(shape) for shape in known}) > 1:
        return Info(None, dtype, None, nest, items, length)
    dims: list[Dim] = []
    for axis, dim in enumerate(known[0]):
        same = all(shape[axis] == dim for shape in known)
        dims.append(dim if same else space.fresh())
    values = first.values if all(info.values == first.values for info in infos) else None
    return Info(tuple(dims), dtype, values, nest, items, length)


def sequence_of(space: Space, items: Sequence[Info], dtype: onnx_ir.DataType | None) -> Info:
    """A sequence of these elements."""
    shared = common(space, items)
    kept = tuple(items) if len(items) <= ITEMS_LIMIT else None
    return Info(shared.shape, shared.dtype or dtype, None, "s" + shared.nest, kept, len(items))


@shape_rule("SequenceConstruct")
def construct(call: Call) -> Sequence[Info]:
    """A sequence of the inputs."""
    items = [info for info in call.inputs if info is not None]
    return [sequence_of(call.space, items, None)]


@shape_rule("SequenceEmpty")
def empty(call: Call) -> Sequence[Info]:
    """A sequence without elements."""
    return [Info(None, dtype_of(call, call.attrs.get("dtype", 1)), None, "s", (), 0)]


@shape_rule("SequenceAt")
def at(call: Call) -> Sequence[Info]:
    """One element."""
    items, place = call.input(0), call.ints(1, "position")
    if items.items is not None and place:
        if not -len(items.items) <= place[0] < len(items.items):
            call.fail(f"element {place[0]} of a sequence of {len(items.items)}")
        return [items.items[place[0]]]
    return [Info(items.shape, items.dtype)]


@shape_rule("SequenceLength")
def length(call: Call) -> Sequence[Info]:
    """How many elements there are."""
    number = call.input(0).length
    return [Info((), INT64, None if number is None else (number,))]


@shape_rule("SequenceInsert")
def insert(call: Call) -> Sequence[Info]:
    """The sequence with one element more."""
    items, tensor = call.input(0), call.input(1)
    place = call.ints(2, "position")
    number = None if items.length is None else call.space.add(items.length, 1)
    dtype = tensor.dtype if tensor.dtype is not None else items.dtype
    if items.items is None or (call.optional(2) is not None and place is None):
        empty = items.length == 0
        shared = tensor if empty else common(call.space, [items._replace(nest=""), tensor])
        shape = shared.shape if items.shape is not None or empty else None
        return [Info(shape, dtype, None, "s", None, number)]
    spot = len(items.items) if place is None else place[0]
    if not -len(items.items) <= spot <= len(items.items):
        call.fail(f"a place {spot} in a sequence of {len(items.items)}")
    spot += len(items.items) if spot < 0 else 0
    grown = [*items.items[:spot], tensor, *items.items[spot:]]
    return [sequence_of(call.space, grown, dtype)]


@shape_rule("SequenceErase")
def erase(call: Call) -> Sequence[Info]:
    """The sequence with one element less."""
    items = call.input(0)
    place = [-1] if call.optional(1) is None else call.ints(1, "position")
    if items.items is None or not place:
        number = None if items.length is None else call.space.sub(items.length, 1)
        return [Info(items.shape, items.dtype, None, "s", None, number)]
    if not -len(items.items) <= place[0] < len(items.items):
        call.fail(f"element {place[0]} of a sequence of {len(items.items)}")
    rest = list(items.items)
    del rest[place[0]]
    return [sequence_of(call.space, rest, items.dtype)]


@shape_rule("SplitToSequence")
def split_to_sequence(call: Call) -> Sequence[Info]:
    """Pieces along `axis` of the sizes given, or one by one."""
    x, operand, space = call.input(0), call.optional(1), call.space
    if x.shape is None:
        return [Info(None, x.dtype, None, "s")]
    axis = call.axis(call.int_attr("axis", 0), len(x.shape))
    before, dim, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]

    def piece(size: Dim | None) -> Info:
        middle = () if size is None else (size,)
        return Info((*before, *middle, *after), x.dtype)

    if operand is None:
        single = piece(1 if call.int_attr("keepdims", 1) else None)
        known = isinstance(dim, int) and dim <= ITEMS_LIMIT
        items = (single,) * dim if known else None
        return [Info(single.shape, x.dtype, None, "s", items, dim)]
    if operand.values is None:
        return [Info(piece(space.fresh()).shape, x.dtype, None, "s")]
    if operand.shape == ():
        size = as_dim(call, operand.values[0], "the split size")
        if size == 0:
            call.fail("the split size is 0")
        if not isinstance(size, int) or not isinstance(dim, int):
            return [Info(piece(space.fresh()).shape, x.dtype, None, "s")]
        number = -(-dim // size)
        if number > ITEMS_LIMIT:
            shape = piece(size if dim % size == 0 else space.fresh()).shape
            return [Info(shape, x.dtype, None, "s", None, number)]
        sizes: list[Dim] = [min(size, dim - i * size) for i in range(number)]
    else:
        sizes = [as_dim(call, value, "a split size") for value in operand.values]
        if isinstance(dim, int) and all(isinstance(s, int) for s in sizes) and sum(sizes) != dim:
            call.fail(f"split sizes {sizes} do not add up to {dim}")
    return [sequence_of(space, [piece(size) for size in sizes], x.dtype)]


@shape_rule("ConcatFromSequence")
def concat_from_sequence(call: Call) -> Sequence[Info]:
    """The elements joined along `axis`, a new one where `new_axis` is set."""
    items = call.input(0)
    new_axis, axis = bool(call.int_attr("new_axis", 0)), call.int_attr("axis")
    if items.items:
        tensors = list(items.items)
        if new_axis and all(info.shape is not None for info in tensors):
            tensors = [
                Info((*i.shape[:at], 1, *i.shape[at:]), i.dtype)
                for i in tensors
                for at in [call.axis(axis, len(i.shape) + 1)]
            ]
        return [join(call, tensors, axis, items.dtype)]
    if items.shape is None:
        return [Info(None, items.dtype)]
    rank = len(items.shape) + new_axis
    at_ = call.axis(axis, rank)
    shape = list(items.shape)
    if new_axis:
        shape.insert(at_, call.space.fresh() if items.length is None else items.length)
    else:
        shape[at_] = call.space.fresh()
    return [Info(tuple(shape), items.dtype)]


@shape_rule("Optional")
def optional(call: Call) -> Sequence[Info]:
    """The input, or nothing of the type that the attribute names."""
    x = call.optional(0)
    if x is not None:
        return [x._replace(nest="o" + x.nest)]
    kind = call.attrs.get("type")
    if kind is None:
        call.fail("neither an input nor a type")
    return [of_type(call.space, kind.type, kind.shape, "o")]


@shape_rule("OptionalGetElement")
def get_element(call: Call) -> Sequence[Info]:
    """What the optional holds."""
    x = call.input(0)
    return [x._replace(nest=x.nest.removeprefix("o"))]


@shape_rule("OptionalHasElement")
def has_element(call: Call) -> Sequence[Info]:
    """Whether the optional holds anything."""
    x = call.optional(0)
    value = 0 if x is None else 1 if "o" not in x.nest else None
    return [Info((), BOOL, None if value is None else (value,))]


def of_type(space: Space, kind: object, shape: onnx_ir.Shape | None, prefix: str = "") -> Info:
    """What a declared type and shape say."""
    nest = prefix
    while isinstance(kind, (onnx_ir.SequenceType, onnx_ir.OptionalType)):
        nest += "s" if isinstance(kind, onnx_ir.SequenceType) else "o"
        kind = kind.elem_type
    dtype = getattr(kind, "dtype", None)
    if dtype is onnx_ir.DataType.UNDEFINED:
        dtype = None
    if shape is None:
        return Info(None, dtype, None, nest)
    dims: list[Dim] = []
    for dim in shape.dims:
        known = space.read(dim)
        dims.append(space.fresh("input") if known is None else known)
    return Info(tuple(dims), dtype, None, nest)
