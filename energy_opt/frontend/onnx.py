"""An .onnx file -> Graph: weights stay where they are, functions are inlined, dims are named, shapes are known."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import onnx_ir
from onnx_ir.passes.common import InlinePass

from energy_opt.errors import EnergyOptError, ModelError, one_line
from energy_opt.frontend.check import checked
from energy_opt.frontend.control import assign_trips, name_unknown_dims
from energy_opt.frontend.experts import share_tokens
from energy_opt.frontend.scopes import assign_scopes
from energy_opt.frontend.symbols import Symbols, rename_shape
from energy_opt.frontend.wire import WeightPlace, read_model
from energy_opt.ir import shapes
from energy_opt.ir.constants import constant_nodes
from energy_opt.ir.dims import Dim
from energy_opt.ir.graph import Graph
from energy_opt.ir.op import bytes_of
from energy_opt.ir.symbolic import carried
from energy_opt.ir.verify import verify

_MAX_NODES = 2_000_000
_SMALL_ELEMENTS = 4096  # shapes are computed from far fewer; the rest is weights
_ROUNDS = 4  # of unifying symbols; each removes at least one, and real files need one or two


def load_onnx(path: str | Path) -> Graph:
    """The graph of an .onnx file. Weights are not read, and files that it names are not opened.

    Raises:
        ModelError: the file cannot be read, is not an ONNX model, or its graph makes no sense; the message says where.
    """
    proto, places = read_model(path)
    return load_proto(proto, str(path), places)


def load_proto(
    proto: onnx.ModelProto,
    source: str = "model in memory",
    places: Mapping[str, WeightPlace] | None = None,
) -> Graph:
    """The graph of a model in memory. `places` says where weights are that were left in a file. See `load_onnx`."""
    # onnx_ir logs what is an error here, and quotes the file's raw names.
    logger = logging.getLogger("onnx_ir")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        return _build(proto, source, places or {})
    except EnergyOptError as error:
        text = _printable(error)
        if text == str(error) and text.startswith(source):
            raise
        raise ModelError(text if text.startswith(source) else f"{source}: {text}") from error
    except RecursionError:
        raise ModelError(f"{source}: the graph is nested too deeply to be read") from None
    except Exception as error:
        # The file is untrusted and three libraries read it: whatever they stumble over, the file is the reason.
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        text = one_line(root)
        raise ModelError(
            f"{source}: the graph cannot be understood: {text or type(root).__name__}"
        ) from error
    finally:
        logger.setLevel(level)


def _printable(error: BaseException) -> str:
    """The message on one line; it may quote names from the file."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())


def _build(proto: onnx.ModelProto, source: str, places: Mapping[str, WeightPlace]) -> Graph:
    notes: list[str] = []
    _check_opsets(proto, source)
    model = onnx_ir.from_proto(checked(proto, source))
    _inline_functions(model, source, notes)
    _detach_weights(model, places, notes)
    graph = Graph(model, source, notes=notes)
    _put_in_order(model, source, notes)
    assign_scopes(graph)
    _infer(graph)
    assign_trips(graph)
    name_unknown_dims(graph)
    share_tokens(graph)
    graph.folded = constant_nodes(model)
    return graph


def _check_opsets(proto: onnx.ModelProto, source: str) -> None:
    newest = onnx.defs.onnx_opset_version()
    versions = {
        entry.domain if entry.domain != "ai.onnx" else "": entry.version
        for entry in proto.opset_import
    }
    version = versions.get("")
    if version is None:
        if any(node.domain in ("", "ai.onnx") for node in proto.graph.node):
            raise ModelError(
                f"{source}: the file does not say which opset of the ONNX operators it uses (opset_import)"
            )
    elif not 1 <= version <= newest:
        raise ModelError(
            f"{source}: opset {version} is not known; this installation of onnx knows 1 to {newest}. "
            "Upgrade the onnx package, or export the model with an older opset"
        )


def _inline_functions(model: onnx_ir.Model, source: str, notes: list[str]) -> None:
    """Replace calls of model-local functions by their bodies, after checking that they end."""
    if not model.functions:
        return
    sizes: dict[onnx_ir.OperatorIdentifier, int] = {}
    active: set[onnx_ir.OperatorIdentifier] = set()

    def size(nodes: Iterator[onnx_ir.Node]) -> int:
        count = 0
        for node in nodes:
            key = node.op_identifier()
            count += function_size(key) if key in model.functions else 1
            if count > _MAX_NODES:
                raise ModelError(f"{source}: its functions expand to more than {_MAX_NODES} nodes")
        return count

    def function_size(key: onnx_ir.OperatorIdentifier) -> int:
        if key in active:
            raise ModelError(f"{source}: the function {key[0]}::{key[1]} calls itself")
        if key not in sizes:
            active.add(key)
            sizes[key] = size(iter(model.functions[key].graph.all_nodes()))
            active.discard(key)
        return sizes[key]

    size(iter(model.graph.all_nodes()))
    for key, function in model.functions.items():
        for domain, version in function.opset_imports.items():
            expected = model.opset_imports.get(domain)
            if expected is not None and expected != version:
                notes.append(
                    f"function {key[0]}::{key[1]} is written for opset {version}; "
                    f"it is read with the model's {expected}"
                )
                function.opset_imports[domain] = expected
    InlinePass()(model)


def _put_in_order(model: onnx_ir.Model, source: str, notes: list[str]) -> None:
    """Verify the graph, its nodes behind what they read if that is all it takes; ONNX Runtime does so too.

    Converters to float16 append the casts of the inputs at the end.
    """
    try:
        verify(model, source)
    except ModelError as error:
        try:
            model.graph.sort()
        except ValueError as cycle:
            raise error from cycle
        verify(model, source)
        notes.append(
            "the file lists nodes before what they read; they are taken in an order that runs"
        )


def _detach_weights(
    model: onnx_ir.Model, places: Mapping[str, WeightPlace], notes: list[str]
) -> None:
    """Large weights keep shape, dtype and place; nothing can read their data, or a file they name, by accident."""
    count = size = 0
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None:
                continue
            # A weight may be an input too, whose declaration can say otherwise.
            value.shape = onnx_ir.Shape(tensor.shape.numpy())
            if isinstance(tensor, onnx_ir.ExternalTensor):
                value.meta["weights"] = places.get(str(tensor.location))
            elif tensor.size <= _SMALL_ELEMENTS:
                continue
            value.const_value = None
            count += 1
            size += int(bytes_of(tensor.size, tensor.dtype))
    if count:
        notes.append(f"weights were not needed and not read: {count} tensors, {size / 1e6:.1f} MB")


def _infer(graph: Graph) -> None:
    """Name and unify the free dims, and infer every shape; declared shapes are used where inference cannot know."""
    model = graph.model
    inputs = [value for value in model.graph.inputs if not value.is_initializer()]
    original = {value: value.shape for value in inputs if value.shape is not None}
    declared = _erase(model)
    symbols = Symbols()
    symbols.name_inputs(inputs)
    for _ in range(_ROUNDS):
        shapes.infer(model)
        if not symbols.unify(shapes.equalities(model)):
            break
        _erase(model)
        for value, shape in original.items():
            value.shape = rename_shape(shape, symbols.renamed)
    _use_declared(graph, declared, symbols)
    symbols.suggest(shapes.requirements(model))
    graph.dims.update(symbols.infos)
    graph.notes.extend(symbols.notes)


def _erase(model: onnx_ir.Model) -> dict[onnx_ir.Value, onnx_ir.Shape]:
    """Forget the shapes of all values that nodes produce, and return what was declared for them."""
    declared: dict[onnx_ir.Value, onnx_ir.Shape] = {}
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if value.shape is not None:
                declared[value] = value.shape
                value.shape = None
    return declared


def _use_declared(
    graph: Graph, declared: dict[onnx_ir.Value, onnx_ir.Shape], symbols: Symbols
) -> None:
    """Check the shapes that the file declares against the inferred ones, and take them where those are unknown."""
    missing = False
    for value, shape in declared.items():
        renamed = rename_shape(shape, symbols.renamed)
        if value.shape is None:
            if all(isinstance(dim, int) or dim.value is not None for dim in renamed.dims):
                value.shape = renamed
                missing = True
            continue
        _check_declared(graph, value, renamed)
        dims = [
            said if shapes.settles(_size(said), _size(found)) else found
            for said, found in zip(renamed.dims, value.shape.dims, strict=True)
        ]
        if dims != list(value.shape.dims):
            value.shape = onnx_ir.Shape(dims)
            missing = True
    if missing:
        shapes.infer(graph.model)


def _size(dim: int | onnx_ir.SymbolicDim) -> Dim | None:
    return dim if isinstance(dim, int) else carried(dim)


def _check_declared(graph: Graph, value: onnx_ir.Value, declared: onnx_ir.Shape) -> None:
    inferred = value.shape
    assert inferred is not None
    agree = len(inferred.dims) == len(declared.dims) and all(
        not (isinstance(a, int) and isinstance(b, int)) or a == b
        for a, b in zip(inferred.dims, declared.dims, strict=True)
    )
    if not agree:
        raise ModelError(
            f"{graph.source}: the file declares the value {value.name!r} as {declared}, but its operators make it "
            f"{inferred}. Clear the declared shapes (value_info) or export the model again"
        )
