"""A PyTorch module that runs eagerly on a target, as it was given or with random weights."""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from energy_opt.errors import ModelError, one_line
from energy_opt.measure.runners.target import Target

_STD = 0.02
"""Standard deviation of random weights: what transformers draw theirs with; products of layers stay finite."""


class TorchRunner:
    """A module and its inputs on a target; see `Runner`. `args` and `kwargs` are there already."""

    name = "eager"

    def __init__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], target: Target
    ) -> None:
        self.module, self.args, self.kwargs = module, args, dict(kwargs)
        self.target, self.queued = target.name, target.kind == "gpu"
        self.notes: list[str] = []
        self._training = [m for m in module.modules() if m.training]
        self._device: int | None = None
        if self.queued:
            # Events and launches of the user's own go to the current device.
            self._device = torch.cuda.current_device()
            torch.cuda.set_device(target.index)
        module.eval()

    def run(self) -> Any:
        """One inference; on a GPU it is only queued. Raises ModelError where the module fails."""
        with torch.inference_mode(), failing(type(self.module).__name__):
            return self.module(*self.args, **self.kwargs)

    def wait(self) -> None:
        """Return when the GPU is done."""
        if self.queued:
            torch.cuda.synchronize(self.target)

    def facts(self) -> dict[str, Any]:
        """Versions, threads and the types of the weights."""
        found: dict[str, Any] = {"torch": torch.__version__}
        if self.queued:
            found["cuda"] = torch.version.cuda
            found["float32_matmul_precision"] = torch.get_float32_matmul_precision()
        else:
            found["threads"] = torch.get_num_threads()
        dtypes = {str(p.dtype).removeprefix("torch.") for p in self.module.parameters()}
        return {**found, "weights": sorted(dtypes)}

    def close(self) -> None:
        """Leave the module in the mode in which it was, and free what it made."""
        for module in self._training:
            module.training = True
        self.args, self.kwargs = (), {}
        if self._device is not None:
            torch.cuda.empty_cache()
            torch.cuda.set_device(self._device)


def materialise(module: nn.Module, target: str, *, owned: bool) -> tuple[nn.Module, list[str]]:
    """The module on the target with weights that are there, and what to say of them.

    A module on the meta device gets random weights. One that is elsewhere is copied, so that the user's stays where it
    is, unless it is `owned`, that is made by us.

    Raises:
        ModelError: it does not fit, or it cannot be built.
    """
    tensors = [*module.parameters(), *module.buffers()]
    with failing(f"making {type(module).__name__} on {target}"):
        if any(tensor.is_meta for tensor in tensors):
            return _random(module, target), ["the weights are random"]
        if all(tensor.device == torch.device(target) for tensor in tensors):
            return module, []
        if not owned:
            module = copy.deepcopy(module)
        return module.to(target), []


def _random(module: nn.Module, target: str) -> nn.Module:
    device = torch.device(target)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        if hasattr(type(module), "_from_config"):
            # A transformers model makes its tables (rotary frequencies, position ids) where it is built.
            with device:
                made: nn.Module = type(module)._from_config(module.config)
            return made.eval()
        return _initialised(module, device)


def _initialised(module: nn.Module, device: torch.device) -> nn.Module:
    """The module with memory of its own: drawn by each layer's `reset_parameters`, else by N(0, 0.02) and zeros."""
    missing = {name for name, tensor in _tensors(module) if tensor.is_meta}
    made = copy.deepcopy(module).to_empty(device=device)
    with torch.no_grad():
        for name, tensor in _tensors(made):
            if name not in missing:
                continue
            if tensor.is_floating_point() and tensor.dim() > 1:
                tensor.normal_(0.0, _STD)
            else:
                # A variance, a scale and a count of 1 keep activations finite; a bias of 0 does too.
                one = name.rpartition(".")[2] in ("weight", "running_var", "scale", "gamma")
                tensor.fill_(1 if one else 0)
        for layer in made.modules():
            reset = getattr(layer, "reset_parameters", None)
            own = [*layer._parameters.values(), *layer._buffers.values()]
            if callable(reset) and any(tensor is not None for tensor in own):
                reset()
    return made


def _tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


@contextlib.contextmanager
def failing(doing: str) -> Iterator[None]:
    """Inside, what PyTorch or the module raises becomes a ModelError that says it in one line."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(f"{doing}: does not fit in the GPU's memory: {one_line(error)}") from error
    except MemoryError as error:
        raise ModelError(f"{doing}: does not fit in this machine's memory") from error
    except ModelError:
        raise
    except Exception as error:
        # A module is anybody's code: whatever it raises is the answer.
        short = "not enough memory" in str(error) or "DefaultCPUAllocator" in str(error)
        why = "does not fit in this machine's memory" if short else f"{type(error).__name__}"
        raise ModelError(
            f"{doing}: {why}: {one_line(error)}; give inputs that it runs on with --inputs FILE.npz, "
            "or (module, inputs) in Python"
        ) from error
