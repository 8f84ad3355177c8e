"""Classic machine learning operators, and gradients."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir

from energy_opt.ir.dims import Dim
from energy_opt.ir.shapes.info import Call, Info
from energy_opt.ir.shapes.layout import INT64
from energy_opt.ir.shapes.registry import ops, shape_rule

ML = "ai.onnx.ml"
FLOAT = onnx_ir.DataType.FLOAT


@shape_rule(*ops("Imputer Scaler Normalizer", ML))
def ml_same(call: Call) -> Sequence[Info]:
    """Shape of the input; scaled features are floats."""
    x = call.input(0)
    return [Info(x.shape, x.dtype if call.op == "Imputer" else FLOAT)]


@shape_rule(*ops("LinearRegressor SVMRegressor TreeEnsembleRegressor", ML))
def ml_regressor(call: Call) -> Sequence[Info]:
    """[rows, targets]."""
    x = call.input(0)
    rows = _rows(call, x)
    name = "n_targets" if call.op == "TreeEnsembleRegressor" else "targets"
    targets = 1 if call.op == "SVMRegressor" else call.int_attr(name, 1)
    return [Info((rows, targets), FLOAT)]


def _rows(call: Call, x: Info) -> Dim:
    if x.shape is None:
        return call.space.fresh("input")
    return x.shape[0] if len(x.shape) > 1 else 1


@shape_rule(*ops("LinearClassifier SVMClassifier TreeEnsembleClassifier", ML))
def ml_classifier(call: Call) -> Sequence[Info]:
    """A label for each row and a score for each class."""
    rows = _rows(call, call.input(0))
    labels, dtype = None, INT64
    for name in ("classlabels_ints", "classlabels_int64s", "classlabels_strings"):
        if call.attrs.get(name):
            labels = len(call.attrs[name])
            dtype = onnx_ir.DataType.STRING if name.endswith("strings") else INT64
    return [
        Info((rows,), dtype),
        Info((rows, call.space.fresh() if labels is None else labels), FLOAT),
    ]


@shape_rule(f"{ML}::OneHotEncoder")
def ml_one_hot(call: Call) -> Sequence[Info]:
    """The input with an axis more, as long as there are categories."""
    x = call.input(0)
    categories = call.attrs.get("cats_int64s") or call.attrs.get("cats_strings") or ()
    return [Info(None if x.shape is None else (*x.shape, len(categories)), FLOAT)]


@shape_rule(f"{ML}::CategoryMapper")
def ml_category_mapper(call: Call) -> Sequence[Info]:
    """Strings to integers, or back."""
    x = call.input(0)
    strings = x.dtype is onnx_ir.DataType.STRING
    return [Info(x.shape, INT64 if strings else onnx_ir.DataType.STRING)]


@shape_rule(f"{ML}::FeatureVectorizer")
def ml_feature_vectorizer(call: Call) -> Sequence[Info]:
    """The features side by side."""
    widths = call.ints_attr("inputdimensions") or []
    return [Info((_rows(call, call.input(0)), sum(widths)), FLOAT)]


@shape_rule("ai.onnx.preview.training::Gradient")
def gradient(call: Call) -> Sequence[Info]:
    """One gradient of the shape of each variable."""
    names = call.attrs.get("xs") or ()
    return [Info(info.shape, info.dtype) for info in call.inputs[: len(names)] if info is not None]
