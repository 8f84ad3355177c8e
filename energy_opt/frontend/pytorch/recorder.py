"""Running a module on the meta device and writing down every operator call, in the vocabulary of torch.export.

This file alone knows torch's private names: the dispatch mode at the PreDispatch key, the flags that say "exporting".
Where a release of torch changes them, `Unrecordable` is raised and torch.export is asked instead; a test compares the
two on every architecture we promise.

Repeated layers are run once and replayed, see `replay.py`.
"""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.schema_check_mode import SchemaCheckMode
from torch.nn.modules import module as hooks
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from energy_opt.frontend.pytorch.recording import Weight
from energy_opt.frontend.pytorch.replay import Group, Replay, Replayer, repeated
from energy_opt.frontend.pytorch.schema import Schema


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


@dataclass
class Run:
    """One run of a module: what it called, and the tensors that went in and out.

    `constants` are tensors that neither came in nor were made by an operator.
    """

    steps: list[Step | Replay]
    inputs: dict[int, tuple[tuple[int, ...], torch.dtype]]
    outputs: list[int]
    constants: dict[int, tuple[tuple[int, ...], torch.dtype]]
    count: int  # numbers from here on are free


class Recorder:
    """Records runs of one module, which is restored when the context is left, whatever happened.

    Inside the context its parameters and buffers are on the meta device, so that nothing is computed or copied.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.paths: dict[nn.Module, str] = {}
        self._shared: dict[nn.Module, list[str]] = {}
        for path, child in module.named_modules(remove_duplicate=False):
            if self.paths.setdefault(child, path) != path:
                self._shared.setdefault(child, [self.paths[child]]).append(path)
        self.modules = {
            path: type(child).__name__
            for path, child in module.named_modules(remove_duplicate=False)
        }
        self.weights: dict[int, Weight] = {}
        self.weight_types: dict[int, tuple[tuple[int, ...], torch.dtype]] = {}
        self._numbers: dict[int, int] = {}  # id of a weight -> its number
        self._kept: list[torch.Tensor] = []  # an id is only good while its tensor lives
        self._restore = contextlib.ExitStack()
        self._groups: dict[nn.Module, Group] = {}
        self._weights_of: dict[nn.Module, list[int]] = {}
        self._verified = False

    def __enter__(self) -> Recorder:
        try:
            self._to_meta()
            self._groups = repeated(self.paths)
        except BaseException:
            self._restore.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._restore.close()

    def weights_of(self, module: nn.Module) -> list[int]:
        """Numbers of the weights of a module, its children's included, in the order of its attributes."""
        found = self._weights_of.get(module)
        if found is None:
            found = self._weights_of[module] = [
                self._numbers[id(value)]
                for child in module.modules()
                for store in (child._parameters, child._buffers, child.__dict__)
                for value in store.values()
                if isinstance(value, torch.Tensor) and id(value) in self._numbers
            ]
        return found

    def run(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Run:
        """One run on these inputs, whose tensors are on the meta device.

        Raises:
            Unrecordable: a higher-order operator was called, or torch is not as this file knows it.
            Exception: whatever the module raises, which on the meta device includes reading a tensor's values.
        """
        mode = Mode(self.paths, self._shared, self._numbers)
        replayer = Replayer(mode, self._groups, self.weights_of, verify=not self._verified)
        leaves = pytree.tree_leaves((list(args), dict(kwargs)))
        given = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        inputs = {mode.take_in(tensor): (tuple(tensor.shape), tensor.dtype) for tensor in given}
        with _exporting(), mode.scopes(), replayer.patched(), torch.no_grad(), mode:
            result = self.module(*args, **kwargs)
        if replayer.different:
            # Layers that look alike and are not: from now on each of them is run.
            for group in replayer.different:
                self._groups = {m: g for m, g in self._groups.items() if g is not group}
            return self.run(args, kwargs)
        self._verified = True
        outputs = [
            mode.number(t) for t in pytree.tree_leaves(result) if isinstance(t, torch.Tensor)
        ]
        return Run(mode.steps, inputs, outputs, mode.constants, mode.count)

    def _to_meta(self) -> None:
        swapped: dict[int, torch.Tensor] = {}
        for child, path in self.paths.items():
            if child.training:
                child.training = False
                self._restore.callback(setattr, child, "training", True)
            for store in (child._parameters, child._buffers, child.__dict__):
                for name, value in list(store.items()):
                    if not isinstance(value, torch.Tensor):
                        continue
                    meta = swapped.get(id(value))
                    if meta is None:
                        meta = swapped[id(value)] = _meta(value)
                        full = f"{path}.{name}" if path else name
                        self._number(meta, Weight(full, store is child._parameters))
                    if meta is not value:
                        self._restore.callback(store.__setitem__, name, value)
                        store[name] = meta

    def _number(self, meta: torch.Tensor, weight: Weight) -> None:
        number = self._numbers[id(meta)] = len(self._kept)
        self._kept.append(meta)
        self.weights[number] = weight
        self.weight_types[number] = (tuple(meta.shape), meta.dtype)


def _meta(tensor: torch.Tensor) -> torch.Tensor:
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
        self._ids = dict(weights)
        self._kept: list[torch.Tensor] = []
        self._weights = len(weights)
        self._alive: list[torch.Tensor] = []
        self._muted = False
        self._attended: dict[
            int, bool
        ] = {}  # what attention gave -> whether its axes 1 and 2 changed places
        self._made: dict[int, int] = {}  # storage of what a factory made -> its number
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
        del self._kept[count - self._weights :]
        self.constants = {number: kind for number, kind in self.constants.items() if number < count}
        self._made = {storage: number for storage, number in self._made.items() if number < count}
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
        result = _attention(tensors, values) if schema.full_name == _ATTENTION else None
        if result is None:
            with torch._C._DisablePythonDispatcher():
                result = function(*args, **kwargs)
        made = [result] if isinstance(result, torch.Tensor) else _tensors(result)
        reuses = self._reused(schema, inputs, made, tensors)
        types = tuple([(tuple(t.shape), t.dtype) for t in made])
        outputs = tuple([self.take_in(t) for t in made])
        if schema.full_name == _ATTENTION and tensors[0] is not None and _by_position(tensors[0]):
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
            moved = self._moved[id(tensor)] = _meta(tensor)
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


_ATTENTION = "aten.scaled_dot_product_attention.default"


def _attention(
    tensors: Sequence[torch.Tensor | None], values: Sequence[Any]
) -> torch.Tensor | None:
    """What the fused kernels return; None where torch has to check the operands.

    On the meta device torch takes its operators one by one, which is slow.
    """
    q, k, v, mask = (*tensors, None)[:4]
    if q is None or k is None or v is None or q.dim() != 4 or not q.dtype == k.dtype == v.dtype:
        return None
    grouped = bool(values[-1])  # enable_gqa
    heads = q.shape[1] % k.shape[1] == 0 if grouped else q.shape[1] == k.shape[1]
    if (
        not heads
        or q.shape[0] != k.shape[0]
        or q.shape[3] != k.shape[3]
        or k.shape[:3] != v.shape[:3]
    ):
        return None
    if mask is not None and (
        mask.dim() != 4
        or mask.shape[3] not in (1, k.shape[2])
        or mask.shape[2] not in (1, q.shape[2])
    ):
        return None
    return torch.empty((*q.shape[:3], v.shape[3]), dtype=q.dtype, device=q.device)


def _by_position(q: torch.Tensor) -> bool:
    """Whether queries[b, heads, s, d] lie in memory as [b, s, heads, d], as models make them."""
    return bool(q.dim() == 4 and q.stride(1) < q.stride(2))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _tensors(result: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]


@contextlib.contextmanager
def _exporting() -> Iterator[None]:
    """What torch.export sets: models ask for it and leave out what cannot be traced."""
    flags = {name: getattr(torch.compiler, name) for name in _FLAGS}
    try:
        for name in flags:
            setattr(torch.compiler, name, True)
        with torch._C._EnablePreDispatch(), enable_python_dispatcher():
            yield
    finally:
        for name, value in flags.items():
            setattr(torch.compiler, name, value)


_FLAGS = ("_is_exporting_flag", "_is_compiling_flag")
