"""What a ModelProto must satisfy before it is read: types that exist, sizes that fit, names that are made once.

onnx.checker is stricter (it refuses operators that it does not know, and looks for external data on disk) and works on
bytes; this looks at what the reader relies on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import onnx
import onnx_ir
from onnx import AttributeProto, TensorProto, helper

from energy_opt.errors import ModelError
from energy_opt.ir.op import MOST_ELEMENTS

_TYPES = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}
_NOT_ONE_NUMBER = (onnx_ir.DataType.STRING, onnx_ir.DataType.COMPLEX64, onnx_ir.DataType.COMPLEX128)
_DATA = ("float_data", "int32_data", "int64_data", "uint64_data", "double_data", "string_data")
_SPARSE = (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS)
_VALUE_OF = {"value": AttributeProto.TENSOR, "sparse_value": AttributeProto.SPARSE_TENSOR}


def checked(model: onnx.ModelProto, source: str) -> onnx.ModelProto:
    """The model as onnx_ir can read it; the argument is left as it is.

    Sparse tensors are written as dense ones without data, and map types (what ZipMap makes of a classifier's
    probabilities) are left out.

    Raises:
        ModelError: a tensor or type that cannot be, or a value that two nodes make.
    """
    unreadable = False
    for graph in _graphs(model):
        _check_names(graph, source)
        for tensor in graph.initializer:
            _check_tensor(tensor, f"initializer {tensor.name!r}", source)
        for value in (*graph.input, *graph.output, *graph.value_info):
            _check_type(value.type, f"value {value.name!r}", source)
            unreadable |= _holds_map(value.type)
        unreadable |= bool(graph.sparse_initializer)
    for node in _nodes(model):
        place = f"{node.op_type} {node.name!r}"
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR and not attribute.ref_attr_name:
                _check_tensor(attribute.t, f"attribute {attribute.name!r} of {place}", source)
            wanted = _VALUE_OF.get(attribute.name) if node.op_type == "Constant" else None
            if wanted is not None and attribute.type != wanted:
                raise ModelError(f"{source}: {attribute.name!r} of {place} is not a tensor")
            if attribute.type in _SPARSE:
                if wanted is None:
                    raise ModelError(
                        f"{source}: attribute {attribute.name!r} of {place} holds sparse tensors, which only a "
                        "Constant can"
                    )
                unreadable = True
    return _readable(model) if unreadable else model


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    pending = [body for function in model.functions for body in _bodies(function.node)]
    pending.append(model.graph)
    while pending:
        graph = pending.pop()
        yield graph
        pending.extend(_bodies(graph.node))


def _bodies(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in _graphs(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _check_names(graph: onnx.GraphProto, source: str) -> None:
    made: dict[str, onnx.NodeProto] = {}
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        for name in node.output:
            if name and name in made:
                first = made[name]
                raise ModelError(
                    f"{source}: two nodes make the value {name!r}: {first.op_type} {first.name!r} and "
                    f"{node.op_type} {node.name!r}. Every value needs a name of its own"
                )
            if name and name in given:
                raise ModelError(
                    f"{source}: {node.op_type} {node.name!r} makes the value {name!r}, which is an input or a weight "
                    "already. Every value needs a name of its own"
                )
            made[name] = node


def _check_type(kind: onnx.TypeProto, place: str, source: str) -> None:
    for _ in range(64):
        which = kind.WhichOneof("value")
        if which in ("tensor_type", "sparse_tensor_type"):
            element = getattr(kind, which).elem_type
            if element not in _TYPES and element != TensorProto.UNDEFINED:
                raise ModelError(
                    f"{source}: {place} has the element type {element}, which ONNX does not define"
                )
            return
        if which not in ("sequence_type", "optional_type"):
            return
        inner = getattr(kind, which).elem_type
        if inner.WhichOneof("value") is None:
            raise ModelError(
                f"{source}: {place} is a {which.removesuffix('_type')} of nothing: its element type is missing"
            )
        kind = inner
    raise ModelError(f"{source}: the type of {place} is nested too deeply")


def _check_tensor(tensor: onnx.TensorProto, place: str, source: str) -> None:
    if tensor.data_type not in _TYPES:
        raise ModelError(
            f"{source}: {place} has the data type {tensor.data_type}, which ONNX does not define"
        )
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"{source}: {place} has a negative size: {list(tensor.dims)}")
    elements = math.prod(tensor.dims)
    if elements > MOST_ELEMENTS:
        raise ModelError(
            f"{source}: {place} has more elements than can be addressed: {list(tensor.dims)}"
        )
    if tensor.data_location == TensorProto.EXTERNAL:
        return
    bits = _bits(tensor.data_type)
    if tensor.HasField("raw_data"):
        if bits is not None and 8 * len(tensor.raw_data) != bits * elements:
            raise ModelError(
                f"{source}: {place} of shape {list(tensor.dims)} needs {bits * elements // 8} bytes of data "
                f"and has {len(tensor.raw_data)}"
            )
        return
    wanted = helper.tensor_dtype_to_field(tensor.data_type)
    present = [field for field in _DATA if len(getattr(tensor, field))]
    if any(field != wanted for field in present):
        name = TensorProto.DataType.Name(tensor.data_type)
        raise ModelError(
            f"{source}: {place} is of type {name}, but its data stands in {present[0]}"
        )
    if bits is not None and len(getattr(tensor, wanted)) != elements:
        raise ModelError(
            f"{source}: {place} of shape {list(tensor.dims)} needs {elements} elements "
            f"and has {len(getattr(tensor, wanted))}"
        )


def _bits(data_type: int) -> int | None:
    """Bits of an element; None where elements are packed, of no fixed size, or two numbers each."""
    dtype = onnx_ir.DataType(data_type)
    if dtype in _NOT_ONE_NUMBER or dtype.bitwidth % 8:
        return None
    return dtype.bitwidth


def _holds_map(kind: onnx.TypeProto) -> bool:
    while (which := kind.WhichOneof("value")) in ("sequence_type", "optional_type"):
        kind = getattr(kind, which).elem_type
    return bool(which == "map_type")


def _readable(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which sparse tensors are dense, of their full shape, without data, and maps have no type."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for graph in _graphs(copy):
        for value in (*graph.input, *graph.output, *graph.value_info):
            if _holds_map(value.type):
                value.ClearField("type")
        for sparse in graph.sparse_initializer:
            graph.initializer.append(_dense(sparse))
        del graph.sparse_initializer[:]
    for node in _nodes(copy):
        for attribute in node.attribute:
            if attribute.type == AttributeProto.SPARSE_TENSOR:
                dense = _dense(attribute.sparse_tensor)
                attribute.ClearField("sparse_tensor")
                attribute.name, attribute.type = "value", AttributeProto.TENSOR
                attribute.t.CopyFrom(dense)
    return copy


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    dense = TensorProto(
        name=sparse.values.name,
        dims=sparse.dims,
        data_type=sparse.values.data_type,
        data_location=TensorProto.EXTERNAL,
    )
    dense.external_data.add(key="location", value="sparse")
    return dense
