"""Reading a graph: each node once in the order in which it runs, equal ones into one row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import onnx_ir

from energy_opt.errors import ModelError
from energy_opt.ir import shapes
from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.fusion import saved
from energy_opt.ir.graph import BRANCH, BRANCHING, TRIPS, Graph, path_of, subgraphs
from energy_opt.ir.memory import Step
from energy_opt.ir.op import MOST_ELEMENTS, Op, Tensor
from energy_opt.ir.row import Row, Use
from energy_opt.ir.signature import Signature, fused_row, price, row
from energy_opt.ir.symbolic import dim_of
from energy_opt.ir.weights import Weights

_Member = tuple[onnx_ir.Node, Signature, Dim, tuple[int, int], int]
"""A node of a fusion group: its signature, how often it runs, the weights that it is the first to use, its step."""


class Reader:
    """One reading of a graph. Afterwards it tells what a workload has to know beside its rows.

    `nodes` counts every node, `unmodelled` those without a rule by their op, `problems` the rules of ours
    that failed; `schedule` is the order in which they run, `doubtful` are sizes that a binding may make negative, with
    the name of a value that has each.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = 0
        self.unmodelled: Counter[str] = Counter()
        self.problems: dict[str, str] = {}
        self.schedule: list[Step] = []
        self.doubtful: dict[Dim, str] = {}
        self._tensors: dict[Any, int] = {}
        self._tensor_list: list[Tensor] = []
        self._sizes: list[Dim] = []  # activation bytes of each tensor
        self._of_value: dict[onnx_ir.Value, int] = {}
        self._signatures: dict[Any, Signature] = {}
        self._signature_of: dict[onnx_ir.Node, Signature] = {}
        self._initializers: set[onnx_ir.Value] = set(graph.model.graph.initializers.values())
        self._folded = {output for node in graph.folded for output in node.outputs}
        self._rows: dict[Any, tuple[Callable[[list[Use]], Row], list[Use]]] = {}
        self._others: dict[onnx_ir.Node, list[onnx_ir.Graph]] = {}  # branches not taken
        self._groups: dict[str, list[_Member]] = {}
        self._weights = Weights(graph.types)

    def look_at(self, body: onnx_ir.Graph) -> Iterator[Row]:
        """A row for every node of a graph inside the graph, as if it ran once. Raises ModelError, see `read`."""
        for node, times in self._walk(body, 1):
            yield row(self._signature(node), [Use(node.name or node.op_type, "", times)])

    def read(self) -> list[Row]:
        """The rows, in order of first occurrence. Raises ModelError where a tensor is too large to be."""
        for node, times in self._walk(self.graph.model.graph, 1):
            self._visit(node, times)
        for members in self._groups.values():
            self._add_group(members)
        return [make(uses) for make, uses in self._rows.values()]

    def nbytes(self, value: onnx_ir.Value) -> Dim:
        """Bytes of an activation; 0 for a weight or constant."""
        return self._sizes[self._tensor(value)]

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
                    self._initializers.update(body.initializers.values())
                    pending.append(_schedule(body, inner))
                break
            else:
                pending.pop()

    def _bodies(
        self, node: onnx_ir.Node, times: Dim, bodies: Sequence[tuple[str, onnx_ir.Graph]]
    ) -> list[tuple[onnx_ir.Graph, Dim]]:
        if node.op_type in BRANCHING:
            taken = node.metadata_props.get(BRANCH, "then_branch")
            self._others[node] = [body for name, body in bodies if name != taken]
            return [(body, times) for name, body in bodies if name == taken]
        trips = node.metadata_props.get(TRIPS)
        count = times if trips is None else product((times, dim_of(onnx_ir.SymbolicDim(trips))))
        return [(body, count) for _, body in bodies]

    # -- one node ----------------------------------------------------------------------------------------------------

    def _visit(self, node: onnx_ir.Node, times: Dim) -> None:
        self.nodes += 1
        signature = self._signature(node)
        folded, absorbed = node in self.graph.folded, node in self.graph.absorbed
        if not folded:
            reuses = absorbed or signature.kind == "view" or "in_place" in node.attributes
            self.schedule.append((node, reuses))
        if not signature.modelled:
            name = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
            self.unmodelled[name] += 1
            if signature.problem:
                self.problems.setdefault(name, signature.problem)
        weights = self._weights.claim(node, folded or absorbed)
        for body in self._others.pop(node, ()):
            weights = self._pass_over(body, weights)
        if folded or absorbed:
            return
        step = len(self.schedule) - 1
        fused = self.graph.fused.get(node)
        if fused is not None:
            self._groups.setdefault(fused, []).append((node, signature, times, weights, step))
            return
        self._add(id(signature), times, node, weights, step, lambda uses: row(signature, uses))

    def _pass_over(self, body: onnx_ir.Graph, weights: tuple[int, int]) -> tuple[int, int]:
        """The weights, with those that only this branch reads, which is not counted but is in the model."""
        parameters, size = weights
        for node in body.all_nodes():
            self.nodes += 1
            claimed = self._weights.claim(node, False)
            parameters, size = parameters + claimed[0], size + claimed[1]
        return parameters, size

    def _add(
        self,
        key: Any,
        times: Dim,
        node: onnx_ir.Node,
        weights: tuple[int, int],
        step: int,
        make: Callable[[list[Use]], Row],
    ) -> None:
        _, uses = self._rows.setdefault(key, (make, []))
        uses.append(Use(node.name or node.op_type, path_of(node), times, *weights, step))

    def _add_group(self, members: list[_Member]) -> None:
        """One row for the nodes of a fusion group: their FLOPs, and only the traffic that leaves the group."""
        spared = saved(
            [(node, signature) for node, signature, *_ in members], self.nbytes, self._is_view
        )
        anchor = max(range(len(members)), key=lambda i: _RANK.get(members[i][1].kind, 0))
        node, main, times, _, step = members[anchor]
        parts = [signature for _, signature, *_ in members]
        key = ("group", tuple(id(part) for part in parts), spared.key, anchor)
        parameters = sum(weights[0] for *_, weights, _ in members)
        weight_bytes = sum(weights[1] for *_, weights, _ in members)
        self._add(
            key,
            times,
            node,
            (parameters, weight_bytes),
            step,
            lambda uses: fused_row(main, parts, total(spared.read), total(spared.written), uses),
        )

    def _is_view(self, node: onnx_ir.Node) -> bool:
        return node in self.graph.absorbed or self._signature(node).kind == "view"

    def _signature(self, node: onnx_ir.Node) -> Signature:
        found = self._signature_of.get(node)
        if found is None:
            found = self._signature_of[node] = self._priced(node)
        return found

    def _priced(self, node: onnx_ir.Node) -> Signature:
        inputs = tuple(-1 if value is None else self._tensor(value) for value in node.inputs)
        outputs = tuple(self._tensor(value) for value in node.outputs)
        attributes = tuple((name, _key(attr)) for name, attr in node.attributes.items())
        key = (node.domain, node.op_type, inputs, outputs, attributes)
        found = self._signatures.get(key)
        if found is None:
            op = Op(
                node.domain,
                node.op_type,
                self.graph.model.opset_imports.get(node.domain, 1),
                tuple(None if i < 0 else self._tensor_list[i] for i in inputs),
                tuple(self._tensor_list[i] for i in outputs),
                {name: _plain(attr) for name, attr in node.attributes.items()},
            )
            found = self._signatures[key] = price(op)
        return found

    def _tensor(self, value: onnx_ir.Value) -> int:
        index = self._of_value.get(value)
        if index is None:
            shape = value.shape
            values = shapes.known_values(value)
            constant = value in self._initializers or value in self._folded or _is_constant(value)
            dtype = value.dtype
            if dtype is not None:
                dtype = self.graph.stored.get(value) or self.graph.types.get(dtype, dtype)
            key = (None if shape is None else tuple(shape.dims), dtype, constant, values)
            index = self._tensors.get(key)
            if index is None:
                index = self._tensors[key] = len(self._tensor_list)
                tensor = Tensor(_dims(shape), dtype, constant, values)
                self._check_size(value, tensor)
                self._tensor_list.append(tensor)
                self._sizes.append(0 if constant else tensor.nbytes)
            self._of_value[value] = index
        return index

    def _check_size(self, value: onnx_ir.Value, tensor: Tensor) -> None:
        """Refuse what cannot be addressed, and remember the sizes that a binding can make negative."""
        fixed = product(dim for dim in tensor.shape or () if isinstance(dim, int))
        if fixed > MOST_ELEMENTS:
            raise ModelError(
                f"{self.graph.source}: the value {value.name!r} of shape {list(tensor.shape or ())} has more elements "
                "than can be addressed"
            )
        for dim in tensor.shape or ():
            if not isinstance(dim, int) and dim.is_nonnegative is not True:
                self.doubtful.setdefault(dim, value.name or "")


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
