"""Peak activation memory by liveness: which values are alive at each step of the schedule.

A value lives from its node until its last use; graph outputs live to the end. Views share the storage of what they
view. Graph inputs and weights belong to the caller and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir

from energy_opt.ir.dims import Dim, Evaluator, Value

Step = tuple[onnx_ir.Node, bool]
"""A node in the order of the schedule, and whether it is a view."""


class Timeline:
    """Allocations and frees in the order of the schedule, as sizes that are formulas."""

    def __init__(self, schedule: Iterable[Step], nbytes: Callable[[onnx_ir.Value], Dim]) -> None:
        self._sizes: list[Dim] = []
        self._events: list[tuple[int, list[int]]] = []  # (slot allocated or -1, slots freed after)
        self._slot: dict[onnx_ir.Value, int] = {}
        self._uses: list[int] = []
        for node, view in schedule:
            self._visit(node, nbytes, view)

    def _visit(
        self, node: onnx_ir.Node, nbytes: Callable[[onnx_ir.Value], Dim], view: bool
    ) -> None:
        """Account one node: its outputs appear, then inputs with no further use go."""
        source = node.inputs[0] if view and node.inputs else None
        touched: list[int] = []
        for output in node.outputs:
            slot = self._slot.get(source) if source is not None else None
            if slot is None:
                if source is not None:
                    continue  # a view of an input or a weight owns nothing
                slot = len(self._sizes)
                self._sizes.append(nbytes(output))
                self._uses.append(0)
                self._events.append((slot, []))
            self._slot[output] = slot
            # A graph output has one reader more, the caller, who never lets go.
            self._uses[slot] += len(output.uses()) + output.is_graph_output()
            touched.append(slot)
        for value in node.inputs:
            slot = self._slot.get(value) if value is not None else None
            if slot is not None:
                self._uses[slot] -= 1
                touched.append(slot)
        freed = [slot for slot in dict.fromkeys(touched) if self._uses[slot] == 0]
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
