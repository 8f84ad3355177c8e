"""The dispatch mode that writes down every operator call of a run on the meta device, in torch.export's vocabulary.

Of the recorder this file alone knows torch's private names: the mode at the PreDispatch key, the flags that say
"exporting". Where a release of torch changes them, `Unrecordable` is raised and torch.export is asked instead; a test
compares the two on every architecture we promise.
"""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.schema_check_mode import SchemaCheckMode
from torch.nn.modules import module as hooks
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from energy_opt.frontend.pytorch import attention
from energy_opt.frontend.pytorch.schema import Schema

if TYPE_CHECKING:
    from energy_opt.frontend.pytorch.replay import Replay


class Unrecordable(Exception):
    """The module cannot be recorded; the message says why."""


class Step(NamedTuple):
    """One operator call of one run. Tensors are numbers; `values` are the plain arguments in the schema's order."""

    schema: Schema
    inputs: tuple[int | None, ...]
    values: tuple[Any, ...]
    outputs: tuple[int, ...]
    types: tuple[tuple[tuple[int, ...], torch.dtype], ...]
    path: str
    reuses: int | None


def on_meta(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor without its data. Raises Unrecordable for one that is more than its data."""
    if tensor.is_meta:
        return tensor
    if type(tensor) not in (torch.Tensor, nn.Parameter, nn.Buffer):
        raise Unrecordable(f"a weight is a {type(tensor).__name__}, not a plain tensor")
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


class Mode(SchemaCheckMode):  # type: ignore[misc]
    """The dispatch mode that writes calls down. A schema-check mode by class: torch allows few at this key."""

    def __init__(
        self,
        paths: Mapping[nn.Module, str],
        shared: Mapping[nn.Module, list[str]],
        weights: Mapping[int, int],
    ) -> None:
        TorchDispatchMode.__init__(self, _dispatch_key=torch._C.DispatchKey.PreDispatch)
        self.paths = paths
        self._shared = shared
        self.root = next(iter(paths))
        self.steps: list[Step | Replay] = []
        self.constants: dict[int, tuple[tuple[int, ...], torch.dtype]] = {}
        self.path = ""
        self._own = weights
        self._ids = dict(weights)
        self._kept: list[torch.Tensor] = []
        self._weights = len(weights)
        self._alive: list[torch.Tensor] = []
        self._muted = False
        # What attention gave -> whether its axes 1 and 2 changed places.
        self._attended: dict[int, bool] = {}
        self._made: dict[int, int] = {}  # storage of what a factory made -> its number
        self.wrote_weight = False
        self._moved: dict[int, torch.Tensor] = {}

    @property
    def count(self) -> int:
        """How many tensors there are by now; the number of the next."""
        return self._weights + len(self._kept)

    def take_in(self, tensor: torch.Tensor) -> int:
        """A new number for a tensor: one that came in, that an operator made, or that it changed in place."""
        number = self._ids[id(tensor)] = self.count
        self._kept.append(tensor)
        return number

    def number(self, tensor: torch.Tensor) -> int:
        """The number of a tensor; one that nobody made is a constant."""
        number = self._ids.get(id(tensor))
        if number is None:
            # torch wraps what a factory made once more, so that it comes back as another object.
            number = self._made.get(tensor.untyped_storage()._cdata)
            if number is not None:
                self._ids[id(tensor)] = number
                self._alive.append(tensor)
        if number is None:
            number = self.take_in(tensor)
            self.constants[number] = (tuple(tensor.shape), tensor.dtype)
        return number

    def holders(self, count: int) -> dict[int, int]:
        """For the tensors numbered from `count` on, by `id`: how many Python objects but this one hold them."""
        own = Counter(map(id, (*self._kept, *self._alive)))
        alone = object()
        none = sys.getrefcount(alone)
        held: dict[int, int] = {}
        for place in range(count - self._weights, len(self._kept)):
            tensor = self._kept[place]
            if id(tensor) in self._own:
                continue  # a weight that an operator gave back: its module holds it
            # torch counts itself once where a view or the like holds on to a tensor.
            inside = own[id(tensor)] + (tensor._use_count() > 1)
            held[id(tensor)] = sys.getrefcount(tensor) - inside - none
        return held

    def likeness(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of the same kind, of whose making nothing is written down."""
        self._muted = True
        try:
            return torch.empty_strided(
                tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
            )
        finally:
            self._muted = False

    def rewind(
        self, step: int, count: int, tensors: Sequence[torch.Tensor], numbers: Sequence[int]
    ) -> None:
        """Forget all steps from `step` on and all tensors from `count` on; these tensors get back their numbers."""
        del self.steps[step:]
        for tensor in self._kept[count - self._weights :]:
            self._ids.pop(id(tensor), None)
            if id(tensor) in self._own:  # an operator gave it back
                self._ids[id(tensor)] = self._own[id(tensor)]
        del self._kept[count - self._weights :]
        self.constants = {number: kind for number, kind in self.constants.items() if number < count}
        self._made = {storage: number for storage, number in self._made.items() if number < count}
        self._attended = {n: turned for n, turned in self._attended.items() if n < count}
        self._ids.update((id(t), number) for t, number in zip(tensors, numbers, strict=True))

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run the operator and write it down."""
        kwargs = kwargs or {}
        schema = _SCHEMAS.get(function)
        if schema is None:
            if not hasattr(function, "_schema"):
                raise Unrecordable(f"the higher-order operator {function} was called")
            schema = _SCHEMAS[function] = Schema(function)
        if schema.skipped or self._muted:
            return function(*args, **kwargs)
        tensors, values, _ = schema.bind(args, kwargs, _is_tensor)
        metas = [t.is_meta for t in tensors if t is not None]
        if any(metas) and not all(metas):
            args, kwargs = pytree.tree_map_only(torch.Tensor, self._to_meta, (args, kwargs))
            tensors, values, _ = schema.bind(args, kwargs, _is_tensor)
        inputs = tuple([None if t is None else self.number(t) for t in tensors])
        result = attention.fused(tensors, values) if schema.full_name == attention.NAME else None
        if result is None:
            with torch._C._DisablePythonDispatcher():
                result = function(*args, **kwargs)
        made = [result] if isinstance(result, torch.Tensor) else _tensors(result)
        reuses = self._reused(schema, inputs, made, tensors)
        types = tuple([(tuple(t.shape), t.dtype) for t in made])
        if schema.writes and any(id(tensor) in self._own for tensor in tensors):
            self.wrote_weight = True  # or only read one: that is as rare
        outputs = tuple([self.take_in(t) for t in made])
        if (
            schema.full_name == attention.NAME
            and tensors[0] is not None
            and attention.by_position(tensors[0])
        ):
            self._attended[outputs[0]] = False
        if schema.factory:
            self._made.update(
                (t.untyped_storage()._cdata, n) for t, n in zip(made, outputs, strict=True)
            )
        self.steps.append(Step(schema, inputs, values, outputs, types, self.path, reuses))
        return result

    def _reused(
        self,
        schema: Schema,
        inputs: Sequence[int | None],
        made: Sequence[torch.Tensor],
        tensors: Sequence[torch.Tensor | None],
    ) -> int | None:
        """Index of the operand in whose memory the first result lives, if there is one."""
        if not made or not (schema.aliases or schema.writes):
            return None
        turned = self._attended.get(inputs[0]) if inputs and inputs[0] is not None else None
        if turned is not None and tensors[0] is not None:
            # Attention's kernels lay the result out as the queries are, which here is [b, s, heads, d]; on the meta
            # device it is [b, heads, s, d], so that what is a view would look like a copy.
            if turned and schema.name in ("contiguous", "reshape", "view", "flatten"):
                return 0
            if made[0].shape == tensors[0].shape or schema.name == "transpose":
                self._attended[self.count] = turned or schema.name == "transpose"
        storage = made[0].untyped_storage()._cdata
        for index, tensor in enumerate(tensors):
            if tensor is not None and tensor.untyped_storage()._cdata == storage:
                return index
        return None

    def _to_meta(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor itself, or for one that was made on another device its likeness under the same number."""
        if tensor.is_meta or tensor.dim() == 0:
            return tensor
        moved = self._moved.get(id(tensor))
        if moved is None:
            moved = self._moved[id(tensor)] = on_meta(tensor)
            self._ids[id(moved)] = self.number(tensor)
        return moved

    @contextlib.contextmanager
    def scopes(self) -> Iterator[None]:
        """Keep `path` at the module that is running. Modules made during the run belong to their caller."""
        stack: list[str] = []

        def enter(module: nn.Module, _: object) -> None:
            stack.append(self.path)
            path = self.paths.get(module, self.path)
            if module in self._shared:  # it works for the one that calls it
                inside = (p for p in self._shared[module] if p.startswith(f"{self.path}."))
                path = next(inside, path)
            self.path = path

        def leave(*_: object) -> None:
            self.path = stack.pop()

        with contextlib.ExitStack() as handles:
            handles.callback(hooks.register_module_forward_pre_hook(enter).remove)
            handles.callback(hooks.register_module_forward_hook(leave, always_call=True).remove)
            yield


_SCHEMAS: dict[Any, Schema] = {}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _tensors(result: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """What torch.export sets: models ask for it and leave out what cannot be traced."""
    flags = {name: getattr(torch.compiler, name) for name in _FLAGS}
    try:
        for name in flags:
            setattr(torch.compiler, name, True)
        with _uncompiled(), torch._C._EnablePreDispatch(), enable_python_dispatcher():
            yield
    finally:
        for name, value in flags.items():
            setattr(torch.compiler, name, value)


def _uncompiled() -> Any:
    """A context in which what was compiled runs as it was written."""
    # What compiles takes seconds to import, and where nobody did nothing is compiled.
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):
        return contextlib.nullcontext()
    return torch.compiler.set_stance("force_eager")


_FLAGS = ("_is_exporting_flag", "_is_compiling_flag")
