"""The ways from a PyTorch module to its work that benchmarks/frontends.py compares: ours, torch.export, and counters.

Each is made ready once (weights where it needs them, on the meta device, fake or zeros), and then called; what calling
it costs is what is timed.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

Call = Callable[[], "float | None"]
"""One use of a tool: FLOPs of the module, None where it gives a graph and no number."""


def prepared(name: str) -> tuple[Any, dict[str, Any], dict[str, dict[int, str]]]:
    """An architecture at its published sizes on the meta device, its inputs by name, their free axes.

    No free axis has size 1, which torch.export would not leave free.
    """
    import torch

    from tests import zoo

    made = zoo.prepare(name, small=False)
    inputs = {}
    for given, tensor in made.inputs.items():
        free = made.dynamic.get(given, {})
        shape = [max(2, size) if axis in free else size for axis, size in enumerate(tensor.shape)]
        inputs[given] = torch.zeros(shape, dtype=tensor.dtype, device="meta")
    return made.module, inputs, made.dynamic


def sizes_of(inputs: dict[str, Any], dynamic: dict[str, dict[int, str]]) -> dict[str, int]:
    """The size that the inputs give each free dim."""
    return {
        dim: inputs[name].shape[axis]
        for name, axes in dynamic.items()
        for axis, dim in axes.items()
    }


# -- ours and torch.export -------------------------------------------------------------------------------------------


def ours(module: Any, inputs: dict[str, Any], dynamic: dict[str, dict[int, str]]) -> Call:
    """The symbolic graph: every size a formula over the free dims."""
    from energy_opt.frontend.pytorch.modules import load_module

    def call() -> None:
        load_module(module, inputs, dynamic=dynamic)

    return call


def ours_counted(module: Any, inputs: dict[str, Any], dynamic: dict[str, dict[int, str]]) -> Call:
    """The symbolic graph, and the FLOPs of its matrix products at the size of the inputs."""
    import energy_opt as eo
    from energy_opt.frontend.pytorch.modules import load_module
    from energy_opt.ir.dims import evaluate

    def call() -> float:
        work = eo.workload(load_module(module, inputs, dynamic=dynamic))
        bound = work.bind(sizes_of(inputs, dynamic))
        return float(evaluate(work.formulas["matmul_flops"], bound))

    return call


def export(*, free: bool) -> Callable[..., Call]:
    """torch.export, with the axes of the inputs fixed or free."""

    def ready(module: Any, inputs: dict[str, Any], dynamic: dict[str, dict[int, str]]) -> Call:
        import torch

        auto = torch.export.Dim.DYNAMIC
        shapes = {name: dict.fromkeys(dynamic.get(name, {}), auto) for name in inputs}

        def call() -> None:
            with torch.no_grad():
                torch.export.export(
                    module, (), inputs, dynamic_shapes=shapes if free else None, strict=False
                )

        return call

    return ready


# -- counters --------------------------------------------------------------------------------------------------------


def placed(module: Any, inputs: dict[str, Any], device: str) -> tuple[Any, dict[str, Any]]:
    """The module and its inputs as zeros on the device; a module that is on the meta device has no values to keep."""
    import torch
    from torch import nn

    def zeros(tensor: Any) -> Any:
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device=device)

    made: dict[int, Any] = {}  # tied weights stay tied
    for child in module.modules():
        for name, weight in child._parameters.items():
            if weight is not None:
                if id(weight) not in made:
                    made[id(weight)] = nn.Parameter(zeros(weight), requires_grad=False)
                child._parameters[name] = made[id(weight)]
        for name, buffer in child._buffers.items():
            if buffer is not None:
                child._buffers[name] = zeros(buffer)
    return module, {name: zeros(tensor) for name, tensor in inputs.items()}


def positional(module: Any, inputs: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    """The module as tracers want it: tensors in by position, a tuple of tensors out."""
    import torch
    from torch import nn
    from torch.utils import _pytree as pytree

    class Positional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *tensors: Any) -> Any:
            out = self.inner(**dict(zip(inputs, tensors, strict=True)))
            return tuple(x for x in pytree.tree_leaves(out) if isinstance(x, torch.Tensor))

    return Positional(), tuple(inputs.values())


def flop_counter_mode(where: str) -> Callable[..., Call]:
    """torch.utils.flop_counter.FlopCounterMode on `meta`, on `cpu`, or under FakeTensorMode (`fake`)."""

    def ready(module: Any, inputs: dict[str, Any], _dynamic: Any) -> Call:
        import torch
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.utils.flop_counter import FlopCounterMode

        fake = FakeTensorMode() if where == "fake" else contextlib.nullcontext()
        if where != "meta":
            with fake:
                module, inputs = placed(module, inputs, "cpu")

        def call() -> float:
            with fake, torch.no_grad(), FlopCounterMode(display=False) as counter:
                module(**inputs)
            return float(counter.get_total_flops())

        return call

    return ready


def fvcore(module: Any, inputs: dict[str, Any], _dynamic: Any) -> Call:
    """fvcore.nn.FlopCountAnalysis; what it calls a FLOP is a multiply-add."""
    from fvcore.nn import FlopCountAnalysis

    module, tensors = positional(*placed(module, inputs, "cpu"))

    def call() -> float:
        analysis = FlopCountAnalysis(module, tensors)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return 2.0 * analysis.total()

    return call


def calflops(module: Any, inputs: dict[str, Any], _dynamic: Any) -> Call:
    """calflops.calculate_flops: its FLOPs, activations and normalizations included."""
    from calflops import calculate_flops

    module, inputs = placed(module, inputs, "cpu")

    def call() -> float:
        flops, _macs, _parameters = calculate_flops(
            module, kwargs=dict(inputs), print_results=False, print_detailed=False, output_as_string=False
        )  # fmt: skip
        return float(flops)

    return call


def ptflops(backend: str) -> Callable[..., Call]:
    """ptflops.get_model_complexity_info with its `pytorch` (hooks and patches) or `aten` (dispatch) backend."""

    def ready(module: Any, inputs: dict[str, Any], _dynamic: Any) -> Call:
        from ptflops import get_model_complexity_info

        module, inputs = placed(module, inputs, "cpu")

        def call() -> float:
            macs, _parameters = get_model_complexity_info(
                module, (1,), input_constructor=lambda _: dict(inputs), as_strings=False,
                print_per_layer_stat=False, verbose=False, backend=backend,
            )  # fmt: skip
            if macs is None:
                raise RuntimeError("ptflops gives no count")
            return 2.0 * macs

        return call

    return ready


def thop(module: Any, inputs: dict[str, Any], _dynamic: Any) -> Call:
    """thop.profile."""
    import thop

    module, tensors = positional(*placed(module, inputs, "cpu"))

    def call() -> float:
        macs, _parameters = thop.profile(module, inputs=tensors, verbose=False)
        return 2.0 * macs

    return call


# name -> (what makes it ready, what it gives, where the weights are, the package it needs)
WAYS: dict[str, tuple[Callable[..., Call], str, str, str]] = {
    "energy-opt": (ours, "graph, any size", "meta", "torch"),
    "energy-opt, FLOPs too": (ours_counted, "graph, any size", "meta", "torch"),
    "torch.export, static": (export(free=False), "graph, one size", "meta", "torch"),
    "torch.export, dynamic": (export(free=True), "graph, any size", "meta", "torch"),
    "FlopCounterMode, meta": (flop_counter_mode("meta"), "number, one size", "meta", "torch"),
    "FlopCounterMode, FakeTensorMode": (flop_counter_mode("fake"), "number, one size", "fake", "torch"),
    "FlopCounterMode, real": (flop_counter_mode("cpu"), "number, one size", "real", "torch"),
    "fvcore": (fvcore, "number, one size", "real", "fvcore"),
    "calflops": (calflops, "number, one size", "real", "calflops"),
    "ptflops, pytorch": (ptflops("pytorch"), "number, one size", "real", "ptflops"),
    "ptflops, aten": (ptflops("aten"), "number, one size", "real", "ptflops"),
    "thop": (thop, "number, one size", "real", "thop"),
}  # fmt: skip
