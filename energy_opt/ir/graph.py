"""Graph: an onnx_ir model with conventions, the one thing that front-ends make and passes rewrite.

Conventions beyond onnx_ir, all stored where they survive cloning and saving:

- every node's module path is its metadata `energy_opt.path` (dot-separated, "" for the root);
- how often a Loop or Scan body runs is its node's metadata `energy_opt.trips` (an int or an expression over dims);
- which branch of an If is counted is its node's metadata `energy_opt.branch` (`then_branch` or `else_branch`);
- weights have a shape and a dtype but no data: `value.meta["weights"]` says where the bytes are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import onnx_ir

from energy_opt.errors import DimError
from energy_opt.ir.dims import Dim, evaluate

if TYPE_CHECKING:
    import networkx

PATH = "energy_opt.path"
TRIPS = "energy_opt.trips"
BRANCH = "energy_opt.branch"

BRANCHING = frozenset({"If", "cond"})
"""Ops of which one body runs: ONNX's and PyTorch's."""

LARGEST_DIM = 2**40
"""A trillion: far beyond any axis, and products of a few still fit a float64 exactly enough."""


@dataclass(frozen=True, slots=True)
class DimInfo:
    """One free dimension of a graph: its name, the file's names for it, and where it was found.

    `origin` is `input` (an axis of an input), `trip` (a loop's unknown trip count) or `data` (a size that depends on
    the values of a tensor). `default` may be a formula over the other dims, and then an average, so not a whole number.
    """

    name: str
    aliases: tuple[str, ...] = ()
    where: str = ""
    origin: str = "input"
    default: Dim | float = 1


@dataclass
class Graph:
    """A model as energy-opt sees it: shapes in every value, scopes on every node, weights left where they are.

    `vocabulary` is `onnx` (runnable by ONNX Runtime) or `aten` (a torch graph, node for node). `modules` maps a module
    path to its class name. `notes` are the sentences that a report should repeat.

    What a runtime will do with the graph without the graph changing is said beside it: `folded` holds the nodes that
    are evaluated once, before any inference, `fused` maps a node to the group that runs as one kernel, and `types` maps
    an element type to the one that is computed in instead. `stored` maps a value to the type that it has in memory
    where that is not its own; `absorbed` holds the conversions that so disappear into the kernels beside them.

    `variant` makes the graph for sizes at which the model runs other operators; see `at`.
    """

    model: onnx_ir.Model
    source: str
    vocabulary: str = "onnx"
    dims: dict[str, DimInfo] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fused: Mapping[onnx_ir.Node, str] = field(default_factory=dict)
    folded: frozenset[onnx_ir.Node] = frozenset()
    types: Mapping[onnx_ir.DataType, onnx_ir.DataType] = field(default_factory=dict)
    stored: Mapping[onnx_ir.Value, onnx_ir.DataType] = field(default_factory=dict)
    absorbed: frozenset[onnx_ir.Node] = frozenset()
    variant: Callable[[Graph, Mapping[str, Any]], Graph] | None = None

    @property
    def name(self) -> str:
        """The graph's own name, or the file's."""
        return self.model.graph.name or self.source

    def __len__(self) -> int:
        return sum(1 for _ in self.nodes())

    def __repr__(self) -> str:
        dims = ", ".join(self.dims) or "none"
        return f"Graph({self.source!r}, {len(self)} nodes, vocabulary={self.vocabulary!r}, dims: {dims})"

    def nodes(self) -> Iterator[onnx_ir.Node]:
        """Every node, those of subgraphs included, in the order of the file."""
        return iter(self.model.graph.all_nodes())

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Sizes for every dim of the graph: those given, by name or alias, and the default for the rest.

        Raises:
            DimError: a name that the graph does not have, a size given twice, or one that is not positive.
        """
        return bind(self.dims, given)

    def at(self, given: Mapping[str, Any]) -> Graph:
        """The graph for these sizes: another one where a size decides which operators run, as in a Python loop.

        Raises:
            DimError: see `bind`; also an array of such sizes, which is many graphs.
        """
        return self if self.variant is None else self.variant(self, self.bind(given))

    def to_networkx(self) -> networkx.MultiDiGraph:
        """The dataflow of the main graph as a networkx graph: nodes are onnx_ir nodes, edges are values."""
        import networkx

        view = networkx.MultiDiGraph()
        for node in self.model.graph:
            view.add_node(node, op=node.op_type, path=node.metadata_props.get(PATH, ""))
            for value in node.inputs:
                producer = value.producer() if value is not None else None
                if value is not None and producer is not None:
                    view.add_edge(producer, node, value=value)
        return view


def bind(dims: Mapping[str, DimInfo], given: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes for every dim: those given, by name or alias, and the default for the rest. See `Graph.bind`."""
    names = {alias: info.name for info in dims.values() for alias in info.aliases}
    names |= {name: name for name in dims}  # a file may call one size what another is called here
    bound: dict[str, Any] = {}
    for key, value in given.items():
        if key not in names:
            raise DimError(_unknown_dim(key, dims))
        name = names[key]
        if name in bound:
            raise DimError(
                f"dim {name!r} is given twice (its other names: {', '.join(dims[name].aliases)})"
            )
        bound[name] = _checked(key, value)
    for name, info in dims.items():
        if isinstance(info.default, (int, float)):
            bound.setdefault(name, info.default)
    for name, info in dims.items():
        if name not in bound and not isinstance(info.default, (int, float)):
            bound[name] = evaluate(info.default, bound)
    return {name: bound[name] for name in dims}


def _checked(name: str, value: Any) -> Any:
    import numpy as np

    if isinstance(value, (bool, str)) or value is None:
        raise DimError(
            f"dim {name!r} must be a positive integer or an array of them, not {value!r}"
        )
    if isinstance(value, int):
        if not 1 <= value <= LARGEST_DIM:
            raise DimError(
                f"dim {name!r} must be between 1 and {LARGEST_DIM}, not {str(value)[:40]}"
            )
        return value
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DimError(
            f"dim {name!r} must be a positive integer or an array of them, not {value!r}"
        ) from None
    whole = (array >= 1) & (array <= LARGEST_DIM) & (array == np.floor(array))
    if array.size == 0 or not bool(np.all(whole)):
        raise DimError(f"dim {name!r} must hold whole numbers between 1 and {LARGEST_DIM}")
    return int(array) if array.ndim == 0 else array


def _unknown_dim(key: str, dims: Mapping[str, DimInfo]) -> str:
    if not dims:
        return f"the model has no free dims, so {key!r} cannot be set: every shape in it is fixed"
    known = ", ".join(
        f"{info.name} ({info.where})" if info.where else info.name for info in dims.values()
    )
    return f"the model has no dim {key!r}; it has: {known}"


def path_of(node: onnx_ir.Node) -> str:
    """The node's module path, "" for the root."""
    return node.metadata_props.get(PATH, "")


def subgraphs(node: onnx_ir.Node) -> Sequence[tuple[str, onnx_ir.Graph]]:
    """The node's graph attributes as `(attribute name, graph)`."""
    found = []
    for name, attribute in node.attributes.items():
        if attribute.type is onnx_ir.AttributeType.GRAPH:
            found.append((name, attribute.as_graph()))
        elif attribute.type is onnx_ir.AttributeType.GRAPHS:
            found.extend((name, graph) for graph in attribute.as_graphs())
    return found
