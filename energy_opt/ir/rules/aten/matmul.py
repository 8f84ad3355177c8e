"""Matrix products of PyTorch. A multiply-add is 2 FLOPs; sizes come from the operands' shapes alone."""

from __future__ import annotations

import math
from dataclasses import replace

from onnx_ir import DataType

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import given, integer, integers, shape, text
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.einsum import Equation, contract, parse
from energy_opt.ir.rules.formulas import activation_flops, elements, least, matmul, nbytes, plus
from energy_opt.ir.rules.matmul import product_of

_COMPLEX = frozenset({DataType.COMPLEX64, DataType.COMPLEX128})


def real(op: Op, work: Work) -> Work:
    """The work in real arithmetic: a multiply-add of complex numbers is four."""
    if not any(tensor is not None and tensor.dtype in _COMPLEX for tensor in op.inputs):
        return work
    return replace(work, matmul_flops=product((4, work.matmul_flops)))


@aten("matmul", "matmul linalg_matmul mm bmm mv dot vdot _int_mm")
def plain(op: Op) -> Work:
    """2*b*m*n*k, for vectors, matrices and batches of them."""
    return real(op, product_of(shape(op, 0, 1), shape(op, 1, 1), op.y.dims))


@aten("matmul", "linear mkldnn_linear")
def linear(op: Op) -> Work:
    """x[.., k] by weight[n, k] or [k], and the bias."""
    weight = shape(op, 1, 1)
    work = real(op, product_of(shape(op, 0, 1), tuple(reversed(weight[-2:])), op.y.dims))
    return plus(work, given(op, 2) * elements(op.y))


def into(op: Op) -> Work:
    """x[.., k] by a weight of any layout giving y[.., n]: what packed weights leave to see."""
    x, y = shape(op, 0, 1), op.y.dims
    return matmul(1, product(x[:-1]), y[-1] if y else 1, x[-1])


# -- beta * C + alpha * A B --------------------------------------------------------------------------------------------


def factor(op: Op, name: str) -> float:
    """The scalar argument, 1 where it is not given; NaN, which equals nothing, where only a run knows it."""
    value = op.attr(name, 1)
    return float(value) if isinstance(value, (int, float)) else math.nan


def blended(op: Op, work: Work, kind_flops: int = 0) -> Work:
    """The work with alpha and beta * C: scales only where they are not 1; with beta = 0, C is not even read."""
    alpha, beta = factor(op, "alpha"), factor(op, "beta")
    flops = kind_flops + (alpha != 1) + ((beta != 0) + (beta not in (0, 1)))
    work = plus(work, flops * elements(op.y))
    if beta != 0:
        return work
    read = nbytes(*op.inputs[1:])
    return Work(work.matmul_flops, work.other_flops, bytes_read=read, sizes=work.sizes)


@aten("matmul", "addmm* baddbmm* addmv*")
def blended_product(op: Op) -> Work:
    """C at input 0, the product's operands at 1 and 2."""
    return blended(op, real(op, product_of(shape(op, 1, 1), shape(op, 2, 1), op.y.dims)))


@aten("matmul", "_addmm_activation")
def blended_activation(op: Op) -> Work:
    """The same, then a Gelu by tanh or a Relu."""
    activation = activation_flops("fastgelu" if integer(op, "use_gelu", 0) else "relu")
    return blended(op, product_of(shape(op, 1, 1), shape(op, 2, 1), op.y.dims), activation)


@aten("matmul", "addbmm*")
def blended_sum(op: Op) -> Work:
    """The products of a batch summed into one matrix: one product whose depth is batch * k."""
    a, b = shape(op, 1, 3), shape(op, 2, 3)
    return blended(op, matmul(1, a[1], b[2], product((a[0], a[2]))))


@aten("elementwise", "addr*")
def blended_outer(op: Op) -> Work:
    """One product per pair of elements, added to C."""
    return blended(op, Work(), 1)


# -- contractions ------------------------------------------------------------------------------------------------------


@aten("elementwise", "outer ger kron")
def outer(op: Op) -> Work:
    """One product per element of the result; nothing is summed."""
    return Work(other_flops=elements(op.y))


@aten("matmul", "inner")
def inner(op: Op) -> Work:
    """The last dims summed, the others all with all; a scalar only scales."""
    a, b = shape(op, 0), shape(op, 1)
    if not a or not b:
        return Work(other_flops=elements(op.y), kind="elementwise")
    return matmul(1, product(a[:-1]), product(b[:-1]), a[-1])


@aten("matmul", "linalg_vecdot")
def vecdot(op: Op) -> Work:
    """A dot product along one dim for every element of the result."""
    a = shape(op, 0, 1)
    dim = integer(op, "dim", -1)
    if not -len(a) <= dim < len(a):
        raise ValueError(f"dim {dim} of a tensor of rank {len(a)}")
    return matmul(elements(op.y), 1, 1, a[dim])


@aten("matmul", "tensordot")
def tensordot(op: Op) -> Work:
    """The named dims summed, the others all with all."""
    a, b = shape(op, 0), shape(op, 1)
    a_summed, b_summed = _axes(op, "dims_self", len(a)), _axes(op, "dims_other", len(b))
    k = product(a[axis] for axis in sorted(a_summed))
    m = product(dim for axis, dim in enumerate(a) if axis not in a_summed)
    n = product(dim for axis, dim in enumerate(b) if axis not in b_summed)
    return matmul(1, m, n, k)


def _axes(op: Op, name: str, rank: int) -> set[int]:
    axes = integers(op, name)
    if not all(-rank <= axis < rank for axis in axes):
        raise ValueError(f"{name} {axes} of a tensor of rank {rank}")
    return {axis % rank for axis in axes}


@aten("matmul", "chain_matmul linalg_multi_dot")
def chain(op: Op) -> Work:
    """The cheapest order of products, which is the one that torch chooses; sizes are those from left to right."""
    shapes = [shape(op, index, 1) for index in range(len(op.inputs))]
    if len(shapes) < 2:
        return Work(kind="copy")
    if len(shapes[0]) == 1:
        shapes[0] = (1, *shapes[0])
    if len(shapes[-1]) == 1:
        shapes[-1] = (*shapes[-1], 1)
    if any(len(dims) != 2 for dims in shapes) or len(shapes) > _LONGEST_CHAIN:
        raise ValueError("a chain of products of other things than a few matrices")
    edges = [shapes[0][0], *(dims[1] for dims in shapes)]
    last = matmul(1, edges[0], edges[-1], edges[-2])
    return Work(2 * _cheapest(edges), sizes=last.sizes)


_LONGEST_CHAIN = 64


def _cheapest(edges: list[Dim]) -> Dim:
    """Multiply-adds of the best order. Source: Cormen et al., Introduction to Algorithms, section 15.2."""
    cost: dict[tuple[int, int], Dim] = {(i, i + 1): 0 for i in range(len(edges) - 1)}
    for length in range(2, len(edges)):
        for i in range(len(edges) - length):
            j = i + length
            options = [
                total((cost[i, s], cost[s, j], product((edges[i], edges[s], edges[j]))))
                for s in range(i + 1, j)
            ]
            best = options[0]
            for option in options[1:]:
                best = least(best, option)
            cost[i, j] = best
    return cost[0, len(edges) - 1]


@aten("matmul", "linalg_matrix_power matrix_power")
def power(op: Op) -> Work:
    """By squaring: a product per bit of the exponent, and one more per bit that is set, but for the first."""
    dims, n = shape(op, 0, 2), abs(integer(op, "n", 1))
    products = max(0, n.bit_length() - 1) + max(0, n.bit_count() - 1)
    if products == 0:
        return Work(kind="copy")
    return matmul(product((products, *dims[:-2])), dims[-1], dims[-1], dims[-1])


@aten("matmul", "einsum")
def einsum(op: Op) -> Work:
    """Its contractions, in the order of `path` where it is given; elementwise, a sum or a copy where there are none."""
    if not op.inputs:
        raise ValueError("einsum of nothing")
    shapes = [shape(op, index) for index in range(len(op.inputs))]
    work = real(op, along(parse(text(op, "equation", ""), shapes), integers(op, "path")))
    if work.sizes:
        return work
    kind = "elementwise" if len(op.inputs) > 1 else "reduction" if work.other_flops != 0 else "copy"
    return Work(other_flops=work.other_flops, kind=kind)


def along(equation: Equation, path: tuple[int, ...]) -> Work:
    """Work of the contractions in opt_einsum's order: each pair leaves the list and its result joins at the end."""
    if len(path) != 2 * (len(equation.operands) - 1) or not path:
        return contract(equation)
    operands, steps = list(equation.operands), []
    for pair in zip(path[::2], path[1::2], strict=True):
        i, j = sorted(pair)
        if not 0 <= i < j < len(operands):
            raise ValueError(f"path {path} of {len(equation.operands)} operands")
        second, first = operands.pop(j), operands.pop(i)
        kept = set(equation.result).union(*operands) if operands else set(equation.result)
        result = tuple(sorted({*first, *second} & kept))
        steps.append(contract(Equation((first, second), result, equation.sizes)))
        operands.append(result)
    sizes = next((step.sizes for step in reversed(steps) if step.sizes), ())
    return Work(
        total(step.matmul_flops for step in steps),
        total(step.other_flops for step in steps),
        sizes=sizes,
    )


@aten("matmul", "bilinear")
def bilinear(op: Op) -> Work:
    """x1[.., i] by weight[o, i, j], then by x2[.., j], and the bias."""
    x, w = shape(op, 0, 1), shape(op, 2, 3)
    rows = product(x[:-1])
    first = matmul(1, rows, product((w[0], w[2])), w[1])
    flops = total((first.matmul_flops, product((2, rows, w[0], w[2]))))
    return plus(Work(flops, sizes=first.sizes), given(op, 3) * elements(op.y))


@aten("matmul", "_trilinear")
def trilinear(op: Op) -> Work:
    """The product of three tensors, each broadcast along its `expand` dims, summed over `sumdim`."""
    operands = []
    sizes: dict[str, Dim] = {}
    rank = len(shape(op, 0)) + len(integers(op, "expand1"))
    for index in range(3):
        dims, expanded = shape(op, index), _axes(op, f"expand{index + 1}", max(rank, 1))
        places = [chr(ord("a") + axis) for axis in range(rank) if axis not in expanded]
        if len(places) != len(dims) or rank > 26:
            raise ValueError(f"operand {index} of rank {len(dims)} in {rank} dims")
        sizes.update(zip(places, dims, strict=True))
        operands.append(tuple(places))
    summed = {chr(ord("a") + axis) for axis in _axes(op, "sumdim", max(rank, 1))}
    return contract(Equation(tuple(operands), tuple(sorted(set(sizes) - summed)), sizes))


# -- gradients ---------------------------------------------------------------------------------------------------------


def wanted(op: Op, name: str, count: int) -> tuple[int, ...]:
    """Which of the gradients are computed, 1 or 0 each; all where the mask is not given."""
    mask = integers(op, name)
    return mask if len(mask) == count else (1,) * count


def gradients(forward: Work, count: int) -> Work:
    """`count` products as large as the forward one."""
    sizes = tuple(
        (name, product((count, size)) if name == "b" else size) for name, size in forward.sizes
    )
    return Work(product((count, forward.matmul_flops)), sizes=sizes if count else ())


@aten("matmul", "linear_backward mkldnn_linear_backward")
def linear_backward(op: Op) -> Work:
    """x[.., k], grad[.., n], weight[n, k]: a product each for x and the weight, a sum for the bias, as far as asked."""
    x, weight = shape(op, 0, 1), shape(op, 2, 2)
    mask = wanted(op, "output_mask", 3)
    forward = matmul(1, product(x[:-1]), weight[0], weight[1])
    return plus(gradients(forward, mask[0] + mask[1]), mask[2] * elements(op.need(1)))


@aten("matmul", "matmul_backward")
def matmul_backward(op: Op) -> Work:
    """grad, a, b: a product as large as the forward one for each operand that is asked for."""
    forward = product_of(shape(op, 1, 1), shape(op, 2, 1), shape(op, 0))
    return gradients(forward, sum(wanted(op, "mask", 2)))
