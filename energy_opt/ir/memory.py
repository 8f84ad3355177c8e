"""Peak activation memory by liveness: which values are alive at each step of the schedule.

A value lives from its node until its last use; graph outputs live to the end. Views share the storage of what they
view. Graph inputs and weights belong to the caller and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir

from energy_opt.ir.dims import Dim, Evaluator, Value


class Timeline:
    """Allocations and frees in the order of the schedule, as sizes that are formulas."""

    def __init__(self) -> None:
        self._sizes: list[Dim] = []
        self._events: list[tuple[int, list[int]]] = []  # (slot allocated or -1, slots freed after)
        self._slot: dict[onnx_ir.Value, int] = {}
        self._uses: dict[int, int] = {}

    def enter(self, graph: onnx_ir.Graph) -> None:
        """Begin a graph or a body: its outputs stay alive."""
        self._pinned = getattr(self, "_pinned", set()) | set(graph.outputs)

    def visit(self, node: onnx_ir.Node, nbytes: Callable[[onnx_ir.Value], Dim], view: bool) -> None:
        """Account one node: its outputs appear, then inputs with no further use go."""
        source = node.inputs[0] if view and node.inputs else None
        for output in node.outputs:
            slot = self._slot.get(source) if source is not None else None
            if slot is None:
                if source is not None:
                    continue  # a view of an input or a weight owns nothing
                slot = len(self._sizes)
                self._sizes.append(nbytes(output))
                self._uses[slot] = 0
                self._events.append((slot, []))
            self._slot[output] = slot
            self._uses[slot] += _consumers(output) + (output in self._pinned)
        freed = []
        for value in node.inputs:
            slot = self._slot.get(value) if value is not None else None
            if slot is not None:
                self._uses[slot] -= 1
                if self._uses[slot] == 0:
                    freed.append(slot)
        for output in node.outputs:
            slot = self._slot.get(output)
            if slot is not None and self._uses[slot] == 0 and slot not in freed:
                freed.append(slot)
        if freed:
            self._events.append((-1, freed))

    def peak_bytes(self, binding: Mapping[str, Any]) -> Value:
        """Peak of live bytes: a float, or float64[points] where a dim is bound to an array."""
        sizes = Evaluator(self._sizes)(binding)
        live: Value = 0.0
        peak: Value = 0.0
        for slot, freed in self._events:
            if slot >= 0:
                live = live + sizes[slot]
                peak = np.maximum(peak, live) if isinstance(live, np.ndarray) else max(peak, live)
            for gone in freed:
                live = live - sizes[gone]
        return peak


def _consumers(value: onnx_ir.Value) -> int:
    return len(value.uses())
