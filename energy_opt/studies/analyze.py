"""analyze: what one inference costs in time and energy on a device, where it goes, and what would help."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from energy_opt import passes
from energy_opt.errors import UsageError
from energy_opt.estimators.device import Device
from energy_opt.estimators.estimate import Estimate, estimate
from energy_opt.estimators.runtime import Runtime
from energy_opt.frontend import load
from energy_opt.ir.graph import Graph
from energy_opt.ir.workload import workload
from energy_opt.studies import DEFAULT_DEVICE

__all__ = ["PRECISIONS", "analyze", "devices"]

PRECISIONS: Mapping[str, str] = {"fp16": "cast-fp16", "bf16": "cast-bf16"}
"""What-if precisions and the pass that makes them. `as-is` is the model's own."""

_DEFAULT_RUNTIME = {"onnx": "onnxruntime", "aten": "eager"}
_WORTH_SAYING = 0.03  # a saving under 3 % is within any prediction's noise


def analyze(
    model: Any,
    device: str | Device = DEFAULT_DEVICE,
    *,
    runtime: str | Runtime | None = None,
    precision: str = "as-is",
    strict: bool = False,
    dims: Mapping[str, Any] | None = None,
    **sizes: Any,
) -> Estimate:
    """Predicted time and energy of one inference.

    `model` is a Graph or what `load` takes. The model's free dims are set by name (`batch=8, seq=128`), or in `dims`
    where a name is not a Python word; an array makes every figure an array. A dim left free is 1.

    Raises:
        ModelError: the model cannot be read, or `strict` is set and an op has no rule.
        DimError: a dim that the model does not have, or that is not positive.
        DeviceError, UsageError: the device, runtime or precision is not known.
    """
    graph = load(model)
    given = {**(dims or {}), **sizes}
    device = Device.load(device) if isinstance(device, str) else device
    if runtime is None:
        runtime = _DEFAULT_RUNTIME[graph.vocabulary]
    runtime = Runtime.load(runtime) if isinstance(runtime, str) else runtime
    result = _estimate(graph, device, runtime, precision, strict, given)
    result.advisor = lambda: _advice(graph, result, device, runtime, precision)
    return result


def devices() -> list[Device]:
    """The shipped device profiles, by name."""
    return [Device.load(name) for name in Device.names()]


def _estimate(
    graph: Graph,
    device: Device,
    runtime: Runtime,
    precision: str,
    strict: bool,
    dims: Mapping[str, Any],
) -> Estimate:
    runtime.check(graph.vocabulary)
    if precision != "as-is":
        if precision not in PRECISIONS:
            raise UsageError(
                f"precision {precision!r} is not known; there are as-is, {', '.join(PRECISIONS)}"
            )
        graph = passes.run(graph, [PRECISIONS[precision]])
    work = workload(passes.run(graph, runtime.fusions), strict=strict)
    result = estimate(work, device, runtime, dims)
    result.precision = precision
    return result


# -- what would help -------------------------------------------------------------------------------------------------


def _advice(
    graph: Graph,
    base: Estimate,
    device: Device,
    runtime: Runtime,
    precision: str,
) -> list[dict[str, Any]]:
    """The changes that are predicted to save most energy per sample, at most three, each with the command to see it."""
    if base.shape:
        return []  # a person reads advice about one point, not about an array of them
    infos, free = base.workload.dims, set(base.workload.defaulted(base.given))
    # What only the data knows keeps its default, which may follow the other dims.
    bound = {
        n: size for n, size in base.dims.items() if infos[n].origin == "input" or n not in free
    }
    found: list[dict[str, Any]] = []
    for title, detail, options, samples in _candidates(graph, bound, device, runtime, precision):
        changed: dict[str, Any] = {
            "device": device,
            "runtime": runtime,
            "precision": precision,
            "dims": bound,
        } | options
        if options.keys() <= {"dims"}:  # the rows are the same, only their sizes change
            other = estimate(base.workload, device, runtime, changed["dims"])
        else:
            other = _estimate(
                graph,
                changed["device"],
                changed["runtime"],
                changed["precision"],
                False,
                changed["dims"],
            )
        saving_j = float(base.energy_j) - float(other.energy_j) / samples
        fraction = saving_j / float(base.energy_j) if base.energy_j else 0.0
        if fraction >= _WORTH_SAYING:
            found.append(
                {
                    "title": title,
                    "detail": detail,
                    "saving_j": saving_j,
                    "saving_fraction": fraction,
                    "basis": "modelled",
                    "command": _command(graph, changed),
                }
            )
    return sorted(found, key=lambda advice: -float(advice["saving_fraction"]))[:3]


def _candidates(
    graph: Graph, bound: Mapping[str, Any], device: Device, runtime: Runtime, precision: str
) -> Iterator[tuple[str, str, dict[str, Any], int]]:
    """(title, detail, what changes, how many times the samples) of each change worth trying."""
    batch = bound.get("batch")
    if batch is not None and batch < 64:
        factor = 8
        yield (
            f"run {batch * factor} samples at once",
            f"larger batches share launches and weight reads; energy per sample at batch {batch * factor} "
            f"against batch {batch}",
            {"dims": {**bound, "batch": batch * factor}},
            factor,
        )
    half = "bf16" if "bfloat16" in device.peaks and "float16" not in device.peaks else "fp16"
    faster = half.replace("fp", "float").replace("bf", "bfloat") in device.peaks
    if precision == "as-is" and faster and _computes_in_float32(graph):
        yield (
            f"compute in {half}",
            "halves the traffic and uses the matrix units; check the accuracy of your task before you deploy it",
            {"precision": half},
            1,
        )
    if runtime.name == "onnxruntime":
        yield (
            "compile the graph",
            "a compiler that fuses elementwise chains and replays launches (CUDA graphs, TensorRT, TorchInductor)",
            {"runtime": Runtime.load("graph")},
            1,
        )
    elif runtime.name == "eager":
        yield (
            "compile the graph",
            "fuse elementwise chains and replay launches (torch.compile, CUDA graphs)",
            {"runtime": Runtime.load("graph")},
            1,
        )


def _computes_in_float32(graph: Graph) -> bool:
    import onnx_ir

    weights = graph.model.graph.initializers.values()
    return any(value.dtype is onnx_ir.DataType.FLOAT for value in weights)


def _command(graph: Graph, changed: Mapping[str, Any]) -> str:
    parts = ["energy-opt analyze", shlex.quote(graph.source), f"--device {changed['device'].name}"]
    parts += [f"--dim {name}={size}" for name, size in changed["dims"].items()]
    parts.append(f"--runtime {changed['runtime'].name}")
    if changed["precision"] != "as-is":
        parts.append(f"--precision {changed['precision']}")
    return " ".join(parts)
