"""Quantized tensors as they are stored: dequantize, compute, quantize as one integer kernel.

Before: DequantizeLinear of every operand -> Conv, MatMul, Add, ... [-> Relu or Clip] -> QuantizeLinear. After: the op
on the integers, which are all that is read and written. Precondition: only such ops read the dequantized values; a
matrix product may also give floats. Weights alone in integers (4 bits, blockwise) are read so, computed in floats.
Source: ONNX Runtime's QDQ transformers (its CPU provider), TensorRT's explicit quantization. ONNX Runtime's CUDA
provider runs the ops one by one; the notes say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import onnx_ir

from energy_opt.ir.graph import Graph
from energy_opt.passes.groups import is_op, only_user, producer
from energy_opt.passes.registry import register

_PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_BINARY = ("Add", "Mul")
_UNARY = (
    *("AveragePool", "GlobalAveragePool", "ReduceMean", "MaxPool", "LeakyRelu", "Relu", "Sigmoid", "Softmax"),
    *("Clip", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Gather", "Resize", "Slice", "Split"),
)  # fmt: skip
_ACTIVATIONS = ("Relu", "Clip")
_Unit = tuple[onnx_ir.Node, list[onnx_ir.Node], list[onnx_ir.Node]]
"""An op, what dequantizes its operands, and the chain from the op to what quantizes its result."""


@register("fuse-qdq")
def fuse_qdq(graph: Graph) -> Graph:
    """The graph with integers for what is dequantized, computed and quantized in one kernel."""
    if not any(node.op_type == "DequantizeLinear" for node in graph.nodes()):
        return graph  # most models: the search below looks at every operand
    units = [unit for node in graph.nodes() for unit in _units(node)]
    while True:  # a value that something else reads too is needed as a float
        inside = {op for op, _, _ in units}
        kept = [unit for unit in units if all(_stays_inside(dq, inside) for dq in unit[1])]
        if len(kept) == len(units):
            break
        units = kept
    if not units:
        return graph
    stored = dict(graph.stored)
    absorbed: set[onnx_ir.Node] = set()
    folded = set(graph.folded)
    for _, dequantizers, chain in units:
        for node in dequantizers:
            source = node.inputs[0]
            if source is None or source.dtype is None:
                continue
            stored[node.outputs[0]] = source.dtype
            (folded if _is_constant(source, graph) else absorbed).add(node)
        if chain and (dtype := chain[-1].outputs[0].dtype) is not None:
            stored.update((node.outputs[0], dtype) for node in chain[:-1])
            absorbed.add(chain[-1])
    note = (
        f"ops on dequantized values are priced as kernels that read the integers ({len(units)} of them), as ONNX "
        "Runtime's CPU provider and TensorRT run them; other providers dequantize first and run them in floats"
    )
    return replace(
        graph,
        stored=stored,
        absorbed=graph.absorbed | absorbed,
        folded=frozenset(folded),
        notes=[*graph.notes, note],
    )


def _units(node: onnx_ir.Node) -> Iterator[_Unit]:
    if not is_op(node, *_PRODUCTS, *_BINARY, *_UNARY, "Concat"):
        return
    needed = {"Concat": len(node.inputs)}.get(node.op_type, 1 if is_op(node, *_UNARY) else 2)
    operands = [producer(node, index) for index in range(needed)]
    dequantizers = [
        operand
        for operand in operands
        if operand is not None and is_op(operand, "DequantizeLinear")
    ]
    chain = _to_quantizer(node)
    if len(dequantizers) < needed:
        weights = operands[-1]
        if is_op(node, "MatMul", "Gemm") and weights in dequantizers and _of_weights(weights):
            yield node, dequantizers, []
    elif chain or is_op(node, "MatMul", "Gemm"):
        bias = producer(node, 2) if is_op(node, *_PRODUCTS) else None
        if bias is not None and is_op(bias, "DequantizeLinear"):
            dequantizers.append(bias)
        yield node, dequantizers, chain


def _to_quantizer(node: onnx_ir.Node) -> list[onnx_ir.Node]:
    """The op, an activation and the quantizer of the result, each the only reader of the one before; else empty."""
    chain = [node]
    while (user := only_user(chain[-1])) is not None and len(chain) < 3:
        chain.append(user)
        if is_op(user, "QuantizeLinear"):
            return chain
        if not is_op(user, *_ACTIVATIONS):
            break
    return []


def _stays_inside(dequantizer: onnx_ir.Node, inside: set[onnx_ir.Node]) -> bool:
    output = dequantizer.outputs[0]
    return not output.is_graph_output() and all(user in inside for user, _ in output.uses())


def _of_weights(dequantizer: onnx_ir.Node | None) -> bool:
    source = dequantizer.inputs[0] if dequantizer is not None else None
    return source is not None and source.is_initializer()


def _is_constant(value: onnx_ir.Value, graph: Graph) -> bool:
    maker = value.producer()
    return value.is_initializer() or (maker is not None and maker in graph.folded)
