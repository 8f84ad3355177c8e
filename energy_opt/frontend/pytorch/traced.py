"""torch.fx graphs as modules that know which module each of their operators came from."""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.graph import CodeGen

_ROOT = re.compile(r"^(L\['self'\]|L__self__|self)\.?")
_REPEATED_CALL = re.compile(r"@\d+")


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


def scoped(graph: GraphModule) -> nn.Module:
    """A module that does what the graph does, each operator inside a module of the path that it was traced from.

    A traced graph calls its leaf modules by their paths and all other operators from its root. Tracers write the
    modules that were running into the nodes; here they are running again, empty ones in the place of those that were
    traced through, so that whoever watches modules sees them. The graph itself and its weights are shared, not
    changed. A graph of another calling convention than tracing has (`ExportedProgram.module()`) is given back as it is.
    """
    if type(graph.graph._codegen) is not CodeGen:
        return graph
    found = {node: module_of(node) for node in graph.graph.nodes}
    kinds = {place[0]: place[1] for place in found.values() if place is not None}
    if not kinds:
        return graph
    # shares leaves and weights; what holds them is new, and so is its class
    twin = copy.copy(graph)
    type(twin).__name__ = type(graph).__name__
    scopes: dict[str, nn.Module] = {}
    leaves = {str(node.target) for node in graph.graph.nodes if node.op == "call_module"}
    for path, kind in sorted(kinds.items()):
        if path and path not in leaves:
            scopes[path] = _scope_at(twin, path, kind)
    runner = _Runner(twin, {n: scopes[p[0]] for n, p in found.items() if p and p[0] in scopes})
    signature = inspect.signature(graph.forward)

    def forward(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return runner.run(*bound.args, **bound.kwargs)

    forward.__signature__ = signature  # type: ignore[attr-defined]
    twin.__dict__["forward"] = forward
    return twin


class _Runner(Interpreter):  # type: ignore[misc]
    """Runs a graph node for node, those of a scope inside it."""

    def __init__(self, graph: GraphModule, scopes: dict[Node, nn.Module]) -> None:
        super().__init__(graph)
        self._scopes = scopes

    def run_node(self, n: Node) -> Any:
        """Run one node."""
        scope = self._scopes.get(n)
        run: Callable[[], Any] = lambda: super(_Runner, self).run_node(n)  # noqa: E731
        if scope is None or n.op not in ("call_function", "call_method"):
            return run()
        return scope(run)


class _Scope(nn.Module):  # type: ignore[misc]
    """A module that runs what it is given."""

    def forward(self, action: Callable[[], Any]) -> Any:
        """Run the action as this module's own."""
        return action()


def _scope_at(root: nn.Module, path: str, kind: str) -> nn.Module:
    """A scope at the path, of a class of that name, with the children of what was there."""
    parent_path, _, name = path.rpartition(".")
    parent = root
    for part in parent_path.split(".") if parent_path else ():
        if part not in parent._modules:
            parent.add_module(part, nn.Module())
        parent = parent._modules[part]
    old = parent._modules.get(name)
    scope = type(kind, (_Scope,), {})()
    if old is not None:
        for store in ("_modules", "_parameters", "_buffers"):
            setattr(scope, store, getattr(old, store))
        scope.training = old.training
    parent._modules[name] = scope
    return scope
