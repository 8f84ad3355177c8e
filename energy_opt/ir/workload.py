"""workload(graph): the graph read once into rows of work, one per distinct signature, and the facts beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import onnx_ir

from energy_opt.errors import DimError, ModelError
from energy_opt.ir import shapes
from energy_opt.ir.dims import (
    Dim,
    Evaluator,
    Value,
    factored,
    free_symbols,
    product,
    total,
)
from energy_opt.ir.graph import (
    BRANCH,
    TRIPS,
    DimInfo,
    Graph,
    bind,
    dim_of,
    path_of,
    subgraphs,
)
from energy_opt.ir.memory import Step, Timeline
from energy_opt.ir.op import Op, Tensor, Work, is_arithmetic
from energy_opt.ir.row import Row, Use
from energy_opt.ir.rules import lookup
from energy_opt.ir.weights import Weights

_MOST_ELEMENTS = 2**62  # what an int64 can index, with room for a size in bytes
_NO_KERNEL = frozenset({"view", "shape", "control"})


@dataclass(repr=False)
class Workload(Sequence[Row]):
    """Rows of work of one inference, and what estimates need to know of the graph they came from."""

    rows: list[Row]
    source: str
    name: str
    vocabulary: str
    nodes: int
    parameters: int
    weight_bytes: int
    modules: dict[str, str]
    dims: dict[str, DimInfo]
    notes: list[str]
    unmodelled: dict[str, int]
    schedule: list[Step]
    nbytes: Callable[[onnx_ir.Value], Dim]
    doubtful: dict[Dim, str]
    """Sizes that some bindings make negative, such as a convolution's output on a small image, and whose they are."""

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Sizes for every dim, defaults included.

        Raises:
            DimError: see `Graph.bind`; also where a size of the graph would be negative.
        """
        bound = bind(self.dims, given)
        for (dim, name), size in zip(self.doubtful.items(), self._doubtful(bound), strict=True):
            if np.min(size) < 0:
                names = ", ".join(f"{n}={bound[n]}" for n in sorted(free_symbols([dim])))
                raise DimError(
                    f"with {names} the value {name!r} would have a size of {int(np.min(size))} ({dim}): "
                    "give larger dims"
                )
        return bound

    def defaulted(self, given: Mapping[str, Any]) -> list[str]:
        """Names of the dims that were left free and so stand at their default."""
        return [
            name
            for name, info in self.dims.items()
            if name not in given and not any(alias in given for alias in info.aliases)
        ]

    def peak_activation_bytes(self, binding: Mapping[str, Any], *, frames: bool = False) -> Value:
        """Largest sum of live activation bytes over the graph's schedule, inputs and weights excluded.

        `frames` keeps a module's inputs until the module returns, as eager PyTorch does; see `Timeline`.
        """
        if frames not in self._timelines:
            self._timelines[frames] = Timeline(self.schedule, self.nbytes, frames=frames)
        return self._timelines[frames].peak_bytes(binding)

    @cached_property
    def _doubtful(self) -> Evaluator:
        return Evaluator(list(self.doubtful))

    @cached_property
    def _timelines(self) -> dict[bool, Timeline]:
        return {}

    @cached_property
    def formulas(self) -> dict[str, Dim]:
        """Totals of one inference as closed formulas over the dims."""
        names = ("matmul_flops", "other_flops", "bytes_read", "bytes_written")
        return {
            name: factored(total(product((getattr(row, name), row.count)) for row in self.rows))
            for name in names
        }

    def __repr__(self) -> str:
        formulas = "".join(f"\n  {name} = {formula}" for name, formula in self.formulas.items())
        return f"Workload({self.source!r}: {self.nodes} nodes in {len(self.rows)} rows){formulas}"


def workload(graph: Graph, *, strict: bool = False) -> Workload:
    """The graph's rows of work, in order of first occurrence.

    Nodes with equal signatures (op, attributes, operand shapes and types) share a row; `Row.uses` says which they are.
    Quantities stay formulas over the graph's free dims.

    Raises:
        ModelError: `strict` is set and an op has no rule; the message names them.
    """
    return _Reader(graph).read(strict)


@dataclass(frozen=True, slots=True)
class _Signature:
    """The work of one distinct signature."""

    kind: str
    op: Op
    work: Work
    modelled: bool


_Member = tuple[onnx_ir.Node, _Signature, Dim, tuple[int, int]]
"""A node of a fusion group: its signature, how often it runs, and the weights that it is the first to use."""


class _Reader:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.notes = list(graph.notes)
        self.versions = graph.model.opset_imports
        self.tensors: dict[Any, int] = {}
        self.tensor_list: list[Tensor] = []
        self.sizes: list[Dim] = []  # activation bytes of each tensor
        self.of_value: dict[onnx_ir.Value, int] = {}
        self.signatures: dict[Any, _Signature] = {}
        self.schedule: list[Step] = []
        self.doubtful: dict[Dim, onnx_ir.Value] = {}
        self.unmodelled: Counter[str] = Counter()
        self.nodes = 0
        self.initializers: set[onnx_ir.Value] = set(graph.model.graph.initializers.values())
        self.folded = {output for node in graph.folded for output in node.outputs}
        self.rows: dict[Any, tuple[Callable[[], Row], list[Use]]] = {}
        self.groups: dict[str, list[_Member]] = {}
        self.weights = Weights(graph.types)

    def read(self, strict: bool) -> Workload:
        for node, times in self._walk(self.graph.model.graph, 1):
            self._visit(node, times)
        for members in self.groups.values():
            self._add_group(members)
        if strict and self.unmodelled:
            listing = ", ".join(
                f"{name} ({count}x)" for name, count in self.unmodelled.most_common()
            )
            raise ModelError(
                f"{self.graph.source}: no work rule for {listing}; without --strict they are priced as memory traffic"
            )
        graph = self.graph
        rows = [make() for make, _ in self.rows.values()]
        uses = [use for row in rows for use in row.uses]
        return Workload(
            rows=rows,
            source=graph.source,
            name=graph.name,
            vocabulary=graph.vocabulary,
            nodes=self.nodes,
            parameters=sum(use.parameters for use in uses),
            weight_bytes=sum(use.weight_bytes for use in uses),
            modules=dict(graph.modules),
            dims=dict(graph.dims),
            notes=self.notes,
            unmodelled=dict(self.unmodelled),
            schedule=self.schedule,
            nbytes=self._nbytes,
            doubtful={dim: value.name or "" for dim, value in self.doubtful.items()},
        )

    # -- the schedule ------------------------------------------------------------------------------------------------

    def _walk(self, graph: onnx_ir.Graph, times: Dim) -> Iterator[tuple[onnx_ir.Node, Dim]]:
        """Nodes in order with how often they run; bodies of control flow come before their own node."""
        pending: list[Iterator[tuple[onnx_ir.Node, Dim, bool]]] = [_schedule(graph, times)]
        while pending:
            for node, count, expanded in pending[-1]:
                bodies = subgraphs(node) if not expanded else ()
                if not bodies:
                    yield node, count
                    continue
                pending.append(iter([(node, count, True)]))
                for body, inner in reversed(self._bodies(node, count, bodies)):
                    self.initializers.update(body.initializers.values())
                    pending.append(_schedule(body, inner))
                break
            else:
                pending.pop()

    def _bodies(
        self, node: onnx_ir.Node, times: Dim, bodies: Sequence[tuple[str, onnx_ir.Graph]]
    ) -> list[tuple[onnx_ir.Graph, Dim]]:
        if node.op_type == "If":
            taken = node.metadata_props.get(BRANCH, "then_branch")
            for name, body in bodies:
                if name != taken:
                    self.nodes += sum(1 for _ in body.all_nodes())
            return [(body, times) for name, body in bodies if name == taken]
        trips = node.metadata_props.get(TRIPS)
        count = times if trips is None else product((times, dim_of(onnx_ir.SymbolicDim(trips))))
        return [(body, count) for _, body in bodies]

    # -- one node ----------------------------------------------------------------------------------------------------

    def _visit(self, node: onnx_ir.Node, times: Dim) -> None:
        self.nodes += 1
        signature = self._signature(node)
        folded = node in self.graph.folded
        if not folded:
            self.schedule.append((node, signature.kind == "view"))
        if not signature.modelled:
            name = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
            self.unmodelled[name] += 1
        weights = self.weights.claim(node, folded)
        if folded:
            return
        fused = self.graph.fused.get(node)
        if fused is not None:
            self.groups.setdefault(fused, []).append((node, signature, times, weights))
            return
        self._add(id(signature), times, node, weights, lambda uses: _row(signature, uses))

    def _add(
        self,
        key: Any,
        times: Dim,
        node: onnx_ir.Node,
        weights: tuple[int, int],
        make: Callable[[list[Use]], Row],
    ) -> None:
        entry = self.rows.get(key)
        if entry is None:
            uses: list[Use] = []
            entry = self.rows[key] = (lambda: make(uses), uses)
        entry[1].append(Use(node.name or node.op_type, path_of(node), times, *weights))

    def _add_group(self, members: list[_Member]) -> None:
        """One row for the nodes of a fusion group: their FLOPs, and only the traffic that leaves the group."""
        inside = {output for node, *_ in members for output in node.outputs}
        nodes = {node for node, *_ in members}
        saved_read: list[Dim] = []
        saved_write: list[Dim] = []
        edges: list[Any] = []
        for place, (node, signature, *_) in enumerate(members):
            for index, value in enumerate(node.inputs):
                if value is not None and value in inside and signature.kind != "view":
                    saved_read.append(self._nbytes(value))
                    edges.append((place, index))
            for index, value in enumerate(node.outputs):
                escapes = value.is_graph_output() or any(
                    user not in nodes for user, _ in value.uses()
                )
                if not escapes and signature.kind != "view":
                    saved_write.append(self._nbytes(value))
                    edges.append((place, index, "w"))
        anchor = max(range(len(members)), key=lambda i: _RANK.get(members[i][1].kind, 0))
        node, main, times, _ = members[anchor]
        parts = [signature for _, signature, _, _ in members]
        key = ("group", tuple(id(part) for part in parts), tuple(edges), anchor)
        parameters = sum(weights[0] for *_, weights in members)
        weight_bytes = sum(weights[1] for *_, weights in members)
        self._add(
            key,
            times,
            node,
            (parameters, weight_bytes),
            lambda uses: _fused_row(main, parts, total(saved_read), total(saved_write), uses),
        )

    def _signature(self, node: onnx_ir.Node) -> _Signature:
        inputs = tuple(-1 if value is None else self._tensor(value) for value in node.inputs)
        outputs = tuple(self._tensor(value) for value in node.outputs)
        attributes = tuple((name, _key(attr)) for name, attr in node.attributes.items())
        key = (node.domain, node.op_type, inputs, outputs, attributes)
        found = self.signatures.get(key)
        if found is None:
            op = Op(
                node.domain,
                node.op_type,
                self.versions.get(node.domain, 1),
                tuple(None if i < 0 else self.tensor_list[i] for i in inputs),
                tuple(self.tensor_list[i] for i in outputs),
                {name: _plain(attr) for name, attr in node.attributes.items()},
            )
            found = self.signatures[key] = price(op)
        return found

    def _tensor(self, value: onnx_ir.Value) -> int:
        index = self.of_value.get(value)
        if index is None:
            shape = value.shape
            values = shapes.known_values(value)
            constant = value in self.initializers or value in self.folded or _is_constant(value)
            dtype = value.dtype
            if dtype is not None:
                dtype = self.graph.types.get(dtype, dtype)
            key = (None if shape is None else tuple(shape.dims), dtype, constant, values)
            index = self.tensors.get(key)
            if index is None:
                index = self.tensors[key] = len(self.tensor_list)
                tensor = Tensor(_dims(shape), dtype, constant, values)
                self._check_size(value, tensor)
                self.tensor_list.append(tensor)
                self.sizes.append(0 if constant else tensor.nbytes)
            self.of_value[value] = index
        return index

    def _check_size(self, value: onnx_ir.Value, tensor: Tensor) -> None:
        """Refuse what cannot be addressed, and remember the sizes that a binding can make negative."""
        fixed = product(dim for dim in tensor.shape or () if isinstance(dim, int))
        if fixed > _MOST_ELEMENTS:
            raise ModelError(
                f"{self.graph.source}: the value {value.name!r} of shape {list(tensor.shape or ())} has more elements "
                "than can be addressed"
            )
        for dim in tensor.shape or ():
            if not isinstance(dim, int) and dim.is_nonnegative is not True:
                self.doubtful.setdefault(dim, value)

    def _nbytes(self, value: onnx_ir.Value) -> Dim:
        return self.sizes[self._tensor(value)]


_RANK = {
    "attention": 9,
    "moe": 9,
    "rnn": 9,
    "conv": 8,
    "matmul": 8,
    "norm": 6,
    "softmax": 6,
    "pool": 5,
    "reduction": 4,
    "elementwise": 3,
}
"""Which member names a fusion group's kind: the one that does the heavy work."""


def _schedule(graph: onnx_ir.Graph, times: Dim) -> Iterator[tuple[onnx_ir.Node, Dim, bool]]:
    return ((node, times, False) for node in graph)


def price(op: Op) -> _Signature:
    """Kind and work of one op, by its rule; by the traffic of its operands where there is none that applies."""
    entry = lookup(op.domain, op.op_type)
    if entry is None:
        return _Signature("other", op, Work(), False)
    try:
        work = entry.rule(op)
    except (ValueError, IndexError, TypeError, ZeroDivisionError, KeyError, AttributeError):
        # Malformed operands or a shape that cannot be known: still not free, and counted as unmodelled.
        return _Signature("other", op, Work(), False)
    kind = work.kind or entry.kind
    if (
        kind not in ("view", "control")
        and op.outputs
        and all(t.values is not None for t in op.outputs)
    ):
        kind = "shape"
    return _Signature(kind, op, work, True)


def _traffic(signature: _Signature) -> tuple[Dim, Dim]:
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


def _weight_traffic(signature: _Signature, read: Dim) -> Dim:
    """The part of the bytes read that comes from weights and constants."""
    if signature.kind in ("view", "control"):
        return 0
    tensors = [t for t in signature.op.inputs if t is not None]
    if signature.work.bytes_read is not None and tensors and tensors[0].constant:
        # A lookup reads rows of the table, not all of it: what is read beside the other operands.
        return total([read, *(-t.nbytes for t in tensors[1:] if not t.constant)])
    return total(t.nbytes for t in tensors if t.constant)


def _row(signature: _Signature, uses: list[Use]) -> Row:
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


def _fused_row(
    main: _Signature, parts: list[_Signature], saved_read: Dim, saved_write: Dim, uses: list[Use]
) -> Row:
    rows = [_row(part, uses) for part in parts]
    return Row(
        kind=main.kind,
        op="+".join(part.op.op_type for part in parts),
        dtype=_arithmetic(main.op),
        matmul_flops=total(row.matmul_flops for row in rows),
        other_flops=total(row.other_flops for row in rows),
        bytes_read=total([*(row.bytes_read for row in rows), -saved_read]),
        bytes_written=total([*(row.bytes_written for row in rows), -saved_write]),
        weight_bytes=total(row.weight_bytes for row in rows),
        sizes=main.work.sizes,
        kernels=max(row.kernels for row in rows),
        modelled=all(row.modelled for row in rows),
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


def _dims(shape: onnx_ir.Shape | None) -> tuple[Dim, ...] | None:
    if shape is None:
        return None
    try:
        return tuple(dim_of(dim) for dim in shape.dims)
    except ValueError:
        return None


def _is_constant(value: onnx_ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "Constant" and not producer.domain


def _key(attribute: Any) -> Any:
    value = attribute.value
    if attribute.is_ref():
        return ("reference", attribute.ref_attr_name)
    if isinstance(value, (int, float, str, bytes)):
        return value
    if isinstance(value, (list, tuple)) and all(
        isinstance(v, (int, float, str, bytes)) for v in value
    ):
        return tuple(value)
    if attribute.type is onnx_ir.AttributeType.TENSOR:
        return (value.dtype, tuple(value.shape.dims))
    return id(value)


def _plain(attribute: Any) -> Any:
    value = attribute.value
    return tuple(value) if isinstance(value, list) else value
