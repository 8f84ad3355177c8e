"""Whole models on a GPU, which calibration never saw: built from configs with random weights, timed and metered."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

import energy_opt as eo
from energy_opt.calibrate.accelerator import Accelerator, Hint, applied
from energy_opt.calibrate.backend import Setting, Timing, Unrunnable
from energy_opt.calibrate.gpu import GpuBackend, Held
from energy_opt.estimators.device import Device
from energy_opt.estimators.fitted import Fitted
from energy_opt.estimators.work import WorkTable
from energy_opt.frontend.huggingface import prepare
from energy_opt.measure.runners.pytorch import materialise

PRECISIONS = ("fp32", "tf32", "bf16")
MODES = ("graph", "eager")

LLAMA_1B = {
    "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
    "intermediate_size": 8192, "vocab_size": 128256, "head_dim": 64, "tie_word_embeddings": True,
}  # fmt: skip
"""Source: the config of meta-llama/Llama-3.2-1B."""

MODELS: dict[str, tuple[str, dict[str, Any], tuple[dict[str, int], ...]]] = {
    "bert-base": ("hf:bert", {}, ({"batch": 1, "seq": 128}, {"batch": 8, "seq": 128}, {"batch": 32, "seq": 384})),
    "gpt2-prefill": ("hf:gpt2", {}, ({"batch": 1, "seq": 128}, {"batch": 8, "seq": 512}, {"batch": 16, "seq": 1024})),
    "gpt2-decode": ("hf:gpt2", {}, ({"batch": 1, "past": 128}, {"batch": 16, "past": 512}, {"batch": 64, "past": 960})),
    "resnet-50": ("hf:resnet", {"num_labels": 1000}, ({"batch": 1}, {"batch": 16}, {"batch": 64})),
    "llama-1b": ("hf:llama", LLAMA_1B, ({"batch": 1, "seq": 128}, {"batch": 4, "seq": 512}, {"batch": 8, "seq": 1024})),
}  # fmt: skip
"""Name -> config, settings, cells. A decode cell is one token per sequence after `past` cached ones."""

_TINY = {
    "hf:bert": {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128},
    "hf:gpt2": {"n_layer": 1, "n_embd": 64, "n_head": 2},
    "hf:resnet": {"num_labels": 10, "depths": [1, 1], "hidden_sizes": [16, 32], "embedding_size": 8, "image_size": 32},
    "hf:llama": {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1,
                 "intermediate_size": 128, "head_dim": 32},
}  # fmt: skip
_SMALL = {
    "hf:bert": {"vocab_size": 1000},
    "hf:gpt2": {"vocab_size": 1000},
    "hf:llama": {"vocab_size": 1000},
}
_TINY_SIZES = ({"batch": 1, "seq": 8, "past": 8}, {"batch": 2, "seq": 12, "past": 16})


@dataclass(frozen=True)
class Cell:
    """One model at one size in one precision."""

    model: str
    precision: str
    sizes: tuple[tuple[str, int], ...]
    spec: str
    settings: tuple[tuple[str, Any], ...]

    @property
    def key(self) -> str:
        return " ".join([self.model, self.precision, *(f"{n}={size}" for n, size in self.sizes)])

    def with_dtype(self) -> dict[str, Any]:
        dtype = "bfloat16" if self.precision == "bf16" else "float32"
        plain = {n: list(v) if isinstance(v, tuple) else v for n, v in self.settings}
        return {**plain, "dtype": dtype}


def cells(*, tiny: bool = False) -> list[Cell]:
    """All cells, a model's sizes and precisions beside each other; `tiny` ones take no time on a CPU."""
    made = []
    for model, (spec, settings, sizes) in MODELS.items():
        if tiny:
            settings = {**settings, **_TINY[spec], **_SMALL.get(spec, {})}
            sizes = tuple({n: s[n] for n in sizes[0]} for s in _TINY_SIZES)  # type: ignore[assignment]
        for precision in PRECISIONS:
            made += [
                Cell(model, precision, tuple(at.items()), spec, _hashable(settings)) for at in sizes
            ]
    return made


def _hashable(settings: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((n, tuple(v) if isinstance(v, list) else v) for n, v in settings.items())


class Step(nn.Module):
    """One step of decoding: a token per sequence, keys and values of those before it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, *past: torch.Tensor) -> torch.Tensor:
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        answer: torch.Tensor = self.model(
            input_ids=input_ids, past_key_values=cache, use_cache=True
        ).logits
        return answer


def _inputs(
    cell: Cell, module: nn.Module, given: Mapping[str, Any], dynamic: Mapping[str, Any], device: str
) -> Any:
    """Inputs at the cell's sizes: by keyword, or a token and a cache for a step of decoding."""
    sizes = dict(cell.sizes)
    config: Any = module.config
    if "past" in sizes:
        shape = (sizes["batch"], config.n_head, sizes["past"], config.n_embd // config.n_head)
        token = torch.zeros(sizes["batch"], 1, dtype=torch.long, device=device)
        return (token, *(_random(shape, module.dtype, device) for _ in range(2 * config.n_layer)))
    made = {}
    for name, tensor in given.items():
        axes = dynamic.get(name, {})
        shape = tuple(sizes.get(axes.get(i), size) for i, size in enumerate(tensor.shape))
        dtype = module.dtype if tensor.is_floating_point() else tensor.dtype
        made[name] = _random(shape, dtype, device)
    return made


def _random(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> torch.Tensor:
    if device == "meta":
        return torch.empty(shape, dtype=dtype, device=device)
    if dtype.is_floating_point:
        return torch.randn(shape, dtype=dtype, device=device)
    return torch.randint(0, 100, shape, dtype=dtype, device=device)


@functools.cache
def _graph(spec: str, settings: tuple[tuple[str, Any], ...]) -> eo.Graph:
    return eo.load(spec, settings={n: list(v) if isinstance(v, tuple) else v for n, v in settings})


class Built:
    """A cell's graph, and its module on a device when it is to run."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self._made = prepare(cell.spec, cell.with_dtype())

    @functools.cached_property
    def graph(self) -> eo.Graph:
        """What predictions are made from; timing a cell does without it."""
        if "past" not in dict(self.cell.sizes):
            return _graph(self.cell.spec, _hashable(self.cell.with_dtype()))
        made = self._made
        return eo.load(Step(made.module), _inputs(self.cell, made.module, {}, {}, "meta"))

    @property
    def sizes(self) -> dict[str, int]:
        """The graph's free dims at the cell's sizes."""
        fixed = "past" in dict(self.cell.sizes)
        return {} if fixed else {n: s for n, s in self.cell.sizes if n in self.graph.dims}

    def work(self) -> Hint:
        """What an inference launches, and how often."""
        from energy_opt.ir.workload import workload

        of = workload(self.graph.at(self.sizes))
        works = WorkTable([row for row in of.rows if row.kernels])(of.bind(self.sizes))
        return [(work, float(work.count)) for work in works]

    def runner(self, device: str) -> Callable[[], object]:
        """What makes one inference on the device."""
        module, _ = materialise(self._made.module, device, owned=True)
        module = module.eval()
        given = _inputs(self.cell, module, self._made.inputs, self._made.dynamic, device)
        if isinstance(given, tuple):
            step = Step(module)
            return lambda: step(*given)
        return lambda: module(**given)


def measured(cell: Cell, mode: str, on: Accelerator, backend: GpuBackend) -> Timing:
    """Seconds and joules of one inference, captured or op by op. Raises Unrunnable."""
    built = Built(cell)
    setting = Setting(math="tf32" if cell.precision == "tf32" else "")
    with torch.inference_mode(), applied(setting):
        run = built.runner(on.device)
        hint = built.work() if on.wants_hints else []
        held = Held(on.capture(run, hint) if mode == "graph" else on.loose(run, hint), 1)
        try:
            return backend.time(held, energy=True)
        finally:
            held.close()
            del run
            gc.collect()
            on.release()


def line_of(cell: Cell, mode: str, timing: Timing | Unrunnable) -> dict[str, Any]:
    """The line of a log that a measured cell is written as."""
    line: dict[str, Any] = {"cell": cell.key, "mode": mode}
    if isinstance(timing, Unrunnable):
        return {**line, "failed": str(timing)}
    return line | {k: v for k, v in asdict(timing).items() if v is not None and v != ()}


def predicted(cell: Cell, mode: str, device: Device) -> Any:
    """The estimate of one inference on the profile."""
    built = Built(cell)
    if cell.precision == "tf32":
        device = in_tf32(device)
    if mode == "graph":
        device = captured(device)
    return eo.analyze(built.graph, device=device, runtime="eager", dims=built.sizes)


def captured(device: Device) -> Device:
    """The device under a runtime that replays eager kernels as one graph: nothing is spent per launch."""
    run_s = device.host["graph"].run_s if "graph" in device.host else 8e-6
    host = {
        **device.model_dump()["host"],
        "eager": {"launch_s": 0.0, "view_s": 0.0, "run_s": run_s, "overlaps": False},
    }
    return Device.model_validate(device.model_dump(by_alias=True) | {"host": host})


def in_tf32(device: Device) -> Device:
    """The device when it may take tf32 for float32 products: what was fitted in tf32 stands in for float32."""
    fits = {(f.kind, f.op, f.regime): f for f in device.fits if f.dtype == "float32"}
    for fitted in (f for f in device.fits if f.dtype == "tf32"):
        key = (fitted.kind, fitted.op, fitted.regime)
        energies = [
            f.energy for k, f in fits.items() if k[0] == fitted.kind and f.energy is not None
        ]
        for other in [k for k in fits if k[0] == fitted.kind and not fitted.op]:
            del fits[
                other
            ]  # an operator's own float32 fit must not serve before the kind's in tf32
        # What was timed in tf32 and not metered draws what float32 does.
        energy = fitted.energy or next(iter(energies), None)
        told = {"dtype": "float32", "energy": None if energy is None else energy.model_dump()}
        fits[key] = Fitted.model_validate(fitted.model_dump() | told)
    kept = [f for f in device.fits if f.dtype not in ("float32", "tf32")]
    peaks = device.model_dump()["peaks"]
    return Device.model_validate(
        device.model_dump(by_alias=True)
        | {
            "fits": [f.model_dump() for f in (*kept, *fits.values())],
            "peaks": {**peaks, "float32": peaks.get("tf32", peaks["float32"])},
        }
    )
