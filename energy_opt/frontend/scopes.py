"""Module paths of nodes, from whatever the exporter left: metadata of the dynamo exporter, or scoped node names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

import onnx_ir

from energy_opt.ir.graph import PATH, Graph, path_of

_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"
_NAMESPACE = "namespace"
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_ARTEFACT = (
    "_empty_nn_module_stack_from_metadata_hook"  # torch writes it where it has lost the module
)
_OWNED = re.compile(r"^[A-Za-z_]\w*(\.\w+)+$", re.ASCII)  # a parameter's name in its module
_LIMIT = 100_000  # characters of metadata that are looked at: a real module tree needs a thousandth
_BULKY = ("pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node")


def assign_scopes(graph: Graph) -> None:
    """Give every node its module path, and the graph the class name of every module path that has one."""
    pairs: Counter[tuple[str, str]] = Counter()
    named = 0
    nameless: list[onnx_ir.Node] = []
    for node in graph.nodes():
        metadata = node.metadata_props
        for key in _BULKY:
            metadata.pop(key, None)
        if PATH in metadata:
            continue
        path, types = _from_metadata(metadata)
        if path is None:
            path = _from_name(node)
        if path is None:
            path = _from_weights(node)
        if path is None:
            nameless.append(node)
            continue
        if path and node.op_type in ("Conv", "ConvTranspose"):
            path = _of_weight(node, path)
        if path:
            named += 1
        metadata[PATH] = path
        pairs.update(types)
    for node in nameless:
        node.metadata_props[PATH] = _from_neighbours(node) if named else ""
    for (module, type_name), _ in reversed(pairs.most_common()):  # the most common class wins
        graph.modules[module] = type_name
    if not named and len(graph.model.graph):
        graph.notes.append("the file names no modules, so everything belongs to the root")


def _of_weight(node: onnx_ir.Node, path: str) -> str:
    """The module that the convolution's weight is named after, where that is a sibling of the path.

    An exporter that folds a batch norm into the convolution before it gives the result the batch norm's scope.
    """
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    name = (weight.name or "") if weight is not None and weight.is_initializer() else ""
    owner, _, kind = name.rpartition(".")
    sibling = kind == "weight" and owner.rpartition(".")[0] == path.rpartition(".")[0]
    return _clean(owner) if sibling and owner else path


def _from_metadata(metadata: Mapping[str, str]) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    scopes = metadata.get(_SCOPES)
    if scopes:
        return _parse_scopes(scopes[:_LIMIT], metadata.get(_CLASSES, "")[:_LIMIT])
    namespace = metadata.get(_NAMESPACE)
    if namespace:
        return _parse_namespace(namespace[:_LIMIT])
    return None, ()


@lru_cache(maxsize=65536)
def _parse_scopes(scopes: str, classes: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    names = [a or b for a, b in _QUOTED.findall(scopes)]
    types = [a or b for a, b in _QUOTED.findall(classes)]
    if _ARTEFACT in names:
        return "", ()
    return _module(names[:-1], types)  # the last scope is the traced node itself


@lru_cache(maxsize=65536)
def _parse_namespace(namespace: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    parts = [part.partition(": ") for part in namespace.split("/")]
    return _module([name for name, _, _ in parts[:-1]], [type_name for _, _, type_name in parts])


def _module(names: list[str], types: list[str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    pairs = tuple(
        (_clean(name), _clean(types[i].rpartition(".")[2]))
        for i, name in enumerate(names)
        if i < len(types)
    )
    return (_clean(names[-1]) if names else ""), pairs


def _from_name(node: onnx_ir.Node) -> str | None:
    """`encoder.layer.0.attention.self.query` from `/encoder/layer.0/attention/self/query/MatMul_1`."""
    name = node.name
    if not name or "/" not in name:
        return None
    modules: list[str] = []
    for part in [part for part in name[:_LIMIT].split("/") if part][:-1]:
        if modules and part.startswith(f"{modules[-1]}."):
            modules.pop()  # torch repeats a Sequential's name in front of its children's: features/features.0
        modules.append(part)
    return ".".join(_clean(part) for part in modules)


def _from_weights(node: onnx_ir.Node) -> str | None:
    """`encoder.layer.0.output` from a weight `encoder.layer.0.output.weight` that nothing else reads.

    Fusions and quantizers make nodes without names, but often keep those of the weights.
    """
    for value in node.inputs:
        if value is None or not value.is_initializer() or len(value.uses()) != 1:
            continue
        if _OWNED.match(value.name or ""):
            return _clean((value.name or "").rpartition(".")[0])
    return None


def _from_neighbours(node: onnx_ir.Node) -> str:
    """The innermost module that holds all that the node reads from and is read by; "" where there is none."""
    others = [*node.predecessors(), *node.successors()]
    paths = [path.split(".") for path in (path_of(other) for other in others) if path]
    shared: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) != 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


@lru_cache(maxsize=65536)
def _clean(text: str) -> str:
    """The name without control characters, at a length that a table can hold."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:512])
