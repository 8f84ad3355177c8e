"""Classical models of ai.onnx.ml: trees, support vectors, linear models."""

from __future__ import annotations

from dataclasses import replace

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.arguments import length, shape, text
from energy_opt.ir.rules.formulas import least, log2, matmul, moved, nbytes, plus
from energy_opt.ir.rules.registry import rule

NODE_BYTES = 16
"""Bytes of a node that a walk reads: feature, threshold and two children, 4 each."""


def _samples(op: Op) -> tuple[Dim, Dim]:
    """(samples, features) of X[samples, features] or X[features]."""
    dims = shape(op, 0, 1)
    return product(dims[:-1]), dims[-1]


def forest(op: Op, nodes: int, trees: int) -> Work:
    """A walk down every tree per sample, as deep as a balanced tree; a step compares, a leaf adds its score."""
    if nodes < 1 or trees < 1:
        raise ValueError("a tree ensemble without nodes")
    rows, _ = _samples(op)
    depth = log2(max(nodes // trees, 1) + 1)
    visited = least(product((rows, trees, depth)), nodes)
    flops = product((rows, trees, total((depth, 1))))
    return Work(other_flops=flops, bytes_read=total((nbytes(op.x), NODE_BYTES * visited)))


@rule("tree", "ai.onnx.ml::TreeEnsembleClassifier", "ai.onnx.ml::TreeEnsembleRegressor")
def tree_ensemble_lists(op: Op) -> Work:
    """Nodes listed with the id of their tree; the ids run from the first to the last."""
    ids = op.attr("nodes_treeids") or ()
    trees = len(set(ids)) if isinstance(ids, (list, tuple)) else 1
    return forest(op, length(op, "nodes_treeids"), trees)


@rule("tree", "ai.onnx.ml::TreeEnsemble")
def tree_ensemble(op: Op) -> Work:
    """Interior nodes and leaves in one array each; tree_roots says how many trees there are."""
    nodes = length(op, "nodes_featureids") + length(op, "leaf_targetids")
    return forest(op, nodes, length(op, "tree_roots"))


@rule("tree", "ai.onnx.ml::LinearClassifier", "ai.onnx.ml::LinearRegressor")
def linear_model(op: Op) -> Work:
    """X by the coefficients; a sum for each intercept, and 5 per score where a transform follows."""
    rows, features = _samples(op)
    coefficients = length(op, "coefficients")
    scores = coefficients // features if isinstance(features, int) and features else 1
    after = (length(op, "intercepts") > 0) + 5 * (text(op, "post_transform", "NONE") != "NONE")
    work = plus(matmul(1, rows, scores, features), product((after, rows, scores)))
    return replace(work, bytes_read=total((nbytes(op.x), 4 * coefficients)), kind="matmul")


@rule("tree", "ai.onnx.ml::SVMClassifier", "ai.onnx.ml::SVMRegressor")
def support_vectors(op: Op) -> Work:
    """X by the support vectors, a kernel of 3 FLOPs each, then a weighted sum per machine."""
    rows, features = _samples(op)
    coefficients, values = length(op, "coefficients"), length(op, "support_vectors")
    read = total((nbytes(op.x), 4 * (values + coefficients)))
    if not isinstance(features, int) or features < 1:
        raise ValueError("how many support vectors there are depends on the number of features")
    if values < features:  # a linear machine: coefficients of the features themselves
        return replace(matmul(1, rows, max(coefficients // features, 1), features), bytes_read=read)
    vectors = values // features
    per_vector = 3 + 2 * max(coefficients // vectors, 1)
    if text(op, "kernel_type", "LINEAR") == "RBF":  # differences, squares and sums: not a product
        return Work(
            other_flops=product((rows, vectors, 3 * features + per_vector)), bytes_read=read
        )
    return replace(
        plus(matmul(1, rows, vectors, features), product((rows, vectors, per_vector))),
        bytes_read=read,
    )


@rule("copy", "ai.onnx.ml::ZipMap")
def zip_map(op: Op) -> Work:
    """Every score read and put into a map."""
    return moved(nbytes(op.x), nbytes(op.x))


@rule("copy", "ai.onnx.ml::DictVectorizer")
def dict_vectorizer(op: Op) -> Work:
    """As many values read from the map as are written."""
    return moved(nbytes(op.y), nbytes(op.y))
