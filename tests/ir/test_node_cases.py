"""Shapes, dtypes and followed values against every operator test case that the onnx package ships.

Before each case the declared shapes and types of all computed values are erased. Then two ways of asking:

fed     Operands that fix shapes (axes, sizes, repeats, pads, k, ...) are graph inputs in these cases, though constants
        in models. So inputs of at most 64 elements become constants where they are integers or booleans, or floats of
        a name in `STEERING_FLOATS`. Every shape must then equal that of the data, unless it depends on the data itself.
unfed   Inputs have no value. What cannot be known must come out as a symbol, or without a shape, never as a wrong
        number.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx_ir
import pytest
import sympy
from onnx import numpy_helper

from energy_opt.ir import shapes
from energy_opt.ir.dims import symbol
from energy_opt.ir.symbolic import dim_of

STEERING_FLOATS = frozenset({"scales", "roi", "start", "limit", "delta", "depth"})

DATA_DEPENDENT = {
    "ImageDecoder": "height and width stand in the encoded bytes",
    "NonMaxSuppression": "the number of boxes kept depends on scores and overlaps",
    "StringNormalizer": "stop words are removed, so the number of strings depends on them",
    "StringSplit": "the longest list of parts sets the last axis",
    "Unique": "the number of distinct elements depends on the elements",
}

LIGHT = (
    "bvlc_alexnet densenet121 inception_v1 inception_v2 resnet50 shufflenet squeezenet vgg19 zfnet512"
).split()


class Case(NamedTuple):
    """A model with inputs and the outputs that they give."""

    name: str
    proto: onnx.ModelProto
    inputs: list[Any]
    outputs: list[Any]


def _array(item: Any) -> Any:
    if isinstance(item, onnx.TensorProto):
        return onnx_ir.from_proto(item)
    if item is None or isinstance(item, list):
        return item
    array = np.asarray(item)
    return array if array.dtype.kind in "OUS" else onnx_ir.tensor(array)


@cache
def _cases() -> list[Case]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases divide by zero on purpose while they are built
        collected = collect_testcases(None)
    return [
        Case(c.name, c.model, *([_array(item) for item in part] for part in c.data_sets[0]))
        for c in collected
    ]


def _erased(case: Case, feed: bool) -> onnx_ir.Model:
    model = onnx_ir.from_proto(case.proto)
    for node in model.graph.all_nodes():
        for value in node.outputs:
            value.shape = None
            value.type = None
    if feed:
        for value, data in zip(model.graph.inputs, case.inputs, strict=False):
            if not isinstance(data, onnx_ir.TensorProtocol) or data.size > 64:
                continue
            whole = data.dtype.is_integer() or data.dtype is onnx_ir.DataType.BOOL
            if whole or value.name in STEERING_FLOATS:
                value.const_value = data
    return model


def _expected(item: Any) -> tuple[tuple[int, ...], onnx_ir.DataType] | None:
    if isinstance(item, np.ndarray):
        return item.shape, onnx_ir.DataType.STRING
    if isinstance(item, onnx_ir.TensorProtocol):
        return tuple(int(dim) for dim in item.shape), item.dtype
    return None


def _verdicts(value: onnx_ir.Value, item: Any) -> Iterator[str]:
    """Of one output: exact, open (a symbol, or no shape), or what is wrong with it."""
    if item is None or isinstance(
        item, list
    ):  # an empty optional, a sequence: the elements' common shape
        for element in item or ():
            known = _expected(_array(element))
            if known is not None and value.shape is not None:
                same = _compare(value.shape.dims, known[0])
                if same.startswith("wrong"):
                    yield same
        yield (
            "exact"
            if isinstance(value.type, (onnx_ir.SequenceType, onnx_ir.OptionalType))
            else "open"
        )
        return
    expected = _expected(item)
    assert expected is not None
    if value.dtype is not expected[1]:
        yield f"wrong dtype {value.dtype}, is {expected[1]}"
    if value.shape is None:
        yield "open"
        return
    yield _compare(value.shape.dims, expected[0])
    known_values = shapes.known_values(value)
    if known_values is not None and all(isinstance(v, int) for v in known_values):
        data = item.numpy().ravel().astype(np.int64).tolist()
        if list(known_values) != data:
            yield f"wrong values {known_values}, are {data}"


def _compare(dims: Any, shape: tuple[int, ...]) -> str:
    if len(dims) != len(shape):
        return f"wrong rank {dims}, is {shape}"
    for dim, size in zip(dims, shape, strict=True):
        if isinstance(dim, int) and dim != size:
            return f"wrong shape {dims}, is {shape}"
    return "exact" if all(isinstance(dim, int) for dim in dims) else "open"


def _judge(case: Case, feed: bool) -> tuple[str, str]:
    model = _erased(case, feed)
    shapes.infer(model)
    verdicts = [
        verdict
        for value, item in zip(model.graph.outputs, case.outputs, strict=True)
        for verdict in _verdicts(value, item)
    ]
    wrong = next((v for v in verdicts if v.startswith("wrong")), None)
    return ("wrong", wrong) if wrong else ("open" if "open" in verdicts else "exact", "")


def _depends_on_data(case: Case) -> bool:
    return any(node.op_type in DATA_DEPENDENT for node in case.proto.graph.node)


@pytest.fixture(scope="module")
def fed() -> dict[str, tuple[str, str]]:
    return {case.name: _judge(case, True) for case in _cases()}


@pytest.fixture(scope="module")
def unfed() -> dict[str, tuple[str, str]]:
    return {case.name: _judge(case, False) for case in _cases()}


def test_all_operators_are_there() -> None:
    ops = {(node.domain, node.op_type) for case in _cases() for node in case.proto.graph.node}
    assert len(_cases()) >= 1884
    assert len(ops) >= 200


def test_no_shape_dtype_or_value_is_wrong(
    fed: dict[str, tuple[str, str]], unfed: dict[str, tuple[str, str]]
) -> None:
    wrong = {
        (way, name): why
        for way, verdicts in (("fed", fed), ("unfed", unfed))
        for name, (verdict, why) in verdicts.items()
        if verdict == "wrong"
    }
    assert not wrong


def test_shapes_that_do_not_depend_on_data_are_exact(fed: dict[str, tuple[str, str]]) -> None:
    plain = [case.name for case in _cases() if not _depends_on_data(case)]
    still_open = [name for name in plain if fed[name][0] == "open"]
    assert len(still_open) <= 0.01 * len(plain), still_open


def test_the_data_dependent_list_holds_only_what_stays_open(
    fed: dict[str, tuple[str, str]],
) -> None:
    opened = {
        node.op_type
        for case in _cases()
        if _depends_on_data(case) and fed[case.name][0] == "open"
        for node in case.proto.graph.node
        if node.op_type in DATA_DEPENDENT
    }
    assert opened == set(DATA_DEPENDENT)


def test_most_shapes_are_exact_even_without_the_values_of_operands(
    unfed: dict[str, tuple[str, str]],
) -> None:
    # 299 of 1,884 cases have an axes, size, k, ... operand as an input whose value shapes the result
    assert Counter(verdict for verdict, _ in unfed.values())["exact"] >= 1500


BROADCAST_OF_ONE = {
    # [.., d4/4, ..] meets [.., d32/4, ..]: which of two symbols is 1 at run time, shapes do not tell (see `equalities`)
    "test_linear_attention_gated_per_head_decay_expanded"
}


def _with_symbols(case: Case) -> tuple[onnx_ir.Model, dict[sympy.Symbol, sympy.Integer]]:
    """The fed model with a symbol for every size above 1 of its other inputs: d3 wherever a 3 stands."""
    model = _erased(case, feed=True)
    sizes: dict[sympy.Symbol, sympy.Integer] = {}
    for value in model.graph.inputs:
        if value.const_value is None and value.shape is not None:
            dims: list[int | str] = []
            for dim in value.shape.dims:
                free = isinstance(dim, int) and dim > 1
                dims.append(f"d{dim}" if free else dim)
                if free:
                    sizes[symbol(f"d{dim}")] = sympy.Integer(dim)
            value.shape = onnx_ir.Shape(dims)
    return model, sizes


def test_symbolic_shapes_evaluate_to_those_of_the_data() -> None:
    wrong, evaluated = [], 0
    for case in _cases():
        model, sizes = _with_symbols(case)
        shapes.infer(model)
        for value, item in zip(model.graph.outputs, case.outputs, strict=True):
            expected = _expected(item)
            if expected is None or value.shape is None:
                continue
            dims = [sympy.sympify(dim_of(d)).xreplace(sizes) for d in value.shape.dims]
            known = [d if isinstance(d, int) or d.free_symbols else int(d) for d in dims]
            if not all(isinstance(d, int) for d in known):
                known = [
                    d if isinstance(d, int) else e for d, e in zip(known, expected[0], strict=False)
                ]
            else:
                evaluated += 1
            if tuple(known) != expected[0]:
                wrong.append((case.name, value.shape, expected[0]))
    assert {name for name, *_ in wrong} == BROADCAST_OF_ONE, wrong
    assert evaluated >= 1800


# --- models and older operators that the package ships as files ---

_DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"


@pytest.mark.parametrize("name", LIGHT)
def test_light_models(name: str) -> None:
    proto = onnx.load(_DATA / "light" / f"light_{name}.onnx")
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    oracle = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.graph.value_info, *inferred.graph.output)
    }
    model = _erased(Case(name, proto, [], []), feed=False)
    shapes.infer(model)
    ours = {
        value.name: list(value.shape.dims)
        for node in model.graph
        for value in node.outputs
        if value.shape is not None and value.name in oracle
    }
    assert ours == oracle
    assert list(model.graph.outputs[0].shape or ())[:2] == [1, 1000]
    assert not shapes.minted(model)


def _file_cases() -> list[Path]:
    folders = ("pytorch-converted", "pytorch-operator", "simple")
    return sorted(path for folder in folders for path in (_DATA / folder).glob("test_*"))


def _tensor(path: Path) -> Any:
    """The tensor of a data file, None where it holds a sequence or optional."""
    proto = onnx.TensorProto()
    try:
        proto.ParseFromString(path.read_bytes())
        array = numpy_helper.to_array(proto)
    except Exception:  # noqa: BLE001 - protobuf, numpy and onnx each raise their own for another kind of data
        return None
    return array if array.dtype.kind in "OUS" else onnx_ir.from_proto(proto)


def test_file_cases() -> None:
    verdicts: dict[str, tuple[str, str]] = {}
    for folder in _file_cases():
        data = folder / "test_data_set_0"
        inputs = [_tensor(path) for path in sorted(data.glob("input_*.pb"))]
        outputs = [_tensor(path) for path in sorted(data.glob("output_*.pb"))]
        proto = onnx.load(folder / "model.onnx")
        case = Case(folder.name, proto, inputs, outputs)
        if not outputs or any(item is None for item in outputs):
            continue
        verdicts[folder.name] = _judge(case, True)
    assert len(verdicts) >= 130
    assert not {name: why for name, (verdict, why) in verdicts.items() if verdict == "wrong"}
    opened = {name for name, (verdict, _) in verdicts.items() if verdict == "open"}
    assert {name for name in opened if not name.startswith("test_strnorm")} == set()  # stop words
