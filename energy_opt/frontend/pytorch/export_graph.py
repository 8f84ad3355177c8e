"""Graphs of torch.fx, as torch.export makes them, read node for node into a Recording."""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree

from energy_opt.frontend.pytorch.export_memory import (
    Ref,
    is_ref,
    laid_out,
    shared,
    unguarded,
    unwrapped,
)
from energy_opt.frontend.pytorch.export_sizes import Sizes
from energy_opt.frontend.pytorch.recording import Call, Recording, Target, Type, Weight
from energy_opt.frontend.pytorch.schema import SKIPPED, Schema, dtype_name
from energy_opt.frontend.pytorch.traced import module_of, modules_of

_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)
_ATTENTION = "aten.scaled_dot_product_attention.default"


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
        self._moved: set[int] = set()  # tensors whose strides are not those of torch's fake ones

    def body(self, path: str) -> Reader:
        """A reader for a body of control flow: its tensors are numbered with those outside, which it can use."""
        inner = Reader(self.root, self.sizes, self._numbers, path)
        inner.recording = Recording()
        inner._schemas, inner._targets, inner._moved = self._schemas, self._targets, self._moved
        return inner

    # -- tensors -----------------------------------------------------------------------------------------------------

    def tensor(self, fake: Any) -> Ref:
        """A new tensor."""
        fake = unwrapped(fake)
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
        elif refs and schema.full_name == _ATTENTION:
            made = laid_out(*tensors[:3], *tensors[3:4])
            results = results if made is None else self._replaced(results, [made])
        elif refs and schema.aliases:
            reuses = shared(refs[0], tensors)
            moved = any(ref is not None and ref.number in self._moved for ref in tensors)
            if (moved or reuses is None) and function is node.target:
                again = self._run(node)
                if len(again) == len(refs):
                    results = self._replaced(results, again)
                    reuses = shared(Ref(-1, again[0]), tensors)
            if reuses is None and schema.declared and not function._can_decompose():
                reuses = 0
        target = self.target(
            schema.domain, schema.name, schema.overload, attributes, reuses, schema.writes
        )
        numbers = tuple([ref.number if ref is not None else None for ref in tensors])
        outputs = tuple([ref.number for ref in refs])
        self.recording.calls.append(Call(target, numbers, outputs, self.path_of(node)))
        return results

    def _replaced(self, results: Any, fakes: Sequence[Any]) -> Any:
        """The results with other strides and storage than torch gave them, which what reads them depends on."""
        left = iter(fakes)

        def replaced(ref: Ref) -> Ref:
            self._moved.add(ref.number)
            return Ref(ref.number, next(left))

        return pytree.tree_map_only(Ref, replaced, results, is_leaf=is_ref)

    def _run(self, node: Node) -> list[Any]:
        """The results of a node, run once more on its operands as they are known here; nothing where torch refuses.

        In a program that was saved no two tensors share memory, and attention is laid out as no kernel does it.
        """

        def fake(operand: Node) -> Any:
            value = self._values[operand]
            return value.fake if is_ref(value) else operand.meta.get("val")

        args, kwargs = pytree.tree_map_only(Node, fake, (node.args, dict(node.kwargs)))
        fakes = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if hasattr(leaf, "fake_mode")]
        if not fakes:
            return []
        mode = fakes[0].fake_mode
        try:
            with unguarded(mode), mode:
                made = pytree.tree_leaves(node.target(*args, **kwargs))
        except Exception:  # noqa: BLE001 - torch cannot tell the sizes of this one; a copy is the safe answer
            return []
        return [leaf for leaf in made if isinstance(leaf, torch.Tensor)]

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
