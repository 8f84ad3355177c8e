"""Weights for an .onnx file that came without some of them: random ones, in a copy of the file that can be run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from energy_opt.errors import ModelError

_STD = 0.02
"""Standard deviation of random weights, as of transformers' own."""
_SEED = 20250101
_INSIDE = 4096  # bytes; what is larger goes into the file of weights, since protobuf ends at 2 GB
_SCALES = {"scale": 1.0, "gamma": 1.0, "var": 1.0, "running_var": 1.0}


@dataclass(frozen=True)
class Runnable:
    """A file that ONNX Runtime can open, how many of its weights are random, and their bytes."""

    path: Path
    random: int = 0
    random_bytes: int = 0


def runnable(path: Path, folder: Path) -> Runnable:
    """The file itself where its weights are all there, else a copy in `folder` with random ones for those that lack.

    Raises:
        ModelError: a weight's type is one for which nothing can be drawn.
    """
    proto = onnx.load(str(path), load_external_data=False)
    missing = [tensor for tensor in _tensors(proto.graph) if _is_missing(tensor, path.parent)]
    if not missing:
        return Runnable(path)
    constants = _norm_constants(proto.graph)
    random = np.random.default_rng(_SEED)
    data = folder / "weights.bin"
    absent = {id(tensor) for tensor in missing}
    size = 0
    with data.open("wb") as file:
        for tensor in _tensors(proto.graph):
            if id(tensor) in absent:
                array = _draw(tensor, constants, random, path)
                size += array.nbytes
            elif tensor.data_location == onnx.TensorProto.EXTERNAL:
                array = numpy_helper.to_array(tensor, str(path.parent))
            else:
                continue
            _place(tensor, array, file.tell(), data.name)
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                file.write(array.tobytes())
    target = folder / "model.onnx"
    onnx.save(proto, str(target))
    return Runnable(target, len(missing), size)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            for inner in (attribute.g, *attribute.graphs):
                if inner.ByteSize():
                    yield from _tensors(inner)


def _is_missing(tensor: onnx.TensorProto, folder: Path) -> bool:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return False
    place = {entry.key: entry.value for entry in tensor.external_data}
    location = place.get("location", "")
    file = folder / location
    if not location or os.path.isabs(location) or not file.is_file():
        return True
    end = int(place.get("offset") or 0) + int(place.get("length") or 0)
    return bool(file.stat().st_size < end)


def _norm_constants(graph: onnx.GraphProto) -> dict[str, float]:
    """What a normalisation's parameters have to be so that activations stay finite, by the name of the weight."""
    found: dict[str, float] = {}
    for node in graph.node:
        if "Norm" not in node.op_type:
            continue
        skip = node.op_type.startswith("Skip")
        for index, name in enumerate(node.input[1:], 1):
            # scale, bias, mean, variance; what skips has a second input in front of them.
            place = index - skip
            found[name] = (
                1.0 if place == 1 or (place == 4 and node.op_type.startswith("Batch")) else 0.0
            )
    return found


def _draw(
    tensor: onnx.TensorProto, constants: dict[str, float], random: np.random.Generator, path: Path
) -> np.ndarray:
    shape = tuple(tensor.dims)
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError as error:
        raise ModelError(
            f"{path}: the weight {tensor.name!r} has no data, and none can be drawn in its type; "
            "measure the file with its weights"
        ) from error
    last = tensor.name.rpartition(".")[2].lower()
    fixed = constants.get(tensor.name, _SCALES.get(last))
    if fixed is None and len(shape) <= 1:
        # The scales of norms that were written out are one-dimensional and multiply; biases add.
        fixed = 1.0 if last == "weight" else 0.0
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        if info.bits > 8:
            return np.zeros(shape, dtype)
        return random.integers(info.min, info.max, shape, dtype, endpoint=True)
    if fixed is not None:
        return np.full(shape, fixed).astype(dtype)
    return (random.standard_normal(shape, np.float32) * _STD).astype(dtype)


def _place(tensor: onnx.TensorProto, array: np.ndarray, offset: int, location: str) -> None:
    del tensor.external_data[:]
    if array.nbytes <= _INSIDE:
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(array, name))
        tensor.data_location = onnx.TensorProto.DEFAULT
        return
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(offset), "length": str(array.nbytes)}
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
