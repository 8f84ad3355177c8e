"""FLOPs of a module as other counters see them: torch's FlopCounterMode and fvcore, operator by operator.

Both run on a stand-in: the same module whose weights are on the meta device, or on the CPU with one element that is
repeated, so that neither the caller's module nor much memory is touched.
"""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import contextlib
import copy
import logging
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from energy_opt.errors import ModelError, one_line

_FVCORE_MATRIX = frozenset("addmm bmm conv einsum linear matmul mm".split())
"""Operators that fvcore counts in multiply-adds; what else it counts are FLOPs of norms, pooling and resizing."""


@dataclass(frozen=True)
class Count:
    """FLOPs of matrix arithmetic by operator, a multiply-add being 2, as one counter sees them.

    `printed` is the total that the counter itself gives, in its own `unit` (FLOPs or MACs), `other` what that total
    holds besides matrix arithmetic, `unsupported` the calls of operators that it says it does not know. `failed` is why
    it could not count, "" where it did.
    """

    name: str
    label: str
    unit: str
    operators: dict[str, float] = field(default_factory=dict)
    other: dict[str, float] = field(default_factory=dict)
    unsupported: dict[str, int] = field(default_factory=dict)
    printed: float = 0.0
    failed: str = ""


def operator(name: str) -> str:
    """One name for what every counter calls a little differently: `aten::conv2d` and `_convolution` are `conv`."""
    plain = name.rpartition("::")[2].strip("_")
    if re.match(r"conv(\d|olution|_transpose|$)", plain):
        return "conv"
    return {"rmatmul": "matmul"}.get(plain, plain)


def flop_counter(
    module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], *, device: str, math: bool
) -> Count:
    """What FlopCounterMode counts on that device; `math` keeps attention from choosing a fused kernel."""
    where = "on fake tensors" if device == "meta" else "on CPU tensors"
    count = Count(
        "flop_counter_math" if math else "flop_counter",
        f"FlopCounterMode {where}" + (", attention as plain products" if math else ""),
        "FLOPs",
    )
    counter = FlopCounterMode(display=False)

    def run() -> Count:
        ready = stand_in(module, device)
        given = place(args, device), place(kwargs, device)
        with contextlib.ExitStack() as stack:
            if device == "meta":
                given = stack.enter_context(_fake(given))
            stack.enter_context(torch.no_grad())
            stack.enter_context(_slow_path())
            if math:
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            stack.enter_context(counter)
            callers = stack.enter_context(_Callers(counter))
            ready(*given[0], **given[1])
        total = float(counter.get_total_flops())
        found = callers.found
        if rest := total - sum(found.values()):
            found["called from C++"] += rest
        return Count(count.name, count.label, "FLOPs", dict(found), printed=total)

    return _guarded(run, count)


def fvcore(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Count:
    """What fvcore counts on CPU tensors: it traces with torch.jit, which the meta device does not survive."""
    count = Count("fvcore", "fvcore on CPU tensors", "MACs")

    def run() -> Count:
        ready = _Leaves(stand_in(module, "cpu"), place(args, "cpu"), place(kwargs, "cpu"))
        with warnings.catch_warnings(), torch.no_grad(), _slow_path():
            # torch.jit is deprecated, and traces warn of what they fix
            warnings.simplefilter("ignore")
            from fvcore.nn import FlopCountAnalysis

            analysis = FlopCountAnalysis(ready, tuple(tensors((ready.args, ready.kwargs))))
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            analysis.tracer_warnings("none")
            by_operator, unsupported = analysis.by_operator(), analysis.unsupported_ops()
        matrix: Counter[str] = Counter()
        other: dict[str, float] = {}
        for name, flops in by_operator.items():
            if name in _FVCORE_MATRIX:
                matrix[operator(name)] += 2 * flops
            elif flops:
                other[name] = float(flops)
        calls: Counter[str] = Counter()
        for name, times in unsupported.items():
            calls[operator(name)] += times
        return Count(
            count.name, count.label, "MACs", {n: float(f) for n, f in matrix.items()}, other,
            dict(calls), float(sum(by_operator.values())),
        )  # fmt: skip

    return _guarded(run, count)


def stand_in(module: nn.Module, device: str) -> nn.Module:
    """The module in evaluation mode with weights that hold nothing, on `meta` or `cpu`; the original is not changed.

    Raises:
        ModelError: the module cannot be copied.
    """
    weights = [*module.parameters(), *module.buffers()]
    weights += [v for m in module.modules() for v in vars(m).values() if torch.is_tensor(v)]
    zeros: dict[Any, torch.Tensor] = {}
    # What deepcopy finds here by the id of the original is taken for its copy.
    known: dict[int, Any] = {id(tensor): _empty(tensor, device, zeros) for tensor in weights}
    try:
        return copy.deepcopy(module, known).eval()
    except Exception as error:  # whatever a module's attributes raise when copied
        raise ModelError(
            f"{type(module).__name__} cannot be copied, so other counters cannot run it: "
            f"{type(error).__name__}: {error}"
        ) from error


def place(values: Any, device: str) -> Any:
    """The same structure with its tensors on the meta device, or on the CPU, zeros where they hold nothing."""
    return rebuilt(values, lambda tensor: _input(tensor, device))


def rebuilt(values: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """The same tuples, lists and dicts with every tensor changed."""
    if isinstance(values, torch.Tensor):
        return change(values)
    if isinstance(values, Mapping):
        changed = {name: rebuilt(value, change) for name, value in values.items()}
        return type(values)(**changed) if hasattr(values, "to_tuple") else changed
    if isinstance(values, tuple) and hasattr(values, "_fields"):
        return type(values)(*(rebuilt(value, change) for value in values))
    if isinstance(values, (tuple, list)):
        return type(values)(rebuilt(value, change) for value in values)
    return values


def tensors(values: Any) -> Iterator[torch.Tensor]:
    """Every tensor in tuples, lists and dicts, in order."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from tensors(value)
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from tensors(value)


class _Callers(TorchFunctionMode):  # type: ignore[misc]  # torch is not typed here
    """Attributes what a FlopCounterMode counts to the function that the module called, such as `linear`."""

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()
        self.counter = counter
        self.found: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        counted = self.counter.flop_counts  # by module, in which "Global" is everything
        before = dict(counted.get("Global", {}))
        result = func(*args, **(kwargs or {}))
        name = operator(getattr(func, "__name__", str(func)))
        for kernel, flops in counted.get("Global", {}).items():
            if more := flops - before.get(kernel, 0):
                self.found[_inside(name, str(kernel))] += more
        return result


def _inside(function: str, kernel: str) -> str:
    # The one function of torch with several products inside that are operators of their own to everybody else.
    if function != "multi_head_attention_forward":
        return function
    return "linear" if kernel in ("aten.addmm", "aten.mm") else "scaled_dot_product_attention"


class _Leaves(nn.Module):  # type: ignore[misc]  # torch is not typed here
    """A module that takes and returns nothing but tensors, as torch.jit wants it."""

    def __init__(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        super().__init__()
        self.module, self.args, self.kwargs = module, args, kwargs

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        left = iter(given)
        args, kwargs = rebuilt((self.args, self.kwargs), lambda _: next(left))
        return tuple(tensors(self.module(*args, **kwargs)))


@contextlib.contextmanager
def _fake(values: Any) -> Iterator[Any]:
    """Meta tensors as fake tensors, of which transformers knows that they hold no values to look at."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield rebuilt(values, mode.from_tensor)


@contextlib.contextmanager
def _slow_path() -> Iterator[None]:
    """Without the fused kernel of nn.TransformerEncoderLayer: whether it is taken depends on who looks."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _guarded(run: Callable[[], Count], count: Count) -> Count:
    before = logging.root.manager.disable
    logging.disable(
        logging.CRITICAL
    )  # torch writes a traceback of what it raises; we say it in a line
    try:
        return run()
    except Exception as error:  # noqa: BLE001 - whatever another tool does to a module is a finding, not our failure
        said = one_line(error, 200) or "no message"
        return Count(count.name, count.label, count.unit, failed=f"{type(error).__name__}: {said}")
    finally:
        logging.disable(before)


def _empty(tensor: torch.Tensor, device: str, zeros: dict[Any, torch.Tensor]) -> torch.Tensor:
    if device == "meta":
        made = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    elif isinstance(tensor, nn.Parameter) or tensor.is_meta:
        # One element for all, but grouped products look at the strides of each expert's matrix.
        dense = tensor.shape[-2:] if tensor.dim() == 3 else ()
        one = zeros.setdefault((dense, tensor.dtype), torch.zeros(dense, dtype=tensor.dtype))
        made = one.expand(tensor.shape)
    else:
        made = tensor.detach().cpu()  # a small table, such as positions, whose values may matter
    # Which kernel a product is made with depends on it, even where no gradient is taken.
    return nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made


def _input(tensor: torch.Tensor, device: str) -> torch.Tensor:
    if device == "meta":
        return tensor.detach().to("meta")
    return (
        torch.zeros(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else tensor.detach().cpu()
    )
