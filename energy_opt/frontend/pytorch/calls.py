"""What a module is called with in earnest: the shapes of its inputs, while the call goes on untouched."""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from energy_opt.errors import ModelError

_PLAIN = (type(None), bool, int, float, complex, str, torch.dtype, torch.device)

Told = Callable[[nn.Module, "Shapes"], None]


@dataclass(frozen=True, slots=True)
class _Tensor:
    shape: tuple[int, ...]
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')}{list(self.shape)}"


@dataclass(frozen=True, slots=True)
class _Other:
    """An object that may change after the call, such as a cache: its kind is known, not what it held."""

    kind: str

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True, slots=True)
class _Group:
    kind: type
    names: tuple[Any, ...]
    items: tuple[Any, ...]

    def __str__(self) -> str:
        inside = ", ".join(str(item) for item in self.items)
        return f"({inside})"


@dataclass(frozen=True, slots=True)
class Shapes:
    """The inputs of one call: shapes and types of tensors, plain values as they are. Equal calls have equal shapes."""

    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]

    def inputs(self, module: nn.Module) -> Any:
        """Inputs of these shapes on the meta device, by name where the module's signature tells the names.

        Raises:
            ModelError: the module was called with an object whose content is not known any more.
        """
        args = tuple(_made(arg, f"argument {i}") for i, arg in enumerate(self.args))
        kwargs = {name: _made(value, name) for name, value in self.kwargs}
        if not kwargs:
            return args
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = bound.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                named.update(value)
            elif kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
                raise ModelError(
                    f"{type(module).__name__} is called with arguments by position that have no name and others by "
                    "name; call it with one kind"
                )
            else:
                named[name] = value
        return named

    def __str__(self) -> str:
        parts = [str(arg) for arg in self.args]
        parts += [f"{name}={value}" for name, value in self.kwargs]
        return ", ".join(parts)


def shapes_of(args: Any, kwargs: Mapping[str, Any]) -> Shapes:
    """The shapes of a call's inputs; nothing is kept of the tensors themselves."""
    named = tuple((name, _seen(value)) for name, value in kwargs.items())
    return Shapes(tuple(_seen(arg) for arg in args), named)


def listen(module: nn.Module, tell: Told) -> Callable[[], None]:
    """Tell of every call of the module from now on; returns what ends it."""

    def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
        _tell(tell, module, args, kwargs)

    # First in line, so that it sees what the caller gave and not what other hooks made of it.
    handle = module.register_forward_pre_hook(hook, with_kwargs=True, prepend=True)
    remove: Callable[[], None] = handle.remove
    return remove


def listen_to_class(kind: type, tell: Told) -> Callable[[], None]:
    """Tell of every call of any instance of a module class; returns what ends it.

    The class's own `__call__` is wrapped rather than every instance hooked: instances stay as they were made, so that
    they can be copied and saved.
    """
    own = vars(kind).get("__call__")
    call = kind.__call__

    @functools.wraps(call)
    def told(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        _tell(tell, self, args, kwargs)
        return call(self, *args, **kwargs)

    def end() -> None:
        if own is None:
            del kind.__call__
        else:
            setattr(kind, "__call__", own)  # noqa: B010 - mypy lets nobody assign a method

    setattr(kind, "__call__", told)  # noqa: B010
    return end


def modules_in(*values: Any) -> Iterator[nn.Module]:
    """The modules among a function's arguments."""
    for value in values:
        if isinstance(value, nn.Module):
            yield value


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside torch.compile's and data parallelism's wrappers, which are called with the same inputs."""
    while True:
        if hasattr(module, "_orig_mod"):
            module = module._orig_mod
        elif type(module).__name__ in ("DataParallel", "DistributedDataParallel"):
            module = module.module
        else:
            return module


def is_module(value: Any) -> bool:
    """Whether this is a module, or a class of them."""
    return isinstance(value, nn.Module) or (
        isinstance(value, type) and issubclass(value, nn.Module)
    )


def _tell(tell: Told, module: nn.Module, args: Any, kwargs: Any) -> None:
    if torch.compiler.is_compiling():
        return  # a compiler that reads this line would put it into the program
    try:
        shapes = shapes_of(args, kwargs)
    except Exception:  # noqa: BLE001 - a training run must not fail because of who watches; it is said as unknown
        shapes = Shapes((_Other("inputs of unknown kind"),), ())
    tell(module, shapes)


def _seen(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return _Tensor(tuple(int(size) for size in value.shape), value.dtype)
    if isinstance(value, _PLAIN):
        return value
    if type(value) in (tuple, list):
        return _Group(type(value), (), tuple(_seen(item) for item in value))
    if type(value) is dict:
        return _Group(dict, tuple(value), tuple(_seen(item) for item in value.values()))
    return _Other(type(value).__name__)


def _made(value: Any, where: str) -> Any:
    if isinstance(value, _Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    if isinstance(value, _Other):
        raise ModelError(
            f"{where}: the module was called with a {value.kind}, whose content is not kept, so this call cannot be "
            "priced; call it with tensors, or price it with eo.analyze(module, inputs)"
        )
    if isinstance(value, _Group):
        items = [_made(item, where) for item in value.items]
        return (
            dict(zip(value.names, items, strict=True)) if value.kind is dict else value.kind(items)
        )
    return value
