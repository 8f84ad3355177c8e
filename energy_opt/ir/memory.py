"""Peak activation memory by liveness: which values are alive at each step of the schedule.

A value lives from its node until its last use; graph outputs live to the end. Views, and what is written in place,
share the storage of their first operand. Graph inputs and weights belong to the caller and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx_ir

from energy_opt.ir.dims import Dim, Evaluator, Value
from energy_opt.ir.graph import path_of, subgraphs

Step = tuple[onnx_ir.Node, bool]
"""A node in the order of the schedule, and whether its result lives in the memory of its first operand."""


class Timeline:
    """Storage over the schedule: sizes that are formulas, and the steps between which each is alive.

    With `frames`, a value that enters a module stays until the module returns, at the last node of that call: eager
    PyTorch holds a module's inputs in the frame of its forward, so that what it could free earlier it does not.
    """

    def __init__(
        self,
        schedule: Sequence[Step],
        nbytes: Callable[[onnx_ir.Value], Dim],
        *,
        frames: bool = False,
    ) -> None:
        step_of = {node: step for step, (node, _) in enumerate(schedule)}
        self._owner = {body: node for node, _ in schedule for _, body in subgraphs(node)}
        returns = _returns([path_of(node) for node, _ in schedule]) if frames else []
        self._steps = len(schedule)
        self._sizes: list[Dim] = []
        self._born: list[int] = []
        self._dead: list[int] = []
        slot_of: dict[onnx_ir.Value, int] = {}
        for step, (node, view) in enumerate(schedule):
            source = node.inputs[0] if view and node.inputs else None
            for output in node.outputs:
                slot = slot_of.get(source) if source is not None else len(self._sizes)
                if slot is None:
                    continue  # a view of an input or a weight owns nothing
                if slot == len(self._sizes):
                    self._sizes.append(nbytes(output))
                    self._born.append(step)
                    self._dead.append(step)
                slot_of[output] = slot
                end = self._end(output, step, step_of, returns)
                self._dead[slot] = max(self._dead[slot], end)

    def _end(
        self,
        value: onnx_ir.Value,
        step: int,
        step_of: Mapping[onnx_ir.Node, int],
        returns: Sequence[Mapping[str, int]],
    ) -> int:
        """The last step at which the value is needed; in a body's graph, what leaves it is the owner's to hand on."""
        producer = value.producer()
        home = producer.graph if producer is not None else None
        if value.is_graph_output():
            owner = self._owner.get(home) if isinstance(home, onnx_ir.Graph) else None
            return self._steps if owner is None else step_of[owner]
        # what a body reads from outside is needed until its last trip
        readers = [self._from(user, home) for user, _ in value.uses() if user in step_of]
        end = max((step_of[user] for user in readers), default=step)
        if returns and producer is not None:
            outside = _prefixes(path_of(producer))
            for user in readers:
                entered = (at for path, at in returns[step_of[user]].items() if path not in outside)
                end = max(end, *entered, end)
        return end

    def _from(self, user: onnx_ir.Node, home: object) -> onnx_ir.Node:
        """The node of that graph in whose bodies the user is, or the user itself."""
        while user.graph is not home and user.graph in self._owner:
            user = self._owner[user.graph]
        return user

    def peak_bytes(self, binding: Mapping[str, Any]) -> Value:
        """Peak of live bytes: a float, or float64[points] where a dim is bound to an array."""
        peak: Value = 0.0
        for live in self.live_bytes(binding):
            peak = np.maximum(peak, live) if isinstance(live, np.ndarray) else max(peak, live)
        return peak

    def live_bytes(self, binding: Mapping[str, Any]) -> Iterator[Value]:
        """Bytes alive at each step of the schedule, in order."""
        sizes = Evaluator(self._sizes)(binding)
        gone: dict[int, list[int]] = {}
        for slot, step in enumerate(self._dead):
            gone.setdefault(step, []).append(slot)
        live: Value = 0.0
        slot = 0
        for step in range(self._steps):
            while slot < len(sizes) and self._born[slot] == step:
                live = live + sizes[slot]
                slot += 1
            yield live
            for dead in gone.get(step, ()):
                live = live - sizes[dead]


def _returns(paths: Sequence[str]) -> list[Mapping[str, int]]:
    """For each step, the modules it is in and the last step of that call of each.

    A module is called anew where a step outside it lies between two inside it: a dropout that a layer uses twice
    returns twice.
    """
    found: list[Mapping[str, int]] = []
    inside: Mapping[str, int] = {}
    for step in range(len(paths) - 1, -1, -1):
        if not found or paths[step] != paths[step + 1]:
            inside = {path: inside.get(path, step) for path in _prefixes(paths[step])}
        found.append(inside)
    return found[::-1]


@lru_cache(maxsize=65536)
def _prefixes(path: str) -> frozenset[str]:
    parts = path.split(".") if path else []
    return frozenset(".".join(parts[: i + 1]) for i in range(len(parts)))
