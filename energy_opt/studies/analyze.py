"""analyze: what one inference costs in time and energy on a device, where it goes, and what would help."""

from __future__ import annotations

import keyword
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from energy_opt import passes
from energy_opt.errors import UsageError
from energy_opt.estimators.device import Device
from energy_opt.estimators.estimate import Estimate, estimate
from energy_opt.estimators.runtime import Runtime
from energy_opt.frontend import load
from energy_opt.ir.graph import Graph
from energy_opt.ir.workload import workload
from energy_opt.studies import DEFAULT_DEVICE, choices
from energy_opt.studies.choices import PRECISIONS

__all__ = ["analyze", "devices"]

_DEFAULT_RUNTIME = {"onnx": "onnxruntime", "aten": "eager"}
IN_MEMORY = " in memory"
"""How the source of a model ends that no command line can name."""

_WORTH_SAYING = 0.03  # a saving under 3 % is within any prediction's noise


def analyze(
    model: Any,
    inputs: Any = None,
    *,
    device: str | Device = DEFAULT_DEVICE,
    dynamic: Any = None,
    settings: Mapping[str, Any] | None = None,
    runtime: str | Runtime | None = None,
    precision: str = "as-is",
    strict: bool = False,
    dims: Mapping[str, Any] | None = None,
    **sizes: Any,
) -> Estimate:
    """Predicted time and energy of one inference.

    `model` is a Graph or what `load` takes; a PyTorch module comes with example `inputs`, and `dynamic` and `settings`
    are those of `load`. The model's free dims are set by name (`batch=8, seq=128`), or in `dims` where a name is not a
    Python word; an array makes every figure an array. A dim left free has the size that the example inputs have; of a
    file it is 1. A PyTorch module is priced as run eagerly, a file as run by ONNX Runtime, unless `runtime` says else.

    Raises:
        ModelError: the model cannot be read, or `strict` is set and an op has no rule.
        DimError: a dim that the model does not have, or that is not positive.
        DeviceError, UsageError: the device, runtime or precision is not known.
    """
    if isinstance(inputs, (str, Device)):
        named = inputs if isinstance(inputs, str) else inputs.name
        raise UsageError(
            f"the second argument of analyze is a module's example inputs, not {named!r}; "
            f"a device is given by name: analyze(model, device={named!r})"
        )
    chosen = choices.device(device)
    named = chosen.name if isinstance(device, Device) else os.fspath(device)
    given = {**choices.sizes(dims), **sizes}
    executor = choices.runtime(runtime)
    precision = choices.precision(precision)
    graph = load(model, inputs, dynamic=dynamic, settings=settings)
    choices.refuse_misspelt((name for name in sizes if name not in _dims(graph)), analyze)
    setting = _Setting(
        chosen,
        named,
        executor or Runtime.load(_DEFAULT_RUNTIME[graph.vocabulary]),
        precision,
        given,
    )
    result = _estimate(graph, setting, strict=strict)
    result.advisor = lambda: _advice(graph, setting, result)
    return result


def devices() -> list[Device]:
    """The shipped device profiles, by name."""
    return [Device.load(name) for name in Device.names()]


@dataclass(frozen=True)
class _Setting:
    """What a prediction is made for: advice is another setting, priced in the same way."""

    device: Device
    named: str  # the device as the person named it: a slug, or the path of a profile
    runtime: Runtime
    precision: str
    dims: Mapping[str, Any]

    def command(self, graph: Graph) -> str:
        """The command line that prints this prediction; the call, where the model has no name to type."""
        if graph.source.endswith(IN_MEMORY):
            return self._call(graph)
        device = shlex.quote(self.named)
        # What a config or a callable is called is typed as it is, its settings with it.
        model = shlex.quote(graph.source) if graph.vocabulary == "onnx" else graph.source
        parts = ["energy-opt analyze", model, f"--device {device}"]
        parts += [f"--dim {name}={size}" for name, size in self.dims.items()]
        parts.append(f"--runtime {self.runtime.name}")
        if self.precision != "as-is":
            parts.append(f"--precision {self.precision}")
        return " ".join(parts)

    def _call(self, graph: Graph) -> str:
        parts = [
            "model" if graph.vocabulary == "onnx" else "model, inputs",
            f"device={self.named!r}",
        ]
        words = all(name.isidentifier() and not keyword.iskeyword(name) for name in self.dims)
        if words:
            parts += [f"{name}={size}" for name, size in self.dims.items()]
        else:
            parts.append(f"dims={dict(self.dims)!r}")
        parts.append(f"runtime={self.runtime.name!r}")
        if self.precision != "as-is":
            parts.append(f"precision={self.precision!r}")
        return f"energy_opt.analyze({', '.join(parts)})"


def _dims(graph: Graph) -> set[str]:
    return {name for dim, info in graph.dims.items() for name in (dim, *info.aliases)}


def _estimate(graph: Graph, setting: _Setting, *, strict: bool = False) -> Estimate:
    setting.runtime.check(graph.vocabulary)
    graph = graph.at(setting.dims)
    if setting.precision != "as-is":
        graph = passes.run(graph, [PRECISIONS[setting.precision]])
    work = workload(passes.run(graph, setting.runtime.fusions), strict=strict)
    result = estimate(work, setting.device, setting.runtime, setting.dims)
    result.precision = setting.precision
    return result


# -- what would help -------------------------------------------------------------------------------------------------


_TYPES = {"fp16": "float16", "bf16": "bfloat16"}
_COMPILERS = {
    "onnxruntime": "a compiler that fuses elementwise chains and replays launches "
    "(CUDA graphs, TensorRT, TorchInductor)",
    "eager": "fuse elementwise chains and replay launches (torch.compile, CUDA graphs)",
}


def _advice(graph: Graph, setting: _Setting, base: Estimate) -> list[dict[str, Any]]:
    """The changes that are predicted to save most energy per sample, at most three, each with the command to see it."""
    if base.shape:
        return []  # a person reads advice about one point, not about an array of them
    infos, free = base.workload.dims, set(base.workload.defaulted(base.given))
    # What was not given and only the data knows, or follows from other dims, keeps its default.
    bound = {
        name: size
        for name, size in base.dims.items()
        if name not in free
        or (infos[name].origin == "input" and isinstance(infos[name].default, int))
    }
    here = replace(setting, dims=bound)
    found: list[dict[str, Any]] = []
    for title, detail, there, samples in _candidates(graph, here):
        same_rows = replace(there, dims=bound) == here and graph.at(there.dims) is graph.at(bound)
        if same_rows:
            other = estimate(base.workload, there.device, there.runtime, there.dims)
        else:
            other = _estimate(graph, there)
        if there.dims != here.dims and _fits(base) and not _fits(other):
            continue
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
                    "command": there.command(graph),
                }
            )
    return sorted(found, key=lambda advice: -float(advice["saving_fraction"]))[:3]


def _fits(result: Estimate) -> bool:
    """Whether weights and activations fit the device's memory, where that is known."""
    memory = result.device.memory_bytes
    return memory is None or result.weight_bytes + float(result.peak_activation_bytes) <= memory


def _candidates(graph: Graph, here: _Setting) -> Iterator[tuple[str, str, _Setting, int]]:
    """(title, detail, the changed setting, how many times the samples) of each change worth trying."""
    batch = here.dims.get("batch")
    if batch is not None and batch < 64:
        factor = 8
        yield (
            f"run {batch * factor} samples at once",
            f"larger batches share launches and weight reads; energy per sample at batch {batch * factor} "
            f"against batch {batch}",
            replace(here, dims={**here.dims, "batch": batch * factor}),
            factor,
        )
    half = next((name for name, dtype in _TYPES.items() if dtype in here.device.peaks), None)
    if half is not None and here.precision == "as-is" and _computes_in_float32(graph):
        yield (
            f"compute in {half}",
            "halves the traffic and uses the matrix units; check the accuracy of your task before you deploy it",
            replace(here, precision=half),
            1,
        )
    if here.runtime.name in _COMPILERS:
        compiled = replace(here, runtime=Runtime.load("graph"))
        yield "compile the graph", _COMPILERS[here.runtime.name], compiled, 1


def _computes_in_float32(graph: Graph) -> bool:
    import onnx_ir

    weights = graph.model.graph.initializers.values()
    return any(value.dtype is onnx_ir.DataType.FLOAT for value in weights)
