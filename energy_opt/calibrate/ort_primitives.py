"""Primitives in ONNX's vocabulary: a node with its operands, or the few nodes that ONNX Runtime runs as one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir

from energy_opt import passes
from energy_opt.calibrate.draw import Sizes
from energy_opt.calibrate.primitives import TensorSpec
from energy_opt.errors import CalibrationError
from energy_opt.estimators.runtime import Runtime
from energy_opt.estimators.work import RowWork, WorkTable
from energy_opt.ir.graph import Graph
from energy_opt.ir.reader import Reader
from energy_opt.ir.row import Row

RUNTIME = "onnxruntime"
OPSET = 20
"""The opset of what is drawn; nodes of a model keep the model's."""

Values = tuple[int | float | bool, ...]


@dataclass(frozen=True)
class Node:
    """One node: `op` is `MatMul` or `com.microsoft::FusedMatMul`; operands by name, empty where one is omitted."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, Any], ...] = ()

    @property
    def domain(self) -> str:
        """The operator set, empty for ONNX's own."""
        return self.op.rpartition("::")[0]

    @property
    def op_type(self) -> str:
        """The operator's name in its set."""
        return self.op.rpartition("::")[2]


@dataclass(frozen=True)
class OnnxPrimitive:
    """Nodes that run as one kernel, usually one node.

    `tensors` describes every value by name, `constants` holds the elements of those whose values decide what is done
    (axes, a target shape), `results` are the names of what something outside would read.
    """

    nodes: tuple[Node, ...]
    tensors: tuple[tuple[str, TensorSpec], ...]
    results: tuple[str, ...]
    constants: tuple[tuple[str, Values], ...] = ()
    opset: int = OPSET
    origin: str = field(default="", compare=False)

    @cached_property
    def specs(self) -> Mapping[str, TensorSpec]:
        """The values by name."""
        return dict(self.tensors)

    @cached_property
    def given(self) -> tuple[str, ...]:
        """Names of what is read from outside, weights and constants included."""
        made = {name for node in self.nodes for name in node.outputs}
        read = [name for node in self.nodes for name in node.inputs if name]
        return tuple(name for name in dict.fromkeys(read) if name not in made)

    @cached_property
    def row(self) -> Row:
        """The work of one execution, by the rules and the fusions that a prediction goes by.

        Raises:
            CalibrationError: the nodes are not one kernel, or not one that does anything.
        """
        rows = [row for row in self._rows if row.kernels]
        if len(rows) != 1 or rows[0].count != 1:
            ops = ", ".join(node.op for node in self.nodes)
            raise CalibrationError(f"{ops}: {len(rows)} kernels, where a primitive is one")
        return rows[0]

    @property
    def runs(self) -> bool:
        """Whether it launches a kernel: views and shape arithmetic do not."""
        return any(row.kernels for row in self._rows)

    @cached_property
    def _rows(self) -> list[Row]:
        graph = passes.run(self._graph(), Runtime.load(RUNTIME).fusions)
        return Reader(graph).read()

    @cached_property
    def work(self) -> RowWork:
        """The row's quantities as numbers."""
        return WorkTable([self.row])({})[0]

    @cached_property
    def key(self) -> str:
        """A name that stays the same from run to run, for checkpoints."""
        told = f"{self.nodes}{self.tensors}{self.constants}{self.opset}"
        ops = "+".join(node.op for node in self.nodes)
        return f"{ops}/{hashlib.sha256(told.encode()).hexdigest()[:16]}"

    @cached_property
    def group(self) -> str:
        """What is left out together when an error is estimated: the shapes of the weights, else the last two sizes."""
        fixed = {name for name, _ in self.constants}
        specs = [self.specs[name] for name in self.given if name not in fixed]
        weights = [spec.shape for spec in specs if spec.role == "weight"]
        shapes = weights or [spec.shape[-2:] for spec in specs][:2]
        return f"{self.row.op} {' '.join('x'.join(map(str, shape)) for shape in shapes)}"

    @property
    def nbytes(self) -> int:
        """Bytes of operands and results in memory."""
        return sum(self.specs[name].nbytes for name in (*self.given, *self.results))

    def _graph(self) -> Graph:
        values = {name: _value(name, spec) for name, spec in self.tensors}
        for name, elements in self.constants:
            array = np.array(elements, dtype_of(self.specs[name]).numpy()).reshape(
                self.specs[name].shape
            )
            values[name].const_value = onnx_ir.tensor(array, values[name].dtype, name=name)
        nodes = []
        for number, node in enumerate(self.nodes):
            made = onnx_ir.Node(
                node.domain,
                node.op_type,
                [values[name] if name else None for name in node.inputs],
                onnx_ir.convenience.convert_attributes(dict(node.attributes)),
                outputs=[values[name] for name in node.outputs],
                name=f"{node.op_type}_{number}",
            )
            nodes.append(made)
        stored = {n for n in self.given if self.specs[n].role == "weight"} | dict(
            self.constants
        ).keys()
        graph = onnx_ir.Graph(
            [values[name] for name in self.given if name not in stored],
            [values[name] for name in self.results],
            nodes=nodes,
            opset_imports={
                "": self.opset,
                **{node.domain: 1 for node in self.nodes if node.domain},
            },
            name="primitive",
        )
        for name in self.given:
            if name in stored:
                graph.initializers[name] = values[name]
        return Graph(onnx_ir.Model(graph, ir_version=10), self.origin or "primitive")


Maker = Callable[[Sizes], OnnxPrimitive]
"""Draws one primitive."""


def dtype_of(spec: TensorSpec) -> onnx_ir.DataType:
    """The element type as ONNX has it."""
    dtype = spec.tensor().dtype
    assert dtype is not None
    return dtype


def _value(name: str, spec: TensorSpec) -> onnx_ir.Value:
    return onnx_ir.Value(
        name=name, shape=onnx_ir.Shape(spec.shape), type=onnx_ir.TensorType(dtype_of(spec))
    )


def one(
    op: str,
    inputs: list[TensorSpec | None],
    *outputs: TensorSpec,
    constants: Mapping[int, Values] | None = None,
    **attributes: Any,
) -> OnnxPrimitive:
    """A primitive of one node; `constants` are the elements of inputs by their place."""
    names = tuple("" if spec is None else f"i{place}" for place, spec in enumerate(inputs))
    results = tuple(f"o{place}" for place in range(len(outputs)))
    tensors = [(name, spec) for name, spec in zip(names, inputs, strict=True) if spec is not None]
    return OnnxPrimitive(
        (Node(op, names, results, tuple(attributes.items())),),
        (*tensors, *zip(results, outputs, strict=True)),
        results,
        tuple((f"i{place}", elements) for place, elements in (constants or {}).items()),
    )


def chain(first: OnnxPrimitive, *rest: Node, **more: TensorSpec) -> OnnxPrimitive:
    """The primitive followed by nodes that read its result `o0` and make what `more` describes, the last one's out."""
    made = {name for node in rest for name in node.outputs}
    return OnnxPrimitive(
        (*first.nodes, *rest),
        (*first.tensors, *more.items()),
        tuple(name for name in rest[-1].outputs if name in made),
        first.constants,
        first.opset,
    )
