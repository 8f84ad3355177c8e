"""workload(graph): the graph read once into rows of work, one per distinct signature, and the facts beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import onnx_ir

from energy_opt.errors import DimError, ModelError
from energy_opt.ir.dims import Dim, Evaluator, Value, factored, free_symbols, product, total
from energy_opt.ir.graph import DimInfo, Graph, bind, path_of
from energy_opt.ir.memory import Step, Timeline
from energy_opt.ir.reader import Reader
from energy_opt.ir.row import Row
from energy_opt.ir.rules import lookup


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
        return self._timeline(frames).peak_bytes(binding)

    def live_activation_bytes(
        self, binding: Mapping[str, Any], *, frames: bool = False
    ) -> list[tuple[str, float]]:
        """(module path, live activation bytes) of every step of the schedule; `Use.step` counts them."""
        paths = (path_of(node) for node, _ in self.schedule)
        live = self._timeline(frames).live_bytes(binding)
        return [(path, float(size)) for path, size in zip(paths, live, strict=True)]

    def _timeline(self, frames: bool) -> Timeline:
        if frames not in self._timelines:
            self._timelines[frames] = Timeline(self.schedule, self.nbytes, frames=frames)
        return self._timelines[frames]

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
    reader = Reader(graph)
    rows = reader.read()
    if strict and reader.unmodelled:
        names = (f"{name} ({count}x)" for name, count in reader.unmodelled.most_common())
        reason = "; ".join(["no work rule applies to " + ", ".join(names), *_reasons(reader)])
        raise ModelError(
            f"{graph.source}: {reason}; without --strict they are priced as memory traffic"
        )
    uses = [use for row in rows for use in row.uses]
    return Workload(
        rows=rows,
        source=graph.source,
        name=graph.name,
        vocabulary=graph.vocabulary,
        nodes=reader.nodes,
        parameters=sum(use.parameters for use in uses),
        weight_bytes=sum(use.weight_bytes for use in uses),
        modules=dict(graph.modules),
        dims=dict(graph.dims),
        notes=[*graph.notes, *_reasons(reader)],
        unmodelled=dict(reader.unmodelled),
        schedule=reader.schedule,
        nbytes=reader.nbytes,
        doubtful=reader.doubtful,
    )


def _reasons(reader: Reader) -> list[str]:
    """What to say of ops that have a rule, but operands that it cannot work with, or a bug."""
    notes = [
        f"{name}: its work rule failed ({problem}), which is a bug of energy-opt that we would like to hear of; "
        "its traffic alone is priced"
        for name, problem in reader.problems.items()
    ]
    known = [
        name
        for name in reader.unmodelled
        if name not in reader.problems and lookup(*name.rpartition("::")[::2])
    ]
    if known:
        notes.append(
            f"{', '.join(known)}: operands of unknown shape, or attributes that make no sense, so only the traffic "
            "that is known is priced; give the model's inputs their shapes"
        )
    return notes
