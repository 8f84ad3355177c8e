"""Higher-order operators of exported programs: control flow, and wrappers around a piece of the graph.

A body numbers its tensors together with those outside and reads captured ones directly, as the bodies of ONNX do; its
inputs are only what changes from trip to trip. How often it runs is the attribute `trips` of the call.
"""
# ruff: noqa: TID253  (this file is imported for PyTorch modules only)

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree

from energy_opt.frontend.pytorch.export_graph import Reader
from energy_opt.frontend.pytorch.export_memory import Ref, is_ref
from energy_opt.frontend.pytorch.recording import Call, Recording

_DOMAIN = "higher_order"


def read_control(reader: Reader, node: Node) -> Any:
    """The results of a higher-order operator, which is written down with its bodies or in line."""
    name = node.target.name()
    args = reader.value(node.args)
    known = _READERS.get(name)
    if known is not None:
        return known(reader, node, args)
    if name.startswith("auto_functionalized") or name == "out_dtype":
        function = args[0]
        named = reader.value(dict(node.kwargs)).items()
        kwargs = {key: value for key, value in named if not key.startswith("_")}
        return reader.call(node, function, args[1:], kwargs, node.meta.get("val"))
    bodies = [value for value in args if isinstance(value, GraphModule)]
    if len(bodies) == 1:
        return _in_line(reader, node, args)
    return _call(reader, node, name, _refs(args), {})


def _cond(reader: Reader, node: Node, args: list[Any]) -> Any:
    condition, yes, no, operands = args
    bodies = [
        (name, _body(reader, node, graph, operands, []))
        for name, graph in (("then_branch", yes), ("else_branch", no))
    ]
    return _call(reader, node, "cond", _refs([condition, operands]), {}, bodies)


def _while_loop(reader: Reader, node: Node, args: list[Any]) -> Any:
    check, step, carried, captured = args
    trips = reader.sizes.mint("trips", f"trip count of while_loop {node.name!r}", "trip")
    bodies = []
    for name, graph in (("cond", check), ("body", step)):
        formals = _placeholders(graph)[: len(carried)]
        bodies.append((name, _body(reader, node, graph, captured, formals)))
    inputs = _refs([carried, captured])
    return _call(reader, node, "while_loop", inputs, {"trips": trips}, bodies)


def _map(reader: Reader, node: Node, args: list[Any]) -> Any:
    graph, sliced, captured = args
    return _over_axis(reader, node, "map_impl", graph, sliced, sliced, captured)


def _scan(reader: Reader, node: Node, args: list[Any]) -> Any:
    graph, carried, sliced, captured = args
    return _over_axis(reader, node, "scan", graph, [*carried, *sliced], sliced, captured)


def _associative_scan(reader: Reader, node: Node, args: list[Any]) -> Any:
    graph, sliced, captured = args
    return _over_axis(reader, node, "associative_scan", graph, [*sliced, *sliced], sliced, captured)


def _over_axis(
    reader: Reader,
    node: Node,
    name: str,
    graph: GraphModule,
    changing: Sequence[Any],
    sliced: Sequence[Ref],
    captured: Sequence[Any],
) -> Any:
    """A body that runs once for every element along the first axis of what is sliced."""
    formals = _placeholders(graph)[: len(changing)]
    body = _body(reader, node, graph, captured, formals)
    trips = reader.sizes.of(sliced[0].fake.shape[0])
    inputs = _refs([changing if name != "associative_scan" else sliced, captured])
    return _call(reader, node, name, inputs, {"trips": trips}, [("body", body)])


def _flex_attention(reader: Reader, node: Node, args: list[Any]) -> Any:
    """One operator: the functions inside are applied to tiles in registers."""
    query, key, value, _, mask, scale, *rest = args
    inputs = _refs([query, key, value, mask, rest])
    attributes = {"scale": scale} if isinstance(scale, float) else {}
    return _call(reader, node, "flex_attention", inputs, attributes)


def _in_line(reader: Reader, node: Node, args: list[Any]) -> Any:
    """The graph that a wrapper holds (autocast, no_grad, checkpoint), as if it stood in the wrapper's place."""
    place = next(i for i, value in enumerate(args) if isinstance(value, GraphModule))
    graph = args[place]
    count = len(_placeholders(graph))
    operands = pytree.tree_leaves(args[place + 1 :], is_leaf=is_ref)
    inner = reader.body(reader.path_of(node))
    inner.recording = reader.recording
    results = inner.read(graph, operands[len(operands) - count :])
    return results[0] if not isinstance(node.meta.get("val"), (list, tuple)) else results


def _body(
    reader: Reader, node: Node, graph: GraphModule, captured: Sequence[Any], formals: Sequence[Node]
) -> Recording:
    """A body whose first placeholders are its inputs and whose others are tensors from outside."""
    inner = reader.body(reader.path_of(node))
    made = [inner.tensors(formal.meta["val"]) for formal in formals]
    results = inner.read(graph, [*made, *captured])
    body = inner.recording
    body.inputs = [
        (formal.name, ref.number) for formal, ref in zip(formals, made, strict=True) if is_ref(ref)
    ]
    body.outputs = [ref.number for ref in results if is_ref(ref)]
    return body


def _call(
    reader: Reader,
    node: Node,
    name: str,
    inputs: Sequence[Ref],
    attributes: dict[str, Any],
    bodies: Sequence[tuple[str, Recording]] = (),
) -> Any:
    path = reader.path_of(node)
    reader.sizes.where = f"{_DOMAIN}::{name}"
    results = reader.tensors(node.meta.get("val"))
    refs = _refs([results])
    target = reader.target(_DOMAIN, name, "", attributes)
    reader.recording.calls.append(
        Call(
            target,
            tuple([ref.number for ref in inputs]),
            tuple([ref.number for ref in refs]),
            path,
            tuple(bodies),
        )
    )
    return results


def _refs(values: Sequence[Any]) -> list[Ref]:
    return [ref for ref in pytree.tree_leaves(list(values), is_leaf=is_ref) if is_ref(ref)]


def _placeholders(graph: GraphModule) -> list[Node]:
    return [node for node in graph.graph.nodes if node.op == "placeholder"]


_READERS: dict[str, Callable[[Reader, Node, list[Any]], Any]] = {
    "cond": _cond,
    "while_loop": _while_loop,
    "map_impl": _map,
    "scan": _scan,
    "associative_scan": _associative_scan,
    "flex_attention": _flex_attention,
}
