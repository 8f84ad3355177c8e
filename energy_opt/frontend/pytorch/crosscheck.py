"""Our FLOPs of a module beside those of fvcore and torch's FlopCounterMode, operator by operator."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from energy_opt.errors import UsageError
from energy_opt.ir.dims import evaluate, product
from energy_opt.ir.graph import Graph
from energy_opt.ir.workload import workload

if TYPE_CHECKING:
    from energy_opt.frontend.pytorch.counters import Count

__all__ = ["CrossCheck", "cross_check"]

SCHEMA = "energy-opt/cross-check/1"

MOST_FLOPS = 5e11
"""What two of the counters have to compute in earnest: above this they would take minutes on a CPU."""
MOST_ACTIVATION_BYTES = 4 << 30
_EQUAL = 1e-3


@dataclass(frozen=True)
class CrossCheck:
    """FLOPs of matrix arithmetic by operator, ours and those of other counters; a multiply-add is 2 FLOPs."""

    source: str
    dims: dict[str, int]
    ours: dict[str, float]
    counts: list[Count]
    notes: list[str] = field(default_factory=list)

    def missed(self, count: Count) -> list[str]:
        """Operators with matrix arithmetic of which the counter counts nothing."""
        return [name for name in self.ours if not count.operators.get(name)]

    def different(self, count: Count) -> list[str]:
        """Operators that both count, by more than 0.1 % differently, and those that only the other one counts."""
        return [
            name
            for name, flops in count.operators.items()
            if flops and abs(flops - self.ours.get(name, 0.0)) > _EQUAL * flops
        ]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of a cross-check. A counter that could not run has no figures, and says why in `failed`."""
        ran = [count for count in self.counts if not count.failed]
        names = dict.fromkeys([*self.ours, *(name for count in ran for name in count.operators)])
        return {
            "schema": SCHEMA,
            "source": self.source,
            "unit": "FLOPs of matrix arithmetic; a multiply-add is 2",
            "dims": dict(self.dims),
            "total": sum(self.ours.values()),
            "operators": [
                {
                    "operator": name,
                    "ours": self.ours.get(name, 0.0),
                    **{count.name: count.operators.get(name, 0.0) for count in ran},
                }
                for name in names
            ],
            "counters": [self._counter(count) for count in self.counts],
            "notes": list(self.notes),
        }

    def _counter(self, count: Count) -> dict[str, Any]:
        known: dict[str, Any] = {"name": count.name, "label": count.label}
        if count.failed:
            return {**known, "failed": count.failed}
        total = sum(count.operators.values())
        ours = sum(self.ours.values())
        return {
            **known,
            "total": total,
            "ratio": total / ours if ours else None,
            "missed": self.missed(count),
            "different": self.different(count),
            "unsupported": dict(count.unsupported),
            "printed": count.printed,
            "printed_unit": count.unit,
            "printed_other": dict(count.other),
        }

    def __repr__(self) -> str:
        totals = [("ours", sum(self.ours.values()))]
        totals += [(c.name, sum(c.operators.values())) for c in self.counts if not c.failed]
        said = ", ".join(f"{name} {flops:.4g}" for name, flops in totals)
        return f"<CrossCheck of {self.source!r}, FLOPs: {said}>"


def cross_check(
    model: Any,
    inputs: Any = None,
    *,
    dynamic: Any = None,
    settings: Mapping[str, Any] | None = None,
    dims: Mapping[str, int] | None = None,
    **sizes: int,
) -> CrossCheck:
    """FLOPs of a module by operator: ours, fvcore's and FlopCounterMode's, each on the same inputs.

    `model` is a module with example inputs, or what `load` makes one of: a transformers config, `hf:NAME`,
    `python:package.module:callable`. FlopCounterMode runs twice: as one would call it, on CPU tensors, and on fake
    tensors with attention kept from fused kernels, of which it knows only some. Two counters compute in earnest, on
    weights that are zero, so they are left out of a large model.

    Raises:
        UsageError: the model is a file, which no other counter reads; or it has no inputs.
        ModelError, DimError: see `load`.
    """
    module, example, free, source, notes = _resolve(model, inputs, dynamic, settings)
    given = {**(dims or {}), **sizes}
    from energy_opt.frontend.pytorch import counters
    from energy_opt.frontend.pytorch.inputs import Inputs
    from energy_opt.frontend.pytorch.modules import load_module

    graph = load_module(module, example, dynamic=free, source=source)
    ours, bound, activation_bytes = _ours(graph, given)
    call = Inputs(module, example, free)
    args, kwargs = call.args, call.kwargs
    if given:
        args, kwargs = call.at(
            {n: bound.get(n, int(info.default)) for n, info in call.dims.items()}
        )
    if any(type(child).__name__ == "MultiheadAttention" for child in module.modules()):
        notes.append(
            "the fused kernel that nn.MultiheadAttention and nn.TransformerEncoderLayer may choose in evaluation is "
            "switched off here: the other counters count nothing of it"
        )
    runs_large = sum(ours.values()) > MOST_FLOPS or activation_bytes > MOST_ACTIVATION_BYTES
    counts = [counters.flop_counter(module, args, kwargs, device="meta", math=True)]
    if runs_large:
        notes.append(
            f"FlopCounterMode on CPU tensors and fvcore compute in earnest, and {sum(ours.values()):.2g} FLOPs "
            f"are more than the {MOST_FLOPS:.0e} that they are given here: choose smaller dims or fewer layers"
        )
    else:
        counts = [
            counters.flop_counter(module, args, kwargs, device="cpu", math=False),
            *counts,
            counters.fvcore(module, args, kwargs),
        ]
    return CrossCheck(source, bound, ours, counts, notes)


def _resolve(
    model: Any, inputs: Any, dynamic: Any, settings: Mapping[str, Any] | None
) -> tuple[Any, Any, Any, str, list[str]]:
    """(module, example inputs, free axes, source, notes) of whatever stands for a module."""
    model = os.fspath(model) if isinstance(model, os.PathLike) else model
    if isinstance(model, str) and model.lower().endswith(".onnx"):
        raise UsageError(
            f"{model}: other counters run a PyTorch module, and an .onnx file holds none; "
            "give hf:NAME, a config.json or python:package.module:callable, or call eo.cross_check(module, inputs)"
        )
    if isinstance(model, Graph):
        raise UsageError(
            "a cross-check runs the module: give the module and its inputs, not a graph"
        )
    from energy_opt.frontend import huggingface, python_object

    huggingface.require("torch")
    import torch

    if isinstance(model, torch.nn.Module):
        from energy_opt.frontend.pytorch.calls import unwrapped

        model = unwrapped(model)
        if inputs is not None:
            return model, inputs, dynamic, f"{type(model).__name__} in memory", []
        if not hasattr(model, "config"):
            raise UsageError(
                f"{type(model).__name__} needs example inputs: energy_opt.cross_check(module, inputs)"
            )
    elif not isinstance(model, str) and not hasattr(model, "model_type"):
        raise UsageError(
            f"a cross-check runs a torch.nn.Module, not this {type(model).__name__}; "
            "give the module it was made from, and example inputs"
        )
    python = isinstance(model, str) and python_object.is_object(model)
    prepared = (python_object if python else huggingface).prepare(model, settings)
    return prepared.module, prepared.inputs, prepared.dynamic, prepared.source, list(prepared.notes)


def _ours(graph: Graph, given: Mapping[str, int]) -> tuple[dict[str, float], dict[str, int], float]:
    """FLOPs by operator, largest first, the dims, and the peak of activation bytes."""
    from energy_opt.frontend.pytorch.counters import operator

    work = workload(graph)
    bound = work.bind(given)
    found: dict[str, float] = {}
    for row in work:
        flops = float(evaluate(product((row.matmul_flops, row.count)), bound))
        if flops:
            name = operator(row.op)
            found[name] = found.get(name, 0.0) + flops
    found = dict(sorted(found.items(), key=lambda item: -item[1]))
    peak = float(work.peak_activation_bytes(bound))
    return found, {name: int(size) for name, size in bound.items()}, peak
