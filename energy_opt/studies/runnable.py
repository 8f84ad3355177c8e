"""A model as a user names it -> the graph that is priced, and the runner that is timed, at the same sizes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from energy_opt.errors import EnergyOptError, UsageError
from energy_opt.frontend import load
from energy_opt.ir.dims import evaluate
from energy_opt.ir.graph import Graph, bind
from energy_opt.ir.symbolic import carried
from energy_opt.measure.runners import Runner
from energy_opt.measure.runners.target import Target


@dataclass
class Runnable:
    """What is to be run: a module with inputs, or an .onnx file; and its graph, None where it cannot be followed."""

    graph: Graph | None
    source: str
    module: Any = None
    inputs: Any = None
    dynamic: Any = None
    owned: bool = False
    path: Path | None = None
    unfollowed: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def runtime(self) -> str:
        """The runtime that will run it."""
        return "eager" if self.path is None else "onnxruntime"


def prepare(
    model: Any, inputs: Any, dynamic: Any = None, settings: Mapping[str, Any] | None = None
) -> Runnable:
    """The model, ready to be made; nothing runs yet. Takes what `load` takes.

    Raises:
        ModelError, UsageError: as `load` does; also a Graph, which has no weights to run with.
    """
    if isinstance(model, Graph):
        raise UsageError(
            "a Graph holds no weights, so it cannot be run; give the module with inputs, or the .onnx file"
        )
    if isinstance(model, (str, os.PathLike)):
        return _named(os.fspath(model), inputs, settings)
    if inputs is None or settings:
        from energy_opt.frontend import huggingface

        with contextlib.suppress(UsageError):
            made = huggingface.prepare(model, settings)
            return _of_prepared(made, owned=made.module is not model, config=True)
    graph, why = _followed(lambda: load(model, inputs, dynamic=dynamic, settings=settings))
    name = f"{type(model).__name__} in memory"
    if not hasattr(model, "forward"):
        raise UsageError(
            f"{name}: only a torch.nn.Module with inputs, a transformers config or the name of a model can be run"
        )
    from energy_opt.frontend.pytorch.calls import unwrapped

    return Runnable(graph, name, unwrapped(model), inputs, dynamic, unfollowed=why)


def make(
    found: Runnable, target: Target, dims: Mapping[str, Any], arrays: Mapping[str, Any] | None
) -> Runner:
    """The runner on the target, with inputs of these sizes, or those in `arrays`.

    Raises:
        ModelError: the model does not fit, or fails.
        UsageError: the inputs are not those of the model.
    """
    if found.path is not None:
        from energy_opt.measure.runners.ort import OrtRunner, draw

        feeds = dict(arrays) if arrays is not None else draw(_specs(found, dims))
        return OrtRunner(found.path, feeds, target)
    from energy_opt.frontend.pytorch.inputs import Inputs
    from energy_opt.measure.runners.inputs import fill, from_arrays
    from energy_opt.measure.runners.pytorch import TorchRunner, materialise

    module, notes = materialise(found.module, target.name, owned=found.owned)
    if arrays is not None:
        args, kwargs = from_arrays(module, arrays, target.name)
    else:
        examples = Inputs(found.module, found.inputs, found.dynamic)
        sizes = {name: info.default for name, info in examples.dims.items()}
        given = {name: int(size) for name, size in dims.items() if name in sizes}
        wanted = examples.at({**sizes, **given}, real=True)  # type: ignore[dict-item]
        example = examples.at(sizes, real=True)  # type: ignore[arg-type]
        args, kwargs = fill(module, wanted, example, target.name)
    runner = TorchRunner(module, args, kwargs, target)
    runner.notes += notes
    return runner


@contextlib.contextmanager
def running(found: Runnable) -> Iterator[None]:
    """Inside, a transformers model runs as it is priced: in silence, offline, without a cache."""
    config = getattr(found.module, "config", None)
    if config is None or not hasattr(config, "sub_configs"):
        yield
        return
    from energy_opt.frontend.huggingface import build

    with build.offline(), build.running(config):
        yield


def sizes(found: Runnable, dims: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of all dims, defaults included.

    Raises:
        DimError: a dim that the model does not have.
    """
    if found.graph is None:
        return dict(dims)
    return dict(bind(found.graph.dims, dims))


def read_arrays(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Arrays by name from an .npz file; objects, which could run code, are refused.

    Raises:
        UsageError: the file cannot be read as one.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as found:
            if not hasattr(found, "files"):
                raise ValueError("a single array without a name")
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{path}: cannot be read as inputs ({' '.join(str(reason).split())[:200]}); "
            "write it with numpy.savez(FILE, input_name=array, ...)"
        ) from error


def _named(name: str, inputs: Any, settings: Mapping[str, Any] | None) -> Runnable:
    from energy_opt.frontend import huggingface, python_object

    if inputs is not None:
        raise UsageError(
            f"{name}: example inputs go with a torch module; arrays go in --inputs FILE.npz"
        )
    if python_object.is_object(name):
        return _of_prepared(python_object.prepare(name, settings), owned=True, config=False)
    if huggingface.is_config(name):
        return _of_prepared(huggingface.prepare(name, settings), owned=True, config=True)
    graph = load(name, settings=settings)
    import importlib.util

    if importlib.util.find_spec("onnxruntime") is None:
        raise UsageError(
            f"{name}: running an .onnx file needs ONNX Runtime: pip install 'energy-opt[cpu]'"
        )
    notes = [note for note in graph.notes if not note.startswith("weights were not needed")]
    return Runnable(graph, graph.source, path=Path(name), notes=notes)


def _of_prepared(made: Any, *, owned: bool, config: bool) -> Runnable:
    if not hasattr(made.module, "named_modules"):
        raise UsageError(
            f"{made.source}: an ExportedProgram is not run here; return the module it was made from"
        )

    def follow() -> Graph:
        if config:
            from energy_opt.frontend.huggingface import loading

            return loading.load(made)
        from energy_opt.frontend.pytorch.modules import load_module

        return load_module(
            made.module, made.inputs, dynamic=made.dynamic, source=made.source, notes=made.notes
        )

    graph, why = _followed(follow)
    tensors, dynamic = made.inputs, made.dynamic
    names = {value.name for value in graph.model.graph.inputs} if graph is not None else set()
    if config and graph is not None and "pixel_values" in tensors and "pixel_values" not in names:
        # Priced without its image, so run without it too.
        from energy_opt.frontend.huggingface import inputs

        tensors, dynamic = inputs.without_image(made.module, tensors)
    return Runnable(graph, made.source, made.module, tensors, dynamic, owned, unfollowed=why)


def _followed(follow: Any) -> tuple[Graph | None, str]:
    """The graph, or None and why: what cannot be priced can still be run."""
    try:
        return follow(), ""
    except UsageError:
        raise
    except EnergyOptError as error:
        return None, str(error)


def _specs(found: Runnable, dims: Mapping[str, Any]) -> dict[str, Any]:
    from energy_opt.measure.runners.ort import InputSpec

    graph = found.graph
    assert graph is not None  # a file that cannot be read has been refused
    bound = bind(graph.dims, dims)
    specs = {}
    for value in graph.model.graph.inputs:
        if value.is_initializer():
            continue
        if value.shape is None or value.dtype is None:
            raise UsageError(
                f"{found.source}: the input {value.name!r} has no shape or type in the file; give it with "
                "--inputs FILE.npz"
            )
        shape = tuple(
            dim if isinstance(dim, int) else int(evaluate(carried(dim) or 1, bound))
            for dim in value.shape.dims
        )
        specs[str(value.name)] = InputSpec(shape, value.dtype.numpy().name, _valid(value))
    return specs


def _valid(value: Any) -> int | None:
    """How many whole numbers are valid: the rows of the smallest table that the input, cast or not, looks up in."""
    rows = []
    for use in value.uses():
        node = use.node
        if node.op_type == "Cast":
            found = _valid(node.outputs[0])
            rows += [found] if found is not None else []
        elif node.op_type == "Gather" and use.idx == 1:
            table = node.inputs[0]
            axis = node.attributes.get_int("axis", 0)
            if table is not None and table.shape is not None and isinstance(table.shape[axis], int):
                rows.append(int(table.shape[axis]))
    return min(rows, default=None)
