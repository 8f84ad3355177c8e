"""Graphs of torch.fx, as torch.export makes them, read node for node into a Recording."""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import contextlib
import itertools
import operator
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree

from energy_opt.frontend.pytorch.export_sizes import Sizes
from energy_opt.frontend.pytorch.recording import Call, Recording, Target, Type, Weight
from energy_opt.frontend.pytorch.schema import SKIPPED, Schema, dtype_name

_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)
_ROOT = re.compile(r"^(L\['self'\]|L__self__|self)\.?")
_REPEATED_CALL = re.compile(r"@\d+")


class Ref(NamedTuple):
    """A tensor of the recording, with what torch knows of it: a fake tensor of its shape, strides and storage."""

    number: int
    fake: Any


def is_ref(value: Any) -> bool:
    """Whether the value is a tensor of the recording."""
    return isinstance(value, Ref)


class Reader:
    """Reads one graph, and the graphs in it with readers of their own that share its table of numbers and weights."""

    def __init__(
        self, root: Recording, sizes: Sizes, numbers: Iterator[int] | None = None, path: str = ""
    ) -> None:
        self.recording = root
        self.root = root
        self.sizes = sizes
        self.path = path
        self._numbers = numbers if numbers is not None else itertools.count()
        self._values: dict[Node, Any] = {}
        self._schemas: dict[Any, Schema] = {}
        self._targets: dict[Any, Target] = {}

    def body(self, path: str) -> Reader:
        """A reader for a body of control flow: its tensors are numbered with those outside, which it can use."""
        inner = Reader(self.root, self.sizes, self._numbers, path)
        inner.recording = Recording()
        inner._schemas, inner._targets = self._schemas, self._targets
        return inner

    # -- tensors -----------------------------------------------------------------------------------------------------

    def tensor(self, fake: Any) -> Ref:
        """A new tensor."""
        fake = _unwrapped(fake)
        number = next(self._numbers)
        self.recording.types[number] = self._type(fake)
        return Ref(number, fake)

    def tensors(self, fakes: Any) -> Any:
        """New tensors in the structure of torch's fake ones; sizes as dims, None for all else."""
        return pytree.tree_map(self._made, fakes)

    def weight(self, name: str, fake: Any, *, parameter: bool) -> Ref:
        """A new tensor that belongs to the module."""
        made = self.tensor(fake)
        self.root.types[made.number] = self._type(made.fake)
        self.root.weights[made.number] = Weight(name, parameter)
        return made

    def _made(self, fake: Any) -> Any:
        if isinstance(fake, torch.Tensor):
            return self.tensor(fake)
        if isinstance(fake, (*_SYMBOLIC, int)) and not isinstance(fake, bool):
            return self.sizes.of(fake) if isinstance(fake, (torch.SymInt, int)) else None
        return None

    def _type(self, fake: Any) -> Type:
        return tuple([self.sizes.of(size) for size in fake.shape]), dtype_name(fake.dtype)

    # -- nodes -------------------------------------------------------------------------------------------------------

    def read(self, graph: GraphModule, given: Sequence[Any]) -> list[Any]:
        """Read every node, `given` in the place of the placeholders; the graph's results, flattened."""
        source = iter(given)
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                self._values[node] = next(source, None)
            elif node.op == "get_attr":
                self._values[node] = self._attribute(graph, node)
            elif node.op == "output":
                return list(pytree.tree_leaves(self.value(node.args[0]), is_leaf=is_ref))
            else:
                self._values[node] = self._called(node)
        return []

    def value(self, argument: Any) -> Any:
        """What an argument of a node stands for: nodes by their values, in whatever they are nested."""
        if isinstance(argument, Node):
            return self._values[argument]
        if isinstance(argument, (list, tuple)):
            return [self.value(item) for item in argument]
        if isinstance(argument, dict):
            return {name: self.value(item) for name, item in argument.items()}
        if isinstance(argument, _SYMBOLIC):
            return self.sizes.of(argument)
        return argument

    def _attribute(self, graph: GraphModule, node: Node) -> Any:
        found = operator.attrgetter(node.target)(graph)
        if not isinstance(found, torch.Tensor):
            return found
        fake = node.meta.get("val")
        parameter = isinstance(found, torch.nn.Parameter)
        return self.weight(str(node.target), found if fake is None else fake, parameter=parameter)

    def _called(self, node: Node) -> Any:
        from energy_opt.frontend.pytorch.export_control import read_control

        function = node.target
        if function is operator.getitem and not isinstance(node.args[0], (int, str)):
            items, index = self.value(node.args[0]), node.args[1]
            return items[index] if items is not None else None
        if isinstance(function, torch._ops.HigherOrderOperator):
            return read_control(self, node)
        made = node.meta.get("val")
        if isinstance(function, torch._ops.OpOverload):
            args, kwargs = self.value(node.args), self.value(dict(node.kwargs))
            if function._schema.name in SKIPPED:
                return self.tensors(made) if isinstance(made, torch.SymInt) else None
            return self.call(node, function, args, kwargs, made)
        if isinstance(made, torch.Tensor):
            # What torch does to tensors around a vmap: the same memory under another view.
            operands = pytree.tree_leaves(self.value(node.args), is_leaf=is_ref)
            return next((operand for operand in operands if is_ref(operand)), None)
        return self._made(made)

    def call(
        self,
        node: Node,
        function: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        made: Any,
    ) -> Any:
        """Write down the call of an operator by a node; its results in the structure of `made`."""
        schema = self._schemas.get(function)
        if schema is None:
            schema = self._schemas[function] = Schema(function)
        tensors, values, written = schema.bind(args, kwargs, is_ref)
        attributes = schema.attributes(values)
        self.sizes.where = schema.name
        results = self.tensors(made)
        refs = [ref for ref in pytree.tree_leaves(results, is_leaf=is_ref) if is_ref(ref)]
        reuses = None
        if refs and schema.writes:
            reuses = written
        elif refs and schema.returns_operand(attributes):
            reuses = 0
        elif refs and schema.aliases:
            reuses = _shared(refs[0], tensors)
            if reuses is None and function is node.target:
                reuses = _reuses_when_run(node, tensors)
            if reuses is None and schema.declared and not function._can_decompose():
                reuses = 0
        target = self.target(
            schema.domain, schema.name, schema.overload, attributes, reuses, schema.writes
        )
        numbers = tuple([ref.number if ref is not None else None for ref in tensors])
        outputs = tuple([ref.number for ref in refs])
        self.recording.calls.append(Call(target, numbers, outputs, self.path_of(node)))
        return results

    def target(
        self,
        domain: str,
        name: str,
        overload: str,
        attributes: dict[str, Any],
        reuses: int | None = None,
        writes: bool = False,
    ) -> Target:
        """The target of such calls, made once for all that are equal."""
        described = tuple([(key, type(v).__name__, v) for key, v in attributes.items()])
        key = (domain, name, overload, described, reuses, writes)
        found = self._targets.get(key)
        if found is None:
            found = self._targets[key] = Target(domain, name, overload, attributes, reuses, writes)
        return found

    def path_of(self, node: Node) -> str:
        """Path of the module that made the call; modules on the way are written down. In a body, that of the call."""
        for path, kind in modules_of(node):
            self.root.modules.setdefault(path, kind)
        found = module_of(node)
        return self.path if found is None else found[0]


def modules_of(node: Node) -> list[tuple[str, str]]:
    """(path, class) of the modules that were running when the node was traced, the outermost first."""
    found = []
    for path, kind in (node.meta.get("nn_module_stack") or {}).values():
        name = kind if isinstance(kind, str) else kind.__qualname__
        if not name.startswith("_empty_nn_module_stack"):
            path = _REPEATED_CALL.sub("", _ROOT.sub("", path))
            found.append((path, name.rpartition(".")[2]))
    return found


def module_of(node: Node) -> tuple[str, str] | None:
    """(path, class) of the module that made the call, None where the node does not say."""
    return next(reversed(modules_of(node)), None)


def _unwrapped(fake: Any) -> Any:
    """The memory behind a tensor that a vmap shows one element of."""
    functorch = torch._C._functorch
    while functorch.is_batchedtensor(fake):
        fake = functorch.get_unwrapped(fake)
    return fake


def _storage(fake: Any) -> int | None:
    try:
        return int(fake.untyped_storage()._cdata)
    except NotImplementedError:  # sparse tensors have none
        return None


def _shared(made: Ref, operands: Sequence[Ref | None]) -> int | None:
    """Index of the first operand in whose memory the result lives."""
    storage = _storage(made.fake)
    if storage is None:
        return None
    for index, operand in enumerate(operands):
        if operand is not None and _storage(operand.fake) == storage:
            return index
    return None


def _reuses_when_run(node: Node, operands: Sequence[Ref | None]) -> int | None:
    """The same, found by running the op once more: in a program that was saved no two tensors share memory."""
    fakes = [operand.fake for operand in operands if operand is not None]
    mode = next((fake.fake_mode for fake in fakes if hasattr(fake, "fake_mode")), None)
    if mode is None:
        return None
    args, kwargs = pytree.tree_map_only(
        Node, lambda operand: operand.meta.get("val"), (node.args, dict(node.kwargs))
    )
    environment = mode.shape_env
    quiet = environment.suppress_guards() if environment is not None else contextlib.nullcontext()
    try:
        with quiet, mode:
            made = pytree.tree_leaves(node.target(*args, **kwargs))[0]
    except Exception:  # noqa: BLE001 - torch cannot tell the sizes of this one; a copy is the safe answer
        return None
    return _shared(Ref(0, made), operands)
